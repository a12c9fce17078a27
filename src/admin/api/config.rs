//! `/v1/config`: what is in force, how it came to be, another one.

use hyper::StatusCode;
use hyper::header::IF_MATCH;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::oneshot;

use super::commands::{Applied, Ask, Declined, Entry, Snapshot};
use crate::admin::Admin;
use crate::admin::endpoint::Call;
use crate::admin::response::{Fault, Members};
use crate::admin::typed::{Json, Nothing, Tagged, Toml};

/// Accepted configurations.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ConfigHistory {
    /// The oldest first.
    entries: Vec<Entry>,
}

/// What is in force.
pub(crate) async fn show(call: Call) -> Result<Tagged<Snapshot>, Fault> {
    let document = ask(&call.admin, Ask::Show).await?;
    let generation = document.generation;
    Ok(Tagged {
        document,
        generation,
    })
}

/// What was accepted, oldest first.
pub(crate) async fn history(call: Call) -> Result<Json<ConfigHistory>, Fault> {
    let entries = ask(&call.admin, Ask::History).await?;
    Ok(Json(ConfigHistory { entries }))
}

/// Reads the file again.
pub(crate) async fn reload(call: Call, _: Option<Json<Nothing>>) -> Result<Tagged<Applied>, Fault> {
    let seen = call.asked.if_match()?;
    tell(ask(&call.admin, |reply| Ask::Reload(seen, reply)).await?)
}

/// One step back.
pub(crate) async fn undo(call: Call, _: Option<Json<Nothing>>) -> Result<Tagged<Applied>, Fault> {
    let seen = call.asked.if_match()?;
    tell(ask(&call.admin, |reply| Ask::Undo(seen, reply)).await?)
}

/// Another file.
pub(crate) async fn replace(call: Call, Toml(text): Toml) -> Result<Tagged<Applied>, Fault> {
    if !call.asked.headers.contains_key(IF_MATCH) {
        return Err(Fault::new(
            StatusCode::PRECONDITION_REQUIRED,
            "precondition_required",
            "send If-Match with the ETag of the GET /v1/config that you edited, so that no other change is lost",
        ));
    }
    let seen = call.asked.if_match()?;
    let text = String::from_utf8(text.to_vec())
        .map_err(|_| Fault::bad_request("the body is not UTF-8"))?;
    tell(ask(&call.admin, |reply| Ask::Replace(seen, text, reply)).await?)
}

async fn ask<T>(admin: &Admin, make: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Fault> {
    let (reply, answer) = oneshot::channel();
    admin.asks.send(make(reply)).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())
}

fn gone() -> Fault {
    Fault::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "draining",
        "the process is on its way out",
    )
}

fn tell(outcome: Result<Applied, Declined>) -> Result<Tagged<Applied>, Fault> {
    match outcome {
        Ok(document) => Ok(Tagged {
            generation: document.generation,
            document,
        }),
        Err(Declined::Invalid(problems)) => {
            let detail = "the file is invalid, and nothing changed; see `problems`";
            let fault = Fault::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_config", detail);
            Err(fault.with(Members {
                problems: Some(problems),
                ..Members::default()
            }))
        }
        Err(Declined::RestartRequired(keys)) => {
            let detail = format!(
                "nothing changed; a restart is needed for {}: take it back, or restart",
                keys.join(", ")
            );
            let fault = Fault::new(StatusCode::CONFLICT, "restart_required", detail);
            Err(fault.with(Members {
                keys: Some(keys),
                ..Members::default()
            }))
        }
        Err(Declined::Stale(generation)) => Err(Fault::stale(generation)),
        Err(Declined::ReadOnly(why)) => Err(Fault::new(
            StatusCode::CONFLICT,
            "read_only",
            format!(
                "the file cannot be written ({why}): change it where it comes from, then reload"
            ),
        )),
        Err(Declined::Gone) => Err(gone()),
        Err(Declined::NothingToUndo) => Err(Fault::new(
            StatusCode::CONFLICT,
            "nothing_to_undo",
            "no other configuration was in force before this one",
        )),
    }
}
