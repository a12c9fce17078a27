//! `/v1/config`: what is in force, how it came to be, another one.

use hyper::StatusCode;
use hyper::header::IF_MATCH;
use serde_json::json;
use tokio::sync::oneshot;

use super::commands::{Applied, Ask, Declined};
use crate::admin::Admin;
use crate::admin::request::Asked;
use crate::admin::response::{self, Answer, Fault};

/// What is in force.
pub async fn show(admin: &Admin) -> Result<Answer, Fault> {
    let snapshot = ask(admin, Ask::Show).await?;
    let generation = snapshot.generation;
    Ok(response::tagged(response::json(&snapshot), generation))
}

/// What was accepted, oldest first.
pub async fn history(admin: &Admin) -> Result<Answer, Fault> {
    let entries = ask(admin, Ask::History).await?;
    Ok(response::json(&json!({ "entries": entries })))
}

/// Reads the file again.
pub async fn reload(asked: &Asked, admin: &Admin) -> Result<Answer, Fault> {
    asked.nothing()?;
    let seen = asked.if_match()?;
    tell(ask(admin, |reply| Ask::Reload(seen, reply)).await?)
}

/// One step back.
pub async fn undo(asked: &Asked, admin: &Admin) -> Result<Answer, Fault> {
    asked.nothing()?;
    let seen = asked.if_match()?;
    tell(ask(admin, |reply| Ask::Undo(seen, reply)).await?)
}

/// Another file.
pub async fn replace(asked: &Asked, admin: &Admin) -> Result<Answer, Fault> {
    if !asked.headers.contains_key(IF_MATCH) {
        return Err(Fault::new(
            StatusCode::PRECONDITION_REQUIRED,
            "precondition_required",
            "send If-Match with the ETag of the GET /v1/config that you edited, so that no other change is lost",
        ));
    }
    let seen = asked.if_match()?;
    let text = String::from_utf8(asked.body.to_vec())
        .map_err(|_| Fault::bad_request("the body is not UTF-8"))?;
    tell(ask(admin, |reply| Ask::Replace(seen, text, reply)).await?)
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

fn tell(outcome: Result<Applied, Declined>) -> Result<Answer, Fault> {
    match outcome {
        Ok(applied) => {
            let generation = applied.generation;
            Ok(response::tagged(response::json(&applied), generation))
        }
        Err(Declined::Invalid(problems)) => {
            let detail = "the file is invalid, and nothing changed; see `problems`";
            let fault = Fault::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_config", detail);
            Err(fault.with("problems", problems))
        }
        Err(Declined::RestartRequired(keys)) => {
            let detail = format!(
                "nothing changed; a restart is needed for {}: take it back, or restart",
                keys.join(", ")
            );
            let fault = Fault::new(StatusCode::CONFLICT, "restart_required", detail);
            Err(fault.with("keys", json!(keys)))
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
