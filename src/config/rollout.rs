use std::sync::Arc;
use std::time::Duration;

use hyper::header::{self, HeaderName};
use schemars::JsonSchema;
use serde::Serialize;

use super::parser::problem::Wrong;
use super::parser::table::Table;
use super::parser::units;

/// `[rollout.NAME]`: which clients get WebSocket.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rollout {
    /// NAME.
    pub(crate) name: Arc<str>,
    /// 0 to 100, up to three decimals (held in thousandths). An admin may set another one while it runs.
    pub(crate) percent: u32,
    /// What is put into buckets: `"user"` (the sticky cookie where none is known), `"tenant"` (needs `auth`
    /// in every route that it governs; a user without one is refused), `"cookie"` or `"ip"`.
    pub(crate) by: By,
    /// Mixed into the bucket. Default: the rollout's name.
    pub(crate) salt: String,
    /// Units that always get WebSocket.
    pub(crate) always: Vec<String>,
    /// Units that never do.
    pub(crate) never: Vec<String>,
    /// A header, and cookie, by which testers choose for themselves: `websocket` or `legacy`.
    pub(crate) header: Option<HeaderName>,
    /// The file's own kill switch.
    pub(crate) kill: bool,
    /// Window over which sessions leave that are no longer in.
    pub(crate) drain: Duration,
    /// The same for a kill.
    pub(crate) kill_drain: Duration,
    /// Whether clients may fall back by themselves.
    pub(crate) fallback: bool,
}

/// What a rollout's unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum By {
    /// The user; the sticky cookie where none is known.
    User,
    /// The tenant.
    Tenant,
    /// The sticky cookie.
    Cookie,
    /// The client's address.
    Ip,
}

pub(super) fn read(table: &Table<'_>, name: &str) -> Arc<Rollout> {
    table.refuse_later(["schedule", "guard"], "stages that move by themselves");
    let by = table.word(
        "by",
        [
            ("user", By::User),
            ("tenant", By::Tenant),
            ("cookie", By::Cookie),
            ("ip", By::Ip),
        ],
    );
    let always = table.texts("always", units::something);
    let never = table.texts("never", units::something);
    if always.iter().any(|unit| never.contains(unit)) {
        let what = "holds a unit that `always` holds too";
        table.error("never", what, "keep it in one of them");
    }
    Arc::new(Rollout {
        name: name.into(),
        percent: table.percent(0.0),
        by,
        salt: table.text_or("salt", name, units::something),
        always,
        never,
        header: table.text("header", testers_header),
        kill: table.switch("kill", false),
        drain: table.window("drain", "30s"),
        kill_drain: table.window("kill_drain", "5s"),
        fallback: table.switch("fallback", true),
    })
}

/// A cookie may bear the same name, so both grammars hold; both forbid the same separators.
fn testers_header(text: &str) -> Result<HeaderName, Wrong> {
    let name = units::header_name(text)?;
    let taken = [
        header::COOKIE,
        header::AUTHORIZATION,
        header::HOST,
        header::UPGRADE,
        header::CONNECTION,
        header::ORIGIN,
    ];
    match taken.contains(&name) {
        true => Err(Wrong::new(
            "has a meaning already",
            "write a name of your own such as \"x-transport\"",
        )),
        false => Ok(name),
    }
}
