mod filling;
mod judge;
mod legacy;
mod namespace;
mod reach;
mod rule;

use std::sync::Arc;
use std::time::Duration;

use legacy::HandshakePolicies;
pub(crate) use legacy::Legacy;
pub(crate) use namespace::Namespace;
pub(super) use reach::ReachableRoutes;
pub(crate) use rule::{Rule, RuleAction};

use super::auth::Auth;
use super::cors::{self, Cors};
use super::names::Names;
use super::parser::problem::Wrong;
use super::parser::table::Table;
use super::parser::{path_template, units};
use super::rate_limit::{self, RateLimit};
use super::rollout::Rollout;
use super::route::Route;

/// `[socketio]`: the path at which clients of Socket.IO connect, and what its namespaces have in common.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SocketIo {
    /// Where clients connect.
    pub(crate) path: String,
    /// Between two pings of the sidecar.
    pub(crate) ping_interval: Duration,
    /// From a ping to the end of a connection from which nothing comes back.
    pub(crate) ping_timeout: Duration,
    /// Largest message, and largest body of a POST, from a client.
    pub(crate) max_payload: usize,
    /// `transports`: `["polling", "websocket"]`, or one of them. Clients that begin with polling go on over a WebSocket where both are there.
    pub(crate) polling: bool,
    /// No key of its own: WebSocket is among the transports.
    pub(crate) websocket: bool,
    /// The `[cors.NAME]` of the path. Default: `[cors.default]` where it exists.
    pub(crate) cors: Option<Arc<Cors>>,
    /// The `[auth.NAME]` of its namespaces, or a list of them. Default: none.
    pub(crate) auth: Vec<Arc<Auth>>,
    /// The `[rollout.NAME]` of its namespaces. Default: on for every client.
    pub(crate) rollout: Option<Arc<Rollout>>,
    /// The `[rate_limit.NAME]` of its connections and namespaces. Default: `[rate_limit.default]` where it exists.
    pub(crate) rate_limit: Option<Arc<RateLimit>>,
    /// What a client gets whose rollout says legacy: `"native"`, an error that tells it to use the backend's own URLs, or `"polling"`, Socket.IO over long-polling.
    pub(crate) legacy: Legacy,
    /// `legacy_upstream`: the `[upstream.NAME]` of a Socket.IO server that gets the clients whose rollout says legacy, in place of `legacy`. The rollout goes by what the handshake shows: `by = "cookie"` or `"ip"`, or an `auth` that reads a header or a cookie. Default: none.
    pub(crate) legacy_route: Option<Arc<Route>>,
    /// Whether clients whose connection was cut come back to their session. Events bear their position as one more argument then.
    pub(crate) recovery: bool,
    /// No key: `[[socketio.namespace]]`; the namespace `/` without rules where there is none.
    pub(crate) namespaces: Vec<Arc<Namespace>>,
}

impl SocketIo {
    /// Whether a client that polls stays here when its rollout says legacy.
    pub(crate) fn keeps_legacy(&self) -> bool {
        self.legacy == Legacy::Polling && self.legacy_route.is_none()
    }

    /// The namespace that a client means by a name, and what the name says of its parameters: text is closer than a parameter,
    /// whatever the order in the file.
    pub(crate) fn namespace(&self, name: &str) -> Option<(&Arc<Namespace>, NamespaceParams)> {
        let matching = self.namespaces.iter().filter_map(|namespace| {
            let params = namespace.name.matches(name)?;
            Some((namespace, params))
        });
        matching.min_by(|(one, _), (other, _)| one.name.shape().cmp(&other.name.shape()))
    }
}

/// Parameters of a namespace's name, and what a client says for them.
type NamespaceParams = Vec<(String, String)>;

/// What a namespace is read in.
struct NamespaceContext<'a> {
    names: &'a Names<'a>,
    /// Its defaults.
    socketio: &'a SocketIo,
    /// Whether users are known by default, be it by a policy that could not be read.
    has_auth: bool,
    routes: ReachableRoutes<'a>,
}

