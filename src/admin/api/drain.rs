//! `/v1/drain`: asks all sessions to leave, and takes that back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::endpoint::Call;
use crate::admin::response::Fault;
use crate::admin::typed::{Json, WithStatus};

/// Longest window of a drain.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How sessions leave.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Draining {
    /// A duration up to 24h, such as `30s` or `2m 30s`, over which the sessions leave.
    #[schemars(extend("default" = "30s"))]
    window: Option<String>,
}

/// How many sessions there are.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SessionCount {
    /// So many.
    sessions: usize,
}

/// Not ready, no new sessions, the present ones leave; the process stays.
pub(crate) async fn drain(
    call: Call,
    draining: Option<Json<Draining>>,
) -> Result<WithStatus<202, Json<SessionCount>>, Fault> {
    let shared = &call.admin.shared;
    let window = draining.and_then(|Json(draining)| draining.window);
    let window = match window.as_deref().map(humantime::parse_duration) {
        None => Duration::from_secs(30),
        Some(Ok(window)) if window <= LONGEST => window,
        Some(_) => {
            return Err(Fault::unprocessable(
                "`window` is a duration up to 24h, such as \"30s\"",
            ));
        }
    };
    shared.draining.store(true, Ordering::SeqCst);
    let sessions = shared.sessions.drain(window, "drain");
    let life = &shared.telemetry.life;
    life.drain_began("admin", sessions, window);
    Ok(WithStatus(Json(SessionCount { sessions })))
}

/// Ready again; sessions that are still open stay. A process on its way out goes on leaving.
pub(crate) async fn cancel_drain(call: Call) -> Result<Json<SessionCount>, Fault> {
    let shared = &call.admin.shared;
    if !call.admin.leaving.load(Ordering::SeqCst) {
        shared.draining.store(false, Ordering::SeqCst);
        shared.sessions.cancel_drain();
        shared.telemetry.life.drain_cancelled();
    }
    let sessions = shared.sessions.count();
    Ok(Json(SessionCount { sessions }))
}
