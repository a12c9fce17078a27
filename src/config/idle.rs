//! What is written and used by nothing, or used for less than it says.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::route::Names;
use super::table::Table;
use super::{Auth, Cors, RateLimit, Rollout, Route, WebSocket};

/// Warns, in a file that has no errors.
pub(super) fn judge(
    root: &Table<'_>,
    routes: &[Arc<Route>],
    websocket: &WebSocket,
    names: &Names<'_>,
) {
    if root.desk.has_errors() {
        return;
    }
    if routes.is_empty() {
        let mend = "write one: `[[route]]`, `path = \"/{*path}\"`, `upstream = \"app\"`";
        root.warning(
            "route",
            "is missing: every request is answered with 404",
            mend,
        );
    }
    let rollouts = routes.iter().filter_map(|route| route.rollout.as_ref());
    let rollouts: Vec<_> = rollouts.collect();
    let is_used = |rollout: &Arc<Rollout>| rollouts.contains(&rollout);
    warn(root, "rollout", "governs no route", names.rollouts, is_used);

    let auths = routes.iter().flat_map(|route| &route.auth);
    let auths: Vec<_> = auths.chain(&websocket.auth).collect();
    let is_used = |auth: &Arc<Auth>| auths.contains(&auth);
    warn(root, "auth", "protects no route", names.auths, is_used);

    let limits = routes.iter().filter_map(|route| route.rate_limit.as_ref());
    let limits: Vec<_> = limits.chain(&websocket.rate_limit).collect();
    let is_used = |limit: &Arc<RateLimit>| limits.contains(&limit);
    warn(
        root,
        "rate_limit",
        "limits no route",
        names.rate_limits,
        is_used,
    );

    let cors = routes.iter().filter_map(|route| route.cors.as_ref());
    let cors: Vec<_> = cors.chain(&websocket.cors).collect();
    let is_used = |policy: &Arc<Cors>| cors.contains(&policy);
    warn(root, "cors", "is named by no route", names.cors, is_used);
    warn_of_sizes(root, websocket.max_message, names.rate_limits);
}

fn warn<T>(
    root: &Table<'_>,
    kind: &str,
    what: &str,
    all: &BTreeMap<String, T>,
    is_used: impl Fn(&T) -> bool,
) {
    for (name, _) in all.iter().filter(|(_, one)| !is_used(one)) {
        let mend = format!("write `{kind} = \"{name}\"` in a route, or remove it");
        root.warning(&format!("{kind}.{name}"), what, mend);
    }
}

fn warn_of_sizes(root: &Table<'_>, most: usize, limits: &BTreeMap<String, Arc<RateLimit>>) {
    for (name, limit) in limits {
        if limit.max_message.is_some_and(|size| size > most) {
            let what = "has no effect: it is above `websocket.max_message`";
            let mend = "lower it, or raise that one";
            root.warning(&format!("rate_limit.{name}.max_message"), what, mend);
        }
    }
}
