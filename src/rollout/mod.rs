//! Who gets WebSocket: bucket, stage, decision. Pure; `controller` is the one task that owns the stages.

pub mod controller;
pub mod unit;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Rollout;

/// What is in force for one rollout: the configured plan, or what an admin set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Thousandths of a percent set last, by whomever.
    pub percent: u32,
    /// Running, paused, killed, rolled back.
    pub state: StageState,
}

/// See [`Stage::state`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageState {
    /// The percentage decides.
    Running,
    /// The percentage decides and no schedule moves it.
    Paused,
    /// Nobody gets WebSocket until a person resumes.
    Killed,
    /// As killed, by a guard.
    RolledBack,
}

/// Every rollout's stage, by name; replaced as a whole by the controller.
pub type Stages = BTreeMap<Arc<str>, Stage>;

/// Which transport a client is to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// The bridge.
    WebSocket,
    /// Polling or SSE as before.
    Legacy,
}

impl Transport {
    /// The word in headers, documents and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::WebSocket => "websocket",
            Transport::Legacy => "legacy",
        }
    }
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The unit's bucket against the percentage.
    Bucket,
    /// Listed in `always`.
    Always,
    /// Listed in `never`.
    Never,
    /// The testers' header or cookie.
    Header,
    /// The kill switch.
    Killed,
    /// A guard took it back.
    RolledBack,
    /// No rollout governs the route.
    None,
}

impl Reason {
    /// The word in documents and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Bucket => "bucket",
            Reason::Always => "always",
            Reason::Never => "never",
            Reason::Header => "header",
            Reason::Killed => "killed",
            Reason::RolledBack => "rolled_back",
            Reason::None => "none",
        }
    }
}

/// Who asks, as far as a rollout wants to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// The signed sticky cookie's unit, verified (or the one just minted).
    pub cookie: Option<String>,
    /// The client's address in plain text form.
    pub ip: String,
    /// The user, once there is authentication.
    pub user: Option<String>,
    /// The tenant, likewise.
    pub tenant: Option<String>,
    /// Values of request headers and cookies that bear the name of a rollout's `header`: (name in lower case, value).
    pub overrides: Vec<(String, String)>,
}

/// What was decided and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The transport.
    pub transport: Transport,
    /// The reason.
    pub reason: Reason,
    /// The unit that was judged, where one was.
    pub unit: Option<String>,
    /// Its bucket, 0 to 99,999.
    pub bucket: Option<u32>,
}

/// The bucket of a unit: the first 64 bits of SHA-256 over `crossfade/1|salt|unit`, mod 100,000.
pub fn bucket(salt: &str, unit: &str) -> u32 {
    todo!()
}

/// Decides for one client; `None` for the rollout means the route is on for everybody.
pub fn decide(rollout: Option<&Rollout>, stages: &Stages, candidate: &Candidate) -> Decision {
    todo!()
}
