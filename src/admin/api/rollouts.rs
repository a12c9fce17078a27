//! `/v1/rollouts`: the release manager's dial.

use std::sync::Arc;

use hyper::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::Admin;
use crate::admin::endpoint::Call;
use crate::admin::response::Fault;
use crate::admin::schema::at_least_one;
use crate::admin::typed::{Json, Nothing, Tagged};
use crate::config::By;
use crate::rollout::controller::{ChangeRefused, ControlledRollout};
use crate::rollout::record::{Action, ChangeSource, RolloutChange};
use crate::rollout::{Percent, StageState, thousandths};
use crate::session::JoinedNamespace;
use crate::session::listing::SessionInfo;
use crate::storage::rfc3339;

/// One rollout as it stands.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Rollout")]
pub(crate) struct RolloutStatus {
    /// NAME of `[rollout.NAME]`.
    name: Arc<str>,
    /// The percentage set last.
    percent: Percent,
    /// The percentage in force: 0 while killed or rolled back.
    effective_percent: Percent,
    /// What decides.
    state: StageState,
    /// What set the values in force. `schedule` and `guard` are words of later versions.
    #[schemars(with = "&str", extend("enum" = ["config", "admin", "schedule", "guard"]))]
    source: ChangeSource,
    /// What is put into buckets.
    by: By,
    /// Mixed into the bucket.
    salt: String,
    /// The bridged routes that it governs, by name.
    routes: Vec<Arc<str>>,
    /// The namespaces of Socket.IO that it governs, by their configured names.
    namespaces: Vec<String>,
    /// Sessions in one of these namespaces, and others with a subscription on one of these routes.
    sessions: usize,
    /// Whether what an operator sets outlives the process: `server.state_dir` is set.
    durable: bool,
    /// Counts changes.
    generation: u64,
    /// When it changed last.
    #[schemars(extend("format" = "date-time"))]
    changed_at: String,
}

/// All rollouts.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RolloutList {
    /// By name.
    rollouts: Vec<RolloutStatus>,
}

/// What happened to a rollout.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RolloutHistory {
    /// The oldest first.
    entries: Vec<RolloutEntry>,
}

/// One change of a rollout.
#[derive(Serialize, JsonSchema)]
struct RolloutEntry {
    /// When.
    #[schemars(extend("format" = "date-time"))]
    at: String,
    /// What made the change.
    by: ChangeSource,
    /// What was done.
    action: Action,
    /// For `set` the percentage set before, else the one in force before.
    from: Percent,
    /// Likewise, after.
    to: Percent,
    /// A reason, where one is known.
    why: String,
}

/// A change of a rollout: one of these, or both.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = at_least_one(&["percent", "paused"])))]
pub(crate) struct Adjustment {
    /// The percentage of units that get WebSocket, up to three decimals.
    #[schemars(range(min = 0, max = 100), extend("multipleOf" = 0.001))]
    percent: Option<f64>,
    /// Whether schedules wait.
    paused: Option<bool>,
}

/// Why a rollout is killed.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Killing {
    /// For the history; 500 characters are kept.
    reason: Option<String>,
}

/// All of them, by name.
pub(crate) async fn list(call: Call) -> Result<Json<RolloutList>, Fault> {
    let admin = &call.admin;
    let sessions = admin.shared.sessions.list().await;
    let all = admin.controller.list().into_iter();
    let rollouts = all.map(|status| show(status, admin, &sessions)).collect();
    Ok(Json(RolloutList { rollouts }))
}

/// One of them.
pub(crate) async fn one(call: Call) -> Result<Tagged<RolloutStatus>, Fault> {
    let Call { admin, name, .. } = &call;
    let status = admin.controller.status(name);
    Ok(tell(status.ok_or_else(|| unknown(name, admin))?, admin).await)
}

/// Another percentage, or a pause.
pub(crate) async fn adjust(
    call: Call,
    Json(adjustment): Json<Adjustment>,
) -> Result<Tagged<RolloutStatus>, Fault> {
    let Adjustment { percent, paused } = adjustment;
    if percent.is_none() && paused.is_none() {
        return Err(Fault::unprocessable("send `percent`, `paused`, or both"));
    }
    let percent = percent.map(|percent| {
        thousandths(percent).ok_or_else(|| {
            Fault::unprocessable("`percent` is a number from 0 to 100 with up to three decimals")
        })
    });
    let percent = percent.transpose()?;
    change(&call, RolloutChange::Adjust { percent, paused }).await
}

