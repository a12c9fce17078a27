//! Which clients get WebSocket: bucket, stage, decision. Pure; `controller` is the one task that owns the stages.

pub(crate) mod change;
pub(crate) mod controller;
pub(crate) mod plan;
pub(crate) mod record;
pub mod sticky_cookie;
pub(crate) mod window;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::config::{By, Rollout};

/// All units: `100 %` in thousandths of a percent, and one more than the highest bucket.
pub(crate) const EVERYBODY: u32 = 100_000;

/// What is in force for one rollout: the configured plan, or what an admin set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    /// Thousandths of a percent set last, by whomever.
    pub(crate) percent: u32,
    /// Running, paused, killed, rolled back.
    pub(crate) state: StageState,
}

/// What decides which clients get WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum StageState {
    /// The percentage decides.
    Running,
    /// The percentage decides and no schedule moves it.
    Paused,
    /// No client gets WebSocket until an operator resumes.
    Killed,
    /// As killed, by a guard.
    RolledBack,
}

impl Stage {
    /// As the file has it.
    pub(crate) fn planned(rollout: &Rollout) -> Self {
        Stage {
            percent: rollout.percent,
            state: match rollout.kill {
                true => StageState::Killed,
                false => StageState::Running,
            },
        }
    }

    /// Thousandths of a percent that get WebSocket now: none while killed or rolled back.
    pub(crate) fn effective_percent(&self) -> u32 {
        match self.state {
            StageState::Running | StageState::Paused => self.percent,
            StageState::Killed | StageState::RolledBack => 0,
        }
    }
}

impl StageState {
    /// The word in documents and labels.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            StageState::Running => "running",
            StageState::Paused => "paused",
            StageState::Killed => "killed",
            StageState::RolledBack => "rolled_back",
        }
    }
}

/// Every rollout's stage, by name; replaced as a whole by the controller.
pub(crate) type Stages = BTreeMap<Arc<str>, Stage>;

/// Which transport a client is to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum TransportKind {
    /// The bridge.
    WebSocket,
    /// Polling or SSE as before.
    Legacy,
}

impl TransportKind {
    /// The word in headers, documents and labels.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            TransportKind::WebSocket => "websocket",
            TransportKind::Legacy => "legacy",
        }
    }
}

/// Why a client is to use a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Reason {
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
    pub(crate) fn as_str(self) -> &'static str {
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

/// The client, as far as a rollout reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The signed sticky cookie's unit, verified (or the one just minted).
    pub(crate) cookie: Option<String>,
    /// The client's address in plain text form.
    pub(crate) ip: String,
    /// The user, once there is authentication.
    pub(crate) user: Option<String>,
    /// The tenant, likewise.
    pub(crate) tenant: Option<String>,
    /// Values of request headers and cookies that bear the name of a rollout's `header`: (name in lower case, value).
    pub(crate) overrides: Vec<(String, String)>,
}

/// What was decided and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The transport.
    pub(crate) transport: TransportKind,
    /// The reason.
    pub(crate) reason: Reason,
    /// The unit that was judged, where one was.
    pub(crate) unit: Option<String>,
    /// Its bucket, 0 to 99,999.
    pub(crate) bucket: Option<u32>,
}

/// The bucket of a unit, 0 to 99,999: the first 64 bits of SHA-256 over `crossfade/1|salt|unit` as an unsigned big-endian
/// number, mod 100,000. Frontends and backends may compute it themselves, so it never changes.
pub fn bucket(salt: &str, unit: &str) -> u32 {
    let hash = Sha256::new()
        .chain_update("crossfade/1|")
        .chain_update(salt)
        .chain_update("|")
        .chain_update(unit)
        .finalize();
    let first = hash.iter().take(8);
    let number = first.fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
    (number % u64::from(EVERYBODY)) as u32
}

