//! `/v1/sessions/close`: closes sessions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::endpoint::Call;
use crate::admin::response::Fault;
use crate::admin::schema::exactly_one;
use crate::admin::typed::Json;
use crate::session::registry::Selector;

/// Which sessions are closed: one of `ids`, `user`, `route`, `all`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = exactly_one(&["ids", "user", "route", "all"])))]
pub(crate) struct Closing {
    /// Those with these ids.
    ids: Option<Vec<String>>,
    /// Those of this user.
    user: Option<String>,
    /// Those with a subscription on this route.
    route: Option<String>,
    /// All.
    #[schemars(extend("enum" = [true, null]))]
    all: Option<bool>,
    /// The close code; 4000 to 4499 tell the client what to do.
    #[serde(default = "deploy")]
    #[schemars(extend("anyOf" = [{ "enum": [1000, 1001] }, { "minimum": 3000, "maximum": 4999 }]))]
    code: u16,
}

/// 4200: come back at once.
fn deploy() -> u16 {
    4200
}

/// How many sessions are closed.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Closed {
    /// So many.
    pub(crate) closed: usize,
}

/// Closes some.
pub(crate) async fn close(call: Call, Json(closing): Json<Closing>) -> Result<Json<Closed>, Fault> {
    if !matches!(closing.code, 1000 | 1001 | 3000..=4999) {
        return Err(Fault::unprocessable(
            "`code` is 1000, 1001, or from 3000 to 4999; 4000 to 4499 tell the client what to do",
        ));
    }
    let whom = match (closing.ids, closing.user, closing.route, closing.all) {
        (Some(ids), None, None, None) => Selector::Ids(ids),
        (None, Some(user), None, None) => Selector::User(user),
        (None, None, Some(route), None) => Selector::Route(route),
        (None, None, None, Some(true)) => Selector::All,
        _ => {
            return Err(Fault::unprocessable(
                "send exactly one of `ids`, `user`, `route`, `all: true`",
            ));
        }
    };
    let sessions = &call.admin.shared.sessions;
    let closed = sessions.close(&whom, closing.code).await;
    Ok(Json(Closed { closed }))
}