pub(super) fn read(
    table: &Table<'_>,
    names: &Names<'_>,
    prefix: &str,
    routes: ReachableRoutes<'_>,
) -> Arc<SocketIo> {
    let transports = table.texts_or("transports", &["polling", "websocket"], transport);
    if transports.is_empty() {
        table.error(
            "transports",
            "lets no client in",
            "write \"websocket\" or \"polling\"",
        );
    }
    let path = table.text_or("path", "/socket.io/", path);
    refuse_taken(table, &path, prefix, routes.routes);
    let mut socketio = SocketIo {
        path,
        ping_interval: table.duration("ping_interval", "25s"),
        ping_timeout: table.duration("ping_timeout", "20s"),
        max_payload: table.size("max_payload", "1MB"),
        polling: transports.contains(&Carrier::Polling),
        websocket: transports.contains(&Carrier::WebSocket),
        cors: cors::of(table, names.cors),
        auth: table.references("auth", "auth", names.auths),
        rollout: table.reference("rollout", "rollout", names.rollouts),
        rate_limit: rate_limit::of(table, names.rate_limits, true),
        legacy: legacy::read(table),
        legacy_route: None,
        recovery: table.switch("recovery", true),
        namespaces: Vec::new(),
    };
    let handshake = HandshakePolicies {
        cors: &socketio.cors,
        auth: &socketio.auth,
        rollout: socketio.rollout.as_deref(),
    };
    socketio.legacy_route = legacy::upstream(table, names, &socketio.path, handshake);
    let outer = NamespaceContext {
        names,
        socketio: &socketio,
        has_auth: table.says("auth"),
        routes,
    };
    let namespaces = table.tables("namespace", |namespace, index| {
        let read = namespace::read(namespace, &outer)?;
        Some((read, index, namespace.place_of("name")))
    });
    for (at, (namespace, index, place)) in namespaces.iter().enumerate() {
        let shape = namespace.name.shape();
        let mut earlier = namespaces.iter().take(at);
        if let Some((_, first, twin)) = earlier.find(|(other, ..)| other.name.shape() == shape) {
            let line = table.desk.position(*twin).0;
            let what = format!("is what socketio.namespace.{first} (line {line}) is already");
            let key = format!("socketio.namespace.{index}.name");
            let fix = "write its rules there, or give it another name";
            table.desk.error(*place, &key, what, fix);
        }
    }
    let namespaces = namespaces.into_iter().map(|(namespace, ..)| namespace);
    let namespaces: Vec<_> = namespaces.map(Arc::new).collect();
    socketio.namespaces = match namespaces.is_empty() {
        true => vec![Arc::new(Namespace::without_rules(&socketio))],
        false => namespaces,
    };
    Arc::new(socketio)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Polling,
    WebSocket,
}

fn transport(text: &str) -> Result<Carrier, Wrong> {
    match text {
        "polling" => Ok(Carrier::Polling),
        "websocket" => Ok(Carrier::WebSocket),
        _ => Err(Wrong::new(
            "is no transport",
            "write \"polling\" or \"websocket\"",
        )),
    }
}

/// Clients end it with a slash.
fn path(text: &str) -> Result<String, Wrong> {
    let path = path_template::path(text)?;
    if path.contains(['{', '}']) || path == "/" {
        return Err(Wrong::new(
            "is no path of its own",
            "write one such as \"/socket.io/\"",
        ));
    }
    Ok(format!("{}/", path.trim_end_matches('/')))
}

fn refuse_taken(table: &Table<'_>, path: &str, prefix: &str, routes: &[Arc<Route>]) {
    if path
        .strip_prefix(prefix)
        .is_some_and(|rest| rest.starts_with('/'))
    {
        let what = format!("lies below `{prefix}`, where crossfade answers itself");
        table.error("path", what, "choose another path");
    }
    let bare = path.trim_end_matches('/');
    if let Some(route) = routes
        .iter()
        .find(|route| route.path.trim_end_matches('/') == bare)
    {
        let what = format!("is the path of the route \"{}\" too", route.name);
        table.error("path", what, "choose another path for one of them");
    }
}

/// A template, or what is wrong with it.
fn template(text: &str) -> Result<crate::bindings::Template, Wrong> {
    units::something(text)?;
    path_template::path(text.split('?').next().unwrap_or_default())?;
    crate::bindings::Template::parse(text).map_err(|what| {
        Wrong::new(
            what,
            "write placeholders as `{name}`, `{0}` or `{claims.name}`",
        )
    })
}
