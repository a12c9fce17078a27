use std::sync::Arc;

use super::{Rule, SocketIo, reached, rule, template};
use crate::bindings::{BodyTemplate, NamespaceName, Template};
use crate::config::auth::Auth;
use crate::config::names::Names;
use crate::config::parser::problem::Wrong;
use crate::config::parser::table::Table;
use crate::config::parser::units;
use crate::config::rate_limit::RateLimit;
use crate::config::require::{self, Require};
use crate::config::rollout::Rollout;
use crate::config::route::Route;

/// `[[socketio.namespace]]`: what a client may join, and what its events do there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Namespace {
    /// Its name, such as `"/admin"`, or with parameters `"/pipeline/{id}"`. Required.
    pub(crate) name: NamespaceName,
    /// Which `[auth.NAME]`, or a list of them. Default: that of `[socketio]`.
    pub(crate) auth: Vec<Arc<Auth>>,
    /// What its users need besides. Default: nothing.
    pub(crate) require: Option<Require>,
    /// Which `[rollout.NAME]`. Default: that of `[socketio]`.
    pub(crate) rollout: Option<Arc<Rollout>>,
    /// Which `[rate_limit.NAME]`. Default: that of `[socketio]`.
    pub(crate) rate_limit: Option<Arc<RateLimit>>,
    /// Whether its clients come back to their session. Default: as `[socketio]` says.
    pub(crate) recovery: bool,
    /// Paths of bridged routes that a client is subscribed to when it joins, with the namespace's parameters and `{claims.NAME}`.
    pub(crate) subscribe: Vec<Template>,
    /// The first event, such as `{event = "connected", body = {user = "{user}"}}`. Default: none.
    pub(crate) greet: Option<Greet>,
    /// No key: `[[socketio.namespace.on]]`.
    pub(crate) on: Vec<Arc<Rule>>,
}

/// `[socketio.namespace.greet]`: the first event of a namespace.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Greet {
    /// Its name.
    pub(crate) event: Arc<str>,
    /// Its argument. Default: none.
    pub(crate) body: Option<BodyTemplate>,
}

impl Namespace {
    /// The namespace `/` where the file has none.
    pub(super) fn without_rules(socketio: &SocketIo) -> Namespace {
        Namespace {
            name: NamespaceName::root(),
            auth: socketio.auth.clone(),
            require: None,
            rollout: socketio.rollout.clone(),
            rate_limit: socketio.rate_limit.clone(),
            recovery: socketio.recovery,
            subscribe: Vec::new(),
            greet: None,
            on: Vec::new(),
        }
    }
}

pub(super) fn read(
    table: &Table<'_>,
    names: &Names<'_>,
    socketio: &SocketIo,
    routes: &[Arc<Route>],
) -> Option<Namespace> {
    let auth = table.references("auth", "auth", names.auths);
    let auth = match auth.is_empty() {
        true => socketio.auth.clone(),
        false => auth,
    };
    let rollout = table.reference("rollout", "rollout", names.rollouts);
    let rate_limit = table.reference("rate_limit", "rate_limit", names.rate_limits);
    let subscribe = table.texts("subscribe", template);
    for template in &subscribe {
        if reached(routes, template, |route| route.source.is_some()).is_none() {
            let what = format!(
                "joins `{}`, and no bridged route is there",
                template.as_str()
            );
            let fix = "write a `[[route]]` with a `source` for that path, or name another";
            table.error("subscribe", what, fix);
        }
    }
    Some(Namespace {
        require: require::read_for(table, !auth.is_empty()),
        auth,
        rollout: rollout.or_else(|| socketio.rollout.clone()),
        rate_limit: rate_limit.or_else(|| socketio.rate_limit.clone()),
        recovery: table.switch("recovery", socketio.recovery),
        subscribe,
        greet: table.optional_table("greet", |greet| Greet {
            event: event(greet, "event", "\"connected\"").unwrap_or_default(),
            body: body(greet, "body"),
        }),
        on: (table
            .tables("on", |rule, _| rule::read(rule, routes))
            .into_iter())
        .map(Arc::new)
        .collect(),
        name: table.required("name", "\"/\"", |text| {
            NamespaceName::parse(text).map_err(|what| {
                Wrong::new(what, "write one such as \"/admin\" or \"/pipeline/{id}\"")
            })
        })?,
    })
}

/// The name of an event that must be there.
pub(super) fn event(table: &Table<'_>, key: &'static str, example: &str) -> Option<Arc<str>> {
    table
        .required(key, example, units::something)
        .map(Arc::from)
}

/// A value whose texts are templates.
pub(super) fn body(table: &Table<'_>, key: &'static str) -> Option<BodyTemplate> {
    let node = table.node(key);
    table.note(key, node, serde_json::Value::Null);
    match BodyTemplate::read(&node?.json()) {
        Ok(body) => Some(body),
        Err(what) => {
            let fix = "write placeholders as `{name}`, `{0}` or `{claims.name}`";
            table.error(key, what, fix);
            None
        }
    }
}
