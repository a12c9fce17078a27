//! What is written and used by nothing, or used for less than it says.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::table::Table;
use super::{Auth, Config, Cors, RateLimit, Rollout, Route};

/// Warns, in a file that has no errors.
pub(super) fn judge(root: &Table<'_>, config: &Config) {
    if root.desk.has_errors() {
        return;
    }
    if config.routes.is_empty() {
        let mend = "write one: `[[route]]`, `path = \"/{*path}\"`, `upstream = \"app\"`";
        root.warning(
            "route",
            "is missing: every request is answered with 404",
            mend,
        );
    }
    let Used {
        auths,
        rate_limits,
        cors,
        rollouts,
    } = Used::of(config);
    let is_used = |rollout: &Arc<Rollout>| rollouts.contains(&rollout);
    warn(
        root,
        "rollout",
        "governs no route",
        &config.rollouts,
        is_used,
    );
    let is_used = |auth: &Arc<Auth>| auths.contains(&auth);
    warn(root, "auth", "protects no route", &config.auths, is_used);
    let is_used = |limit: &Arc<RateLimit>| rate_limits.contains(&limit);
    warn(
        root,
        "rate_limit",
        "limits no route",
        &config.rate_limits,
        is_used,
    );
    let is_used = |policy: &Arc<Cors>| cors.contains(&policy);
    warn(root, "cors", "is named by no route", &config.cors, is_used);
    warn_of_sizes(root, config);
}

/// What routes and `[websocket]` name.
struct Used<'c> {
    auths: Vec<&'c Arc<Auth>>,
    rate_limits: Vec<&'c Arc<RateLimit>>,
    cors: Vec<&'c Arc<Cors>>,
    rollouts: Vec<&'c Arc<Rollout>>,
}

impl<'c> Used<'c> {
    fn of(config: &'c Config) -> Self {
        let routes = || config.routes.iter().map(|route: &Arc<Route>| &**route);
        let socket = &config.websocket;
        Used {
            auths: routes()
                .flat_map(|route| &route.auth)
                .chain(&socket.auth)
                .collect(),
            rate_limits: routes()
                .filter_map(|route| route.rate_limit.as_ref())
                .chain(&socket.rate_limit)
                .collect(),
            cors: routes()
                .filter_map(|route| route.cors.as_ref())
                .chain(&socket.cors)
                .collect(),
            rollouts: routes()
                .filter_map(|route| route.rollout.as_ref())
                .collect(),
        }
    }
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

fn warn_of_sizes(root: &Table<'_>, config: &Config) {
    let most = config.websocket.max_message;
    for (name, limit) in &config.rate_limits {
        if limit.max_message.is_some_and(|size| size > most) {
            let what = "has no effect: it is above `websocket.max_message`";
            let mend = "lower it, or raise that one";
            root.warning(&format!("rate_limit.{name}.max_message"), what, mend);
        }
    }
}
