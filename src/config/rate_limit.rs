use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::table::Table;
use super::units;

/// `[rate_limit.NAME]`: how much one client may ask for. A rate is `"20/s"`, or `"100/m burst 200"` where more may come at once; its units are `s`, `m` and `h`. What comes above it is answered with 429, or with `rate_limited` over a connection, and when to come back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// NAME.
    pub name: String,
    /// Requests over HTTP, and `req`s. Default: unlimited.
    pub requests: Option<Rate>,
    /// WebSocket handshakes. Default: unlimited.
    pub connects: Option<Rate>,
    /// Messages of a client over its connection. Default: unlimited.
    pub messages: Option<Rate>,
    /// Bytes of these messages, such as `"1MiB/s burst 4MiB"`. Default: unlimited.
    pub bytes: Option<Rate>,
    /// `sub`s. Default: unlimited.
    pub subscriptions: Option<Rate>,
    /// Who is counted: `"ip"` (an IPv4 address, or the /64 of an IPv6 one), `"user"` (the address where none is known) or `"route"` (all together).
    pub by: LimitBy,
    /// WebSocket connections of one user at once. Default: unlimited.
    pub connections_per_user: Option<usize>,
    /// WebSocket connections of one address at once. Default: unlimited.
    pub connections_per_ip: Option<usize>,
    /// Largest message of a client, at most `websocket.max_message`. Default: that.
    pub max_message: Option<usize>,
}

/// See [`RateLimit::by`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LimitBy {
    /// An address: IPv4 alone, IPv6 by its /64.
    #[default]
    Ip,
    /// A user.
    User,
    /// Everybody together.
    Route,
}

/// `"20/s"`, `"100/m burst 200"`: so many in this time, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In this time.
    pub per: Duration,
    /// At once; `count` where nothing is said.
    pub burst: NonZeroU32,
}

pub(super) fn read(table: &Table<'_>, name: &str) -> Arc<RateLimit> {
    Arc::new(RateLimit {
        name: name.to_owned(),
        requests: table.text("requests", units::rate),
        connects: table.text("connects", units::rate),
        messages: table.text("messages", units::rate),
        bytes: table.text("bytes", units::size_rate),
        subscriptions: table.text("subscriptions", units::rate),
        by: table.word(
            "by",
            [
                ("ip", LimitBy::Ip),
                ("user", LimitBy::User),
                ("route", LimitBy::Route),
            ],
        ),
        connections_per_user: table.optional_integer("connections_per_user", 1..=units::MANY),
        connections_per_ip: table.optional_integer("connections_per_ip", 1..=units::MANY),
        max_message: table.text("max_message", units::size),
    })
}

/// The policy that a table's `rate_limit` names, else `[rate_limit.default]`.
pub(super) fn of(
    table: &Table<'_>,
    all: &BTreeMap<String, Arc<RateLimit>>,
    is_anybody_known: bool,
) -> Option<Arc<RateLimit>> {
    if !table.says("rate_limit") {
        table.node("rate_limit");
        let default = all.get("default");
        table.note("rate_limit", None, json!(default.map(|_| "default")));
        return default.cloned();
    }
    let limit = table.reference("rate_limit", "rate_limit", all)?;
    // `[rate_limit.default]` goes by users where there are some, and by addresses elsewhere: that is no slip.
    if limit.counts_users() && !is_anybody_known {
        let what = "counts by user, and nobody is known without `auth`";
        let mend = "write `auth = \"NAME\"` here, or name a policy that counts by \"ip\"";
        table.warning("rate_limit", what, mend);
    }
    Some(limit)
}

impl RateLimit {
    fn counts_users(&self) -> bool {
        self.by == LimitBy::User || self.connections_per_user.is_some()
    }
}
