//! `/v1/sessions/notify`: tells sessions something.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::admin::endpoint::Call;
use crate::admin::response::Fault;
use crate::admin::typed::Json;
use crate::session::registry::Notice;

/// What sessions are told.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Notification {
    /// For a person.
    msg: String,
    /// How much it matters.
    #[serde(default = "info")]
    #[schemars(extend("enum" = ["info", "warn", "error"]))]
    level: String,
    /// Any JSON, for a program.
    #[schemars(with = "Option<Value>")]
    d: Option<Box<RawValue>>,
    /// Only sessions with a subscription on this route.
    route: Option<String>,
}

fn info() -> String {
    "info".to_owned()
}

/// How many sessions are told.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Notified {
    /// So many.
    notified: usize,
}

/// Tells something to people.
pub(crate) async fn notify(
    call: Call,
    Json(told): Json<Notification>,
) -> Result<Json<Notified>, Fault> {
    let Notification {
        msg,
        level,
        d,
        route,
    } = told;
    if !["info", "warn", "error"].contains(&level.as_str()) {
        return Err(Fault::unprocessable("`level` is info, warn or error"));
    }
    let notice = Arc::new(Notice { level, msg, d });
    let sessions = &call.admin.shared.sessions;
    let notified = sessions.notify(notice, route.as_deref()).await;
    Ok(Json(Notified { notified }))
}