/// No client gets WebSocket until an operator resumes.
pub(crate) async fn kill(
    call: Call,
    killing: Option<Json<Killing>>,
) -> Result<Tagged<RolloutStatus>, Fault> {
    /// Characters of a reason that are kept.
    const LONGEST: usize = 500;
    let reason = killing.and_then(|Json(killing)| killing.reason);
    let reason = reason.unwrap_or_default().chars().take(LONGEST).collect();
    change(&call, RolloutChange::Kill { reason }).await
}

/// Back to the percentage set last.
pub(crate) async fn resume(
    call: Call,
    _: Option<Json<Nothing>>,
) -> Result<Tagged<RolloutStatus>, Fault> {
    change(&call, RolloutChange::Resume).await
}

/// What happened to it, oldest first.
pub(crate) async fn history(call: Call) -> Result<Json<RolloutHistory>, Fault> {
    let Call { admin, name, .. } = &call;
    let history = admin.controller.history(name);
    let history = history.ok_or_else(|| unknown(name, admin))?;
    let entries = history.into_iter().map(|entry| RolloutEntry {
        at: rfc3339(entry.at),
        by: entry.by,
        action: entry.action,
        from: Percent::new(entry.from),
        to: Percent::new(entry.to),
        why: entry.why,
    });
    let entries = entries.collect();
    Ok(Json(RolloutHistory { entries }))
}

async fn change(call: &Call, change: RolloutChange) -> Result<Tagged<RolloutStatus>, Fault> {
    let Call { admin, name, asked } = call;
    let seen = asked.if_match()?;
    match admin.controller.change(name, seen, change).await {
        Ok(status) => Ok(tell(status, admin).await),
        Err(ChangeRefused::Unknown) => Err(unknown(name, admin)),
        Err(ChangeRefused::Stale(generation)) => Err(Fault::stale(generation)),
        Err(ChangeRefused::GivenAway) => Err(Fault::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "draining",
            "a new process takes over at this moment; ask again",
        )),
        Err(ChangeRefused::FileKills) => Err(Fault::new(
            StatusCode::CONFLICT,
            "killed_by_file",
            format!("the file says kill = true: take `rollout.{name}.kill` back there first"),
        )),
    }
}

fn unknown(name: &str, admin: &Admin) -> Fault {
    let known = admin.controller.list();
    let names: Vec<&str> = known.iter().map(|status| &*status.plan.name).collect();
    Fault::not_found(match names.is_empty() {
        true => "no rollout is configured: add a [rollout.NAME] to the file".to_owned(),
        false => format!(
            "no rollout is called `{name}`; there is {}",
            names.join(", ")
        ),
    })
}

async fn tell(status: ControlledRollout, admin: &Admin) -> Tagged<RolloutStatus> {
    let sessions = admin.shared.sessions.list().await;
    Tagged {
        generation: status.record.generation,
        document: show(status, admin, &sessions),
    }
}

fn show(status: ControlledRollout, admin: &Admin, sessions: &[SessionInfo]) -> RolloutStatus {
    let ControlledRollout {
        plan,
        record,
        durable,
    } = status;
    let stage = record.stage();
    let in_force = admin.shared.in_force.load();
    let routes = in_force.routes.bridged();
    let routes: Vec<Arc<str>> = routes
        .filter(|route| route.rollout.as_ref().is_some_and(|r| r.name == plan.name))
        .map(|route| route.name.clone())
        .collect();
    let socketio = in_force.config.socketio.as_deref();
    let namespaces = socketio
        .into_iter()
        .flat_map(|socketio| &socketio.namespaces);
    let governing = |joined: &JoinedNamespace| joined.of(&in_force)?.rollout.as_ref();
    let is_governed = |session: &&SessionInfo| {
        if let Some(rollout) = session.namespace.as_deref().and_then(governing) {
            return rollout.name == plan.name;
        }
        let mut subscriptions = session.subscriptions.iter();
        subscriptions.any(|subscription| routes.contains(&subscription.route))
    };
    let namespaces = namespaces
        .filter(|namespace| (namespace.rollout.as_ref()).is_some_and(|r| r.name == plan.name))
        .map(|namespace| namespace.name.as_str().to_owned())
        .collect();
    let governed = sessions.iter().filter(is_governed).count();
    RolloutStatus {
        percent: Percent::new(stage.percent),
        effective_percent: Percent::new(stage.effective_percent()),
        state: stage.state,
        source: record.source(),
        by: plan.by,
        salt: plan.salt.clone(),
        sessions: governed,
        routes,
        namespaces,
        durable,
        generation: record.generation,
        changed_at: rfc3339(record.changed_at),
        name: plan.name.clone(),
    }
}
