use std::sync::Arc;

use hyper::Method;

use super::filling::Filling;
use super::reach::{ReachableRoutes, Reached};
use super::{NamespaceContext, Rule, SocketIo, rule, template};
use crate::bindings::{BodyTemplate, NamespaceName, RESERVED_EVENTS, Template};
use crate::config::auth::Auth;
use crate::config::parser::problem::Wrong;
use crate::config::parser::table::Table;
use crate::config::parser::tree::{Node, NodeForm};
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

pub(super) fn read(table: &Table<'_>, outer: &NamespaceContext<'_>) -> Option<Namespace> {
    let name = table.required("name", "\"/\"", |text| {
        NamespaceName::parse(text)
            .map_err(|what| Wrong::new(what, "write one such as \"/admin\" or \"/pipeline/{id}\""))
    });
    let (names, socketio) = (outer.names, outer.socketio);
    let auth = table.references("auth", "auth", names.auths);
    let filling = Filling {
        name: name.as_ref(),
        has_auth: outer.has_auth || table.says("auth"),
    };
    let rollout = table.reference("rollout", "rollout", names.rollouts);
    let rate_limit = table.reference("rate_limit", "rate_limit", names.rate_limits);
    let require = require::read_for(table, filling.has_auth);
    let subscribe = table.texts("subscribe", template);
    for template in &subscribe {
        judge_subscribe(table, outer.routes, template);
        filling.judge_at_connect(table, "subscribe", template.placeholders());
    }
    let greet = table.optional_table("greet", |greet| {
        let event = event(greet, "event", "\"connected\"").unwrap_or_default();
        let body = body(greet, "body");
        let placeholders = body.iter().flat_map(BodyTemplate::placeholders);
        filling.judge_at_connect(greet, "body", placeholders);
        Greet { event, body }
    });
    let on = table.tables("on", |rule, index| {
        refuse_second(table, rule, index);
        rule::read(rule, outer.routes, filling)
    });
    Some(Namespace {
        auth: match auth.is_empty() {
            true => socketio.auth.clone(),
            false => auth,
        },
        require,
        rollout: rollout.or_else(|| socketio.rollout.clone()),
        rate_limit: rate_limit.or_else(|| socketio.rate_limit.clone()),
        recovery: table.switch("recovery", socketio.recovery),
        subscribe,
        greet,
        on: on.into_iter().map(Arc::new).collect(),
        name: name?,
    })
}

/// A path that clients are subscribed to when they connect has to be that of a bridged route.
fn judge_subscribe(table: &Table<'_>, routes: ReachableRoutes<'_>, template: &Template) {
    let is_bridged = |route: &Route| route.source.is_some();
    let path = template.as_str();
    let (what, fix) = match routes.follow(&Method::GET, template, is_bridged) {
        Reached::Right(_) | Reached::Unknown => return,
        Reached::Wrong(route) => (
            format!(
                "joins `{path}`, and the route \"{}\" there has no `source`",
                route.name
            ),
            "write a `source` in that `[[route]]`, or name another path",
        ),
        Reached::Nowhere => (
            format!("joins `{path}`, and no route is there"),
            "write a `[[route]]` with a `source` for that path, or name another",
        ),
    };
    table.error("subscribe", what, fix);
}

/// One event has one rule.
fn refuse_second(table: &Table<'_>, rule: &Table<'_>, index: usize) {
    let name = |rule: &Node| match &rule.form {
        NodeForm::Table(entries) => entries.get("event")?.node.text().map(str::to_owned),
        _ => None,
    };
    let Some(NodeForm::List(rules)) = table.peek("on").map(|entry| &entry.node.form) else {
        return;
    };
    let own = rules.get(index).and_then(name);
    let first = rules.iter().take(index).position(|rule| name(rule) == own);
    if let (Some(own), Some(first)) = (own, first) {
        let first = table.path(&format!("on.{first}"));
        let what = format!("names `{own}`, for which {first} says already what it does");
        rule.error("event", what, "write one rule for it");
    }
}

/// The name of an event that must be there.
pub(super) fn event(table: &Table<'_>, key: &'static str, example: &str) -> Option<Arc<str>> {
    let event = table.required(key, example, units::something)?;
    refuse_reserved(table, key, &event);
    Some(event.into())
}

/// Clients send and take no event of such a name.
pub(super) fn refuse_reserved(table: &Table<'_>, key: &str, event: &str) {
    if RESERVED_EVENTS.contains(&event) {
        let what = format!("names `{event}`, which clients keep for themselves");
        table.error(key, what, "choose another name in the frontend");
    }
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
