use std::sync::Arc;
use std::time::Duration;

use super::auth::Auth;
use super::cors::{self, Cors};
use super::names::Names;
use super::parser::table::Table;
use super::parser::units;
use super::rate_limit::{self, RateLimit};

/// `[websocket]`: the endpoint `PREFIX/ws`, and every WebSocket that crossfade itself terminates (not the backend's own, which are tunnelled).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WebSocket {
    /// Between two pings of the sidecar.
    pub(crate) ping_interval: Duration,
    /// From a ping to the end of a connection from which nothing comes back.
    pub(crate) ping_timeout: Duration,
    /// How long a `hello` may take.
    pub(crate) hello_timeout: Duration,
    /// Largest message from a client.
    pub(crate) max_message: usize,
    /// Subscriptions of one connection.
    pub(crate) max_subs: usize,
    /// `[websocket.queue]`.
    pub(crate) queue: Queue,
    /// The `[auth.NAME]` of `PREFIX/ws`, or a list of them. Default: none; each `sub` and `req` is judged by its own route.
    pub(crate) auth: Vec<Arc<Auth>>,
    /// The `[rate_limit.NAME]` of `PREFIX/ws`. Default: `[rate_limit.default]` where it exists.
    pub(crate) rate_limit: Option<Arc<RateLimit>>,
    /// The `[cors.NAME]` of `PREFIX/ws`. Default: `[cors.default]` where it exists.
    pub(crate) cors: Option<Arc<Cors>>,
}

/// `[websocket.queue]`: how far behind a subscription may be whose client reads nothing; a distance, not a
/// copy. A client further behind is slow when it took less than 64 KiB in the last 10 s; then its route's
/// `slow` decides. Answers to its `req`s that wait count by their bytes, and close its connection. One that
/// takes nothing for 30 s is closed in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    /// Messages.
    pub(crate) messages: u64,
    /// Size of these messages.
    pub(crate) bytes: u64,
}

pub(super) fn read(table: &Table<'_>, names: &Names<'_>) -> WebSocket {
    WebSocket {
        ping_interval: table.duration("ping_interval", "25s"),
        ping_timeout: table.duration("ping_timeout", "20s"),
        hello_timeout: table.duration("hello_timeout", "10s"),
        max_message: table.size("max_message", "64KiB"),
        max_subs: table.integer("max_subs", 64, 1..=units::MANY),
        queue: table.table("queue", queue),
        auth: table.references("auth", "auth", names.auths),
        // Their users are known by the routes of their subscriptions.
        rate_limit: rate_limit::of(table, names.rate_limits, true),
        cors: cors::of(table, names.cors),
    }
}

fn queue(table: &Table<'_>) -> Queue {
    Queue {
        messages: table.integer("messages", 256, 1..=units::MANY) as u64,
        bytes: table.size("bytes", "1MiB") as u64,
    }
}