/// Decides for one client; `None` for the rollout means the route is on for all clients.
///
/// A kill or rollback comes before everything. Then `always`, `never`, the testers' header (which any client may send, so it
/// cannot undo a `never`), and last the bucket. A client without a unit (no tenant, for example) is in at 100 % only.
/// A rollout without a stage is treated as the file has it.
pub(crate) fn decide(
    rollout: Option<&Rollout>,
    stages: &Stages,
    candidate: &Candidate,
) -> Decision {
    let Some(rollout) = rollout else {
        return Decision {
            transport: TransportKind::WebSocket,
            reason: Reason::None,
            unit: None,
            bucket: None,
        };
    };
    let stage = stages.get(&rollout.name).cloned();
    let stage = stage.unwrap_or_else(|| Stage::planned(rollout));
    let unit = unit_of(rollout.by, candidate).map(str::to_owned);
    let bucket = unit.as_deref().map(|unit| bucket(&rollout.salt, unit));
    let (transport, reason) = judge(rollout, &stage, candidate, unit.as_deref(), bucket);
    Decision {
        transport,
        reason,
        unit,
        bucket,
    }
}

fn judge(
    rollout: &Rollout,
    stage: &Stage,
    candidate: &Candidate,
    unit: Option<&str>,
    bucket: Option<u32>,
) -> (TransportKind, Reason) {
    let listed = |list: &[String]| unit.is_some_and(|unit| list.iter().any(|name| name == unit));
    match stage.state {
        StageState::Killed => return (TransportKind::Legacy, Reason::Killed),
        StageState::RolledBack => return (TransportKind::Legacy, Reason::RolledBack),
        StageState::Running | StageState::Paused => {}
    }
    if listed(&rollout.always) {
        return (TransportKind::WebSocket, Reason::Always);
    }
    if listed(&rollout.never) {
        return (TransportKind::Legacy, Reason::Never);
    }
    if let Some(wish) = override_of(rollout, candidate) {
        return (wish, Reason::Header);
    }
    match bucket.map_or(stage.percent == EVERYBODY, |b| b < stage.percent) {
        true => (TransportKind::WebSocket, Reason::Bucket),
        false => (TransportKind::Legacy, Reason::Bucket),
    }
}

/// The unit that is judged, as the rollout's `by` says.
pub(crate) fn unit_of(by: By, candidate: &Candidate) -> Option<&str> {
    match by {
        By::User => candidate.user.as_deref().or(candidate.cookie.as_deref()),
        By::Tenant => candidate.tenant.as_deref(),
        By::Cookie => candidate.cookie.as_deref(),
        By::Ip => Some(candidate.ip.as_str()).filter(|ip| !ip.is_empty()),
    }
}

/// The first well-formed wish under the name of the rollout's testers' header.
fn override_of(rollout: &Rollout, candidate: &Candidate) -> Option<TransportKind> {
    let header = rollout.header.as_ref()?;
    candidate
        .overrides
        .iter()
        .filter(|(name, _)| name == header.as_str())
        .find_map(|(_, value)| match value.as_str() {
            "websocket" => Some(TransportKind::WebSocket),
            "legacy" => Some(TransportKind::Legacy),
            _ => None,
        })
}

/// Thousandths of a percent of a percentage from 0 to 100; `None` outside, or with a fourth decimal.
pub(crate) fn thousandths(percent: f64) -> Option<u32> {
    // Doubles near 100 are exact to 1e-14; the tolerance only forgives binary fractions such as 0.001.
    const TOLERANCE: f64 = 1e-6;
    let scaled = percent * 1000.0;
    let whole = scaled.round();
    let valid = (0.0..=f64::from(EVERYBODY)).contains(&whole) && (scaled - whole).abs() < TOLERANCE;
    valid.then_some(whole as u32)
}

/// A percentage as JSON shows it: `25`, `12.5`, `0.125`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub(crate) struct Percent(
    #[schemars(range(min = 0, max = 100), extend("multipleOf" = 0.001))] serde_json::Number,
);

impl Percent {
    /// So many thousandths.
    pub(crate) fn new(thousandths: u32) -> Self {
        let fraction = serde_json::Number::from_f64(f64::from(thousandths) / 1000.0);
        Percent(match thousandths.is_multiple_of(1000) {
            true => (thousandths / 1000).into(),
            false => fraction.unwrap_or(0.into()),
        })
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
