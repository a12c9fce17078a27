use std::time::Duration;

use hyper::header::HeaderName;
use serde_json::json;

use super::parser::problem::Wrong;
use super::parser::table::Table;
use super::parser::tree::NodeForm;
use super::parser::{scalar, units};

/// How requests are spread over an upstream's servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in flight.
    LeastRequests,
    /// The same key goes to the same server.
    Hash(HashKey),
}

impl Balance {
    /// Whether a request has to name its user.
    pub(crate) fn wants_address(&self) -> bool {
        *self == Balance::Hash(HashKey::Ip)
    }
}

/// What of a request a consistent hash is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// `"header:NAME"`.
    Header(HeaderName),
    /// `"cookie:NAME"`.
    Cookie(String),
    /// `"path"`, without the query.
    Path,
    /// `"ip"`, the client's.
    Ip,
}

/// `health`: each server is asked by itself, whether there are requests or not. A server is out after three failed checks in a row and back after two good ones; its first check decides at once where there is another, and where no server is healthy one good check brings it back. Without it crossfade learns from the requests alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is asked for by GET, such as `"/healthz"`; 2xx and 3xx are healthy. Required.
    pub(crate) path: String,
    /// Between two checks of a server, a tenth more or less. A check may take as long, and 5 s at most.
    pub(crate) interval: Duration,
}

/// `budget`: what crossfade as a whole may send to the upstream, whatever it is for; its own health checks do
/// not count. Requests of clients wait for a second at most and are then answered 503 with `Retry-After`;
/// polls and streams wait until it is their turn, one at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Requests per second, evenly spaced but for a tenth of them. Default: unlimited.
    pub(crate) requests_per_second: Option<usize>,
    /// Requests in flight, up to the last byte of their answers; open streams and tunnels count. Default: unlimited.
    pub(crate) concurrency: Option<usize>,
}

pub(super) fn balance(table: &Table<'_>) -> Balance {
    let default = json!("round_robin");
    let node = table.node("balance");
    let Some(node) = node else {
        table.note("balance", None, default);
        return Balance::default();
    };
    if let NodeForm::Table(_) = node.form {
        let key = Table::read(table.desk, node, |table| {
            table.required("hash", "\"header:X-Tenant\"", hash_key)
        });
        return key.flatten().map(Balance::Hash).unwrap_or_default();
    }
    table.note("balance", Some(node), default);
    let words = [
        ("round_robin", Balance::RoundRobin),
        ("least_requests", Balance::LeastRequests),
    ];
    let word = |text: &str| match text {
        "hash" => Err(Wrong::new(
            "wants to know of what",
            "write `balance = {hash = \"header:X-Tenant\"}`",
        )),
        _ => units::word(text, &words),
    };
    scalar::text(table.desk, node, word).unwrap_or_default()
}

pub(super) fn health(table: &Table<'_>) -> Option<Health> {
    let read = |table: &Table<'_>| {
        let path = table.required("path", "\"/healthz\"", check_path);
        let interval = table.duration("interval", "5s");
        path.map(|path| Health { path, interval })
    };
    table.optional_table("health", read).flatten()
}

pub(super) fn budget(table: &Table<'_>) -> Budget {
    let read = |table: &Table<'_>| Budget {
        requests_per_second: table.optional_integer("requests_per_second", 1..=units::MANY),
        concurrency: table.optional_integer("concurrency", 1..=units::MANY),
    };
    table.optional_table("budget", read).unwrap_or_default()
}

fn hash_key(text: &str) -> Result<HashKey, Wrong> {
    let bad = || {
        Wrong::new(
            "names nothing of a request",
            "write one of \"header:X-Tenant\", \"cookie:NAME\", \"path\", \"ip\"",
        )
    };
    match text.split_once(':') {
        Some(("header", name)) => units::header_name(name).map(HashKey::Header),
        Some(("cookie", name)) if units::is_token(name) => Ok(HashKey::Cookie(name.to_owned())),
        None if text == "path" => Ok(HashKey::Path),
        None if text == "ip" => Ok(HashKey::Ip),
        _ => Err(bad()),
    }
}

/// Path and query of a request of our own.
pub(super) fn check_path(text: &str) -> Result<String, Wrong> {
    let is_sendable = text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    match text.starts_with('/') && is_sendable {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new(
            "is no path",
            "write one such as \"/healthz\", with a query where it needs one",
        )),
    }
}
