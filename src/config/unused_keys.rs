//! What is written and used by nothing, or used for less than it says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::names::Names;
use super::parser::table::Table;
use super::parser::tree::{Node, NodeForm};
use super::{RateLimit, WebSocket};

/// Warns, by what the file says: also where what names something is wrong in another way.
pub(super) fn judge(root: &Table<'_>, websocket: &WebSocket, names: &Names<'_>) {
    warn_of_sizes(root, websocket.max_message, names.rate_limits);
    if !root.desk.is_whole() {
        return;
    }
    let routes = match root.peek("route").map(|entry| &entry.node.form) {
        None => &[][..],
        Some(NodeForm::List(routes)) => routes,
        Some(_) => return,
    };
    // A file that is only begun lacks more than that.
    if routes.is_empty() && !root.desk.has_errors() {
        let fix = "write one: `[[route]]`, `path = \"/{*path}\"`, `upstream = \"app\"`";
        root.warning(
            "route",
            "is missing: every request is answered with 404",
            fix,
        );
    }
    let own = |key| root.peek(key).map(|entry| &entry.node);
    let (websocket, socketio) = (own("websocket"), own("socketio"));
    let namespaces = match socketio.map(|node| &node.form) {
        Some(NodeForm::Table(entries)) => entries.get("namespace").map(|entry| &entry.node.form),
        _ => None,
    };
    let namespaces = match namespaces {
        Some(NodeForm::List(namespaces)) => namespaces.as_slice(),
        _ => &[],
    };
    let own = [websocket, socketio];
    let named = routes.iter().chain(namespaces).map(Some);
    let namers: Vec<_> = named.chain(own).collect();
    let warn = |kind, what, all: Vec<&String>| warn(root, kind, what, &all, &namers);
    warn(
        "rollout",
        "governs no route",
        names.rollouts.keys().collect(),
    );
    warn("auth", "protects no route", names.auths.keys().collect());
    warn(
        "rate_limit",
        "limits no route",
        names.rate_limits.keys().collect(),
    );
    warn("cors", "is named by no route", names.cors.keys().collect());
}

fn warn(root: &Table<'_>, kind: &str, what: &str, all: &[&String], namers: &[Option<&Node>]) {
    let has_default = matches!(kind, "cors" | "rate_limit");
    let mut used = BTreeSet::new();
    for namer in namers {
        let entries = match namer.map(|node| &node.form) {
            Some(NodeForm::Table(entries)) => Some(entries),
            None => None,
            // What it names is not known.
            Some(_) => return,
        };
        match entries.and_then(|entries| entries.get(kind)) {
            None if has_default => _ = used.insert("default"),
            None => {}
            Some(entry) => {
                let named = match &entry.node.form {
                    NodeForm::List(items) => items.as_slice(),
                    _ => std::slice::from_ref(&entry.node),
                };
                let named: Option<Vec<_>> = named.iter().map(Node::text).collect();
                match named {
                    Some(named) => used.extend(named),
                    None => return,
                }
            }
        }
    }
    // A slip in a name is reported as such, and the one that is meant is used.
    let is_slip = |name: &&str| *name != "default" && !all.iter().any(|known| known == name);
    if used.iter().any(is_slip) {
        return;
    }
    for name in all.iter().filter(|name| !used.contains(name.as_str())) {
        let fix = format!("write `{kind} = \"{name}\"` in a route, or remove it");
        root.warning(&format!("{kind}.{name}"), what, fix);
    }
}

fn warn_of_sizes(root: &Table<'_>, most: usize, limits: &BTreeMap<String, Arc<RateLimit>>) {
    for (name, limit) in limits {
        if limit.max_message.is_some_and(|size| size > most) {
            let what = "has no effect: it is above `websocket.max_message`";
            let fix = "lower it, or raise that one";
            root.warning(&format!("rate_limit.{name}.max_message"), what, fix);
        }
    }
}
