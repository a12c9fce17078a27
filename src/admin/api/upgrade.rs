//! `/v1/upgrade`: another process takes over.

use std::fmt;
use std::path::PathBuf;

use hyper::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::admin::endpoint::{Call, Refusal};
use crate::admin::response::{Fault, Members};
use crate::admin::typed::Json;

/// An order to upgrade.
#[derive(Default)]
pub(crate) struct Upgrade {
    /// The file to start; where there is none, the one that this process was started from.
    pub(crate) binary: Option<PathBuf>,
    /// Where the outcome goes; a signal gets no reply.
    pub(crate) reply: Option<oneshot::Sender<Result<Upgraded, NotUpgraded>>>,
}

/// The new process serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Upgraded {
    /// Its process id.
    #[schemars(range(min = 1))]
    pub(crate) pid: u32,
    /// Its version.
    pub(crate) version: String,
    /// Topics whose replay windows it has.
    pub(crate) topics: usize,
}

/// Why this process serves on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotUpgraded {
    /// Not now, or not here.
    Refused(String),
    /// The file is not run.
    Unfit(String),
    /// The new process was not ready in time, or ended.
    NotReady {
        /// What happened, in a sentence.
        why: String,
        /// The end of what it wrote to stderr.
        stderr: String,
    },
}

impl fmt::Display for NotUpgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotUpgraded::Refused(why)
            | NotUpgraded::Unfit(why)
            | NotUpgraded::NotReady { why, .. } => why,
        })
    }
}

/// In which ways an upgrade is refused, or fails.
pub(crate) const REFUSALS: &[Refusal] = &[
    (
        409,
        "Not now: another upgrade is under way, or the process leaves or is drained; or not here: `pid` is another process, \
         or this one was not started by `crossfade run`",
    ),
    (
        422,
        "A member is unknown or missing, or the file is not run: others may write it, or it is no crossfade",
    ),
    (
        502,
        "`upgrade_failed`: the new process ended or was not ready in time, and the old one serves on; `stderr` is the end of \
         what it wrote there",
    ),
];

/// An order to upgrade, as it is sent.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpgradeWish {
    /// The process to replace, as GET tells it: of two simultaneous orders one upgrades, and a stray request none.
    #[schemars(range(min = 1))]
    pid: u32,
    /// Absolute path of the file to start, writable by root and the process's own user only. Default: the file that this
    /// process was started from.
    binary: Option<PathBuf>,
}

/// Which process would be replaced.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Upgradable {
    /// Its process id.
    #[schemars(range(min = 1))]
    pid: u32,
    /// Its version.
    version: &'static str,
    /// False where it was not started by `crossfade run`.
    available: bool,
}

/// Which process would be replaced.
pub(crate) async fn show(call: Call) -> Result<Json<Upgradable>, Fault> {
    Ok(Json(Upgradable {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION"),
        available: call.admin.upgrades.is_some(),
    }))
}

/// Starts the new process and answers once it serves, or does not.
pub(crate) async fn upgrade(
    call: Call,
    Json(wish): Json<UpgradeWish>,
) -> Result<Json<Upgraded>, Fault> {
    let UpgradeWish { pid, binary } = wish;
    if pid != std::process::id() {
        return Err(refused(
            "another process serves here: ask GET /v1/upgrade for its pid",
        ));
    }
    let Some(upgrades) = &call.admin.upgrades else {
        return Err(refused("this process was not started by `crossfade run`"));
    };
    let (reply, outcome) = oneshot::channel();
    let upgrade = Upgrade {
        binary,
        reply: Some(reply),
    };
    upgrades.try_send(upgrade).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => {
            refused("another upgrade is under way; look again when it is over")
        }
        mpsc::error::TrySendError::Closed(_) => refused(LEAVING),
    })?;
    match outcome
        .await
        .unwrap_or(Err(NotUpgraded::Refused(LEAVING.to_owned())))
    {
        Ok(upgraded) => Ok(Json(upgraded)),
        Err(NotUpgraded::Refused(why)) => Err(refused(&why)),
        Err(NotUpgraded::Unfit(why)) => Err(Fault::unprocessable(why)),
        Err(NotUpgraded::NotReady { why, stderr }) => {
            let detail = format!("{why}; the old process serves on");
            let fault = Fault::new(StatusCode::BAD_GATEWAY, "upgrade_failed", detail);
            Err(fault.with(Members {
                stderr: Some(stderr),
                ..Members::default()
            }))
        }
    }
}

const LEAVING: &str = "the process is on its way out";

fn refused(why: &str) -> Fault {
    Fault::new(StatusCode::CONFLICT, "conflict", why)
}
