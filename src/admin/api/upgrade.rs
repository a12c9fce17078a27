//! `/v1/upgrade`: another process takes over.

use std::fmt;
use std::path::PathBuf;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::admin::Admin;
use crate::admin::request::Asked;
use crate::admin::response::{self, Answer, Fault};

/// An order to upgrade.
#[derive(Default)]
pub struct Upgrade {
    /// The file to start; where there is none, the one that this process was started from.
    pub binary: Option<PathBuf>,
    /// Where the outcome goes; a signal gets no reply.
    pub reply: Option<oneshot::Sender<Result<Upgraded, NotUpgraded>>>,
}

/// The new process serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Upgraded {
    /// Its process id.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Topics whose replay windows it has.
    pub topics: usize,
}

/// Why this process serves on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotUpgraded {
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// The process that the caller means to replace: of two simultaneous orders one upgrades, and a stray request none.
    pid: u32,
    binary: Option<PathBuf>,
}

/// Which process would be replaced.
pub fn show(admin: &Admin) -> Answer {
    response::json(&json!({
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
        "available": admin.upgrades.is_some(),
    }))
}

/// Starts the new process and answers once it serves, or does not.
pub async fn upgrade(asked: &Asked, admin: &Admin) -> Result<Answer, Fault> {
    let Wish { pid, binary } = asked.json()?;
    if pid != std::process::id() {
        return Err(refused(
            "another process serves here: ask GET /v1/upgrade for its pid",
        ));
    }
    let Some(upgrades) = &admin.upgrades else {
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
        Ok(upgraded) => Ok(response::json(&upgraded)),
        Err(NotUpgraded::Refused(why)) => Err(refused(&why)),
        Err(NotUpgraded::Unfit(why)) => Err(Fault::unprocessable(why)),
        Err(NotUpgraded::NotReady { why, stderr }) => {
            let detail = format!("{why}; the old process serves on");
            let fault = Fault::new(StatusCode::BAD_GATEWAY, "upgrade_failed", detail);
            Err(fault.with("stderr", json!(stderr)))
        }
    }
}

const LEAVING: &str = "the process is on its way out";

fn refused(why: &str) -> Fault {
    Fault::new(StatusCode::CONFLICT, "conflict", why)
}
