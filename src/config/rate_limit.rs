use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::parser::problem::Wrong;
use super::parser::table::Table;
use super::parser::units;

/// `[rate_limit.NAME]`: how much one client may ask for. A rate is `"20/s"`, or `"100/m burst 200"` where
/// more may come at once; its units are `s`, `m` and `h`. Requests above it are answered with 429, or with
/// `rate_limited` over a connection, both with the time after which to try again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// NAME.
    pub(crate) name: String,
    /// Requests over HTTP, and `req`s. Default: unlimited.
    pub(crate) requests: Option<Rate>,
    /// WebSocket handshakes. Default: unlimited.
    pub(crate) connects: Option<Rate>,
    /// Messages of a client over its connection. Default: unlimited.
    pub(crate) messages: Option<Rate>,
    /// Bytes of these messages, such as `"1MiB/s burst 4MiB"`. Default: unlimited.
    pub(crate) bytes: Option<Rate>,
    /// `sub`s. Default: unlimited.
    pub(crate) subscriptions: Option<Rate>,
    /// What is counted: `"ip"` (an IPv4 address, or the /64 of an IPv6 one), `"user"` (the address where none
    /// is known; over a connection, for all but `requests`, the connection itself) or `"route"` (all of a
    /// route together).
    pub(crate) by: LimitBy,
    /// WebSocket connections of one user at once. Default: unlimited.
    pub(crate) connections_per_user: Option<usize>,
    /// WebSocket connections of one address at once. Default: unlimited.
    pub(crate) connections_per_ip: Option<usize>,
    /// Largest message of a client, at most `websocket.max_message`. Default: that.
    pub(crate) max_message: Option<usize>,
}

/// See [`RateLimit::by`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum LimitBy {
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
        requests: table.text("requests", rate),
        connects: table.text("connects", rate),
        messages: table.text("messages", rate),
        bytes: table.text("bytes", size_rate),
        subscriptions: table.text("subscriptions", rate),
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
        let what = "counts by user, and no user is known without `auth`";
        let fix = "write `auth = \"NAME\"` here, or name a policy that counts by \"ip\"";
        table.warning("rate_limit", what, fix);
    }
    Some(limit)
}

impl RateLimit {
    fn counts_users(&self) -> bool {
        self.by == LimitBy::User || self.connections_per_user.is_some()
    }
}

/// `"20/s"`, `"100/m burst 200"`.
pub(super) fn rate(text: &str) -> Result<Rate, Wrong> {
    let count = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().ok(),
        false => None,
    };
    let wrong = || {
        let fix = "write so many per s, m or h in quotes, such as \"20/s\" or \"100/m burst 200\"";
        Wrong::new("is no rate", fix)
    };
    parse_rate(text, count).ok_or_else(wrong)
}

/// `"1MiB/s burst 4MiB"`.
fn size_rate(text: &str) -> Result<Rate, Wrong> {
    let count = |text: &str| u32::try_from(units::size(text).ok()?).ok();
    let wrong = || {
        let fix = "write sizes below 4GiB per s, m or h in quotes, such as \"1MiB/s burst 4MiB\"";
        Wrong::new("is no rate of bytes", fix)
    };
    parse_rate(text, count).ok_or_else(wrong)
}

fn parse_rate(text: &str, count: impl Fn(&str) -> Option<u32>) -> Option<Rate> {
    let count = |text: &str| NonZeroU32::new(count(text)?);
    let (rate, burst) = match text.split_once(" burst ") {
        Some((rate, burst)) => (rate.trim(), Some(burst.trim())),
        None => (text.trim(), None),
    };
    let (many, unit) = rate.split_once('/')?;
    let per = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return None,
    };
    let many = count(many.trim())?;
    Some(Rate {
        count: many,
        per: Duration::from_secs(per),
        burst: burst.map_or(Some(many), count)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_count_a_time_and_a_burst() {
        let told = |rate: Result<Rate, Wrong>| {
            let rate = rate.expect("a rate");
            (rate.count.get(), rate.per.as_secs(), rate.burst.get())
        };
        for (text, expected) in [
            ("20/s", (20, 1, 20)),
            ("100/m burst 200", (100, 60, 200)),
            (" 5 / h  burst  1 ", (5, 3_600, 1)),
            ("4294967295/s", (u32::MAX, 1, u32::MAX)),
        ] {
            assert_eq!(told(rate(text)), expected, "{text}");
        }
        for (text, expected) in [
            ("1MiB/s burst 4MiB", (1 << 20, 1, 4 << 20)),
            ("64 KB/m", (64_000, 60, 64_000)),
        ] {
            assert_eq!(told(size_rate(text)), expected, "{text}");
        }
        for broken in [
            "",
            "20",
            "/s",
            "0/s",
            "20/s burst 0",
            "20/s burst",
            "20/sec",
            "-1/s",
            "+1/s",
            "1.5/s",
            "20/sburst 5",
            "20/s burst 5 burst 6",
            "4294967296/s",
            "20 per s",
            "1MiB/s",
        ] {
            assert!(rate(broken).is_err(), "{broken}");
        }
        for broken in ["20/s", "0B/s", "4GiB/s", "1MiB/s burst 0B", "1MiB"] {
            assert!(size_rate(broken).is_err(), "{broken}");
        }
    }
}
