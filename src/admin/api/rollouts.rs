//! `/v1/rollouts`: the release manager's dial.

use std::sync::Arc;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Number, json};

use crate::admin::Admin;
use crate::admin::request::Asked;
use crate::admin::response::{self, Answer, Fault};
use crate::rollout::controller::{Refused, Status};
use crate::rollout::record::Change;
use crate::rollout::{by_word, percent_number, thousandths};
use crate::session::listing::SessionInfo;
use crate::storage::rfc3339;

/// `R` of the interface.
#[derive(Serialize)]
struct Rollout {
    name: Arc<str>,
    percent: Number,
    effective_percent: Number,
    state: &'static str,
    source: &'static str,
    by: &'static str,
    salt: String,
    routes: Vec<Arc<str>>,
    sessions: usize,
    durable: bool,
    generation: u64,
    changed_at: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Adjustment {
    percent: Option<f64>,
    paused: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Killing {
    reason: Option<String>,
}

/// All of them, by name.
pub async fn list(admin: &Admin) -> Answer {
    let sessions = admin.shared.sessions.list().await;
    let rollouts: Vec<Rollout> = admin
        .controller
        .list()
        .into_iter()
        .map(|status| show(status, admin, &sessions))
        .collect();
    response::json(&json!({ "rollouts": rollouts }))
}

/// One of them.
pub async fn one(name: &str, admin: &Admin) -> Result<Answer, Fault> {
    let status = admin.controller.status(name);
    Ok(tell(status.ok_or_else(|| unknown(name, admin))?, admin).await)
}

/// Another percentage, or a pause.
pub async fn adjust(name: &str, asked: &Asked, admin: &Admin) -> Result<Answer, Fault> {
    let Adjustment { percent, paused } = asked.json()?;
    if percent.is_none() && paused.is_none() {
        return Err(Fault::unprocessable("send `percent`, `paused`, or both"));
    }
    let percent = percent.map(|percent| {
        thousandths(percent).ok_or_else(|| {
            Fault::unprocessable("`percent` is a number from 0 to 100 with up to three decimals")
        })
    });
    let percent = percent.transpose()?;
    change(name, asked, admin, Change::Adjust { percent, paused }).await
}

/// No client gets WebSocket until an operator resumes.
pub async fn kill(name: &str, asked: &Asked, admin: &Admin) -> Result<Answer, Fault> {
    /// Characters of a reason that are kept.
    const LONGEST: usize = 500;
    let Killing { reason } = asked.json_or_default()?;
    let reason = reason.unwrap_or_default().chars().take(LONGEST).collect();
    change(name, asked, admin, Change::Kill { reason }).await
}

/// Back to the percentage set last.
pub async fn resume(name: &str, asked: &Asked, admin: &Admin) -> Result<Answer, Fault> {
    asked.nothing()?;
    change(name, asked, admin, Change::Resume).await
}

/// What happened to it, oldest first.
pub fn history(name: &str, admin: &Admin) -> Result<Answer, Fault> {
    let history = admin.controller.history(name);
    let entries: Vec<_> = history
        .ok_or_else(|| unknown(name, admin))?
        .into_iter()
        .map(|entry| {
            json!({
                "at": rfc3339(entry.at),
                "by": entry.by.as_str(),
                "action": entry.action.as_str(),
                "from": percent_number(entry.from),
                "to": percent_number(entry.to),
                "why": entry.why,
            })
        })
        .collect();
    Ok(response::json(&json!({ "entries": entries })))
}

async fn change(name: &str, asked: &Asked, admin: &Admin, change: Change) -> Result<Answer, Fault> {
    let seen = asked.if_match()?;
    match admin.controller.change(name, seen, change).await {
        Ok(status) => Ok(tell(status, admin).await),
        Err(Refused::Unknown) => Err(unknown(name, admin)),
        Err(Refused::Stale(generation)) => Err(Fault::stale(generation)),
        Err(Refused::GivenAway) => Err(Fault::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "draining",
            "a new process takes over at this moment; ask again",
        )),
        Err(Refused::FileKills) => Err(Fault::new(
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

async fn tell(status: Status, admin: &Admin) -> Answer {
    let generation = status.record.generation;
    let sessions = admin.shared.sessions.list().await;
    response::tagged(response::json(&show(status, admin, &sessions)), generation)
}

fn show(status: Status, admin: &Admin, sessions: &[SessionInfo]) -> Rollout {
    let Status {
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
    let governed = sessions.iter().filter(|session| {
        let mut subscriptions = session.subscriptions.iter();
        subscriptions.any(|subscription| routes.contains(&subscription.route))
    });
    Rollout {
        percent: percent_number(stage.percent),
        effective_percent: percent_number(stage.effective_percent()),
        state: stage.state.as_str(),
        source: record.source().as_str(),
        by: by_word(plan.by),
        salt: plan.salt.clone(),
        sessions: governed.count(),
        routes,
        durable,
        generation: record.generation,
        changed_at: rfc3339(record.changed_at),
        name: plan.name.clone(),
    }
}
