//! `/v1/sessions`: lists sessions.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::admin::endpoint::{Call, Parameter};
use crate::admin::response::Fault;
use crate::admin::typed::Json;
use crate::rollout::TransportKind;
use crate::session::listing::{SessionInfo, SubscriptionInfo};
use crate::storage::rfc3339;

/// Sessions on one page unless the caller says otherwise, and at most.
const PAGE: (usize, usize) = (100, 1000);

/// A page of the sessions.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SessionPage {
    /// How many sessions there are in all.
    total: usize,
    /// Send it as `after` for the next page.
    next: Option<String>,
    /// The oldest connection first.
    sessions: Vec<SessionView>,
}

/// One connected client.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Session")]
struct SessionView {
    /// What `welcome.conn` said.
    id: String,
    /// The user, where a policy has identified one.
    user: Option<String>,
    /// The client's address.
    remote: String,
    /// How its messages are written, such as `json` or `raw`.
    protocol: &'static str,
    /// How it is connected: `websocket` or `polling`.
    transport: &'static str,
    /// The namespace as its client named it; null where it is no client of Socket.IO.
    namespace: Option<Arc<str>>,
    /// Where its rollout has it.
    cohort: TransportKind,
    /// Since when it is connected.
    #[schemars(extend("format" = "date-time"))]
    connected_at: String,
    /// What waits to be sent.
    queued: QueuedMessages,
    /// In the order of subscribing.
    subscriptions: Vec<SubscriptionView>,
}

/// What waits to be sent.
#[derive(Serialize, JsonSchema)]
struct QueuedMessages {
    /// How many messages.
    messages: u64,
    /// Their size.
    bytes: u64,
}

/// One subscription of a session.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Subscription")]
struct SubscriptionView {
    /// The channel.
    ch: u32,
    /// The route's name.
    route: Arc<str>,
    /// Path and query.
    path: String,
    /// The position that it has reached.
    at: String,
    /// Whether its client holds it.
    paused: bool,
}

/// What the query may hold.
pub(crate) fn parameters() -> Vec<Parameter> {
    vec![
        Parameter {
            name: "limit",
            is_required: false,
            description: "So many sessions on the page",
            schema: json!({ "type": "integer", "minimum": 1, "maximum": PAGE.1, "default": PAGE.0 }),
        },
        Parameter {
            name: "after",
            is_required: false,
            description: "`next` of the page before: a place among the connections, whichever have left meanwhile",
            schema: json!({ "type": "string", "pattern": "^(n[0-9]{1,19})?$" }),
        },
    ]
}

/// A page of the sessions, the oldest connection first.
pub(crate) async fn list(call: Call) -> Result<Json<SessionPage>, Fault> {
    let Call { asked, admin, .. } = &call;
    let limit = match asked.one("limit")?.map(str::parse::<usize>) {
        None => PAGE.0,
        Some(Ok(limit)) if (1..=PAGE.1).contains(&limit) => limit,
        Some(_) => return Err(Fault::unprocessable("`limit` is a number from 1 to 1000")),
    };
    let after = match asked.one("after")?.filter(|after| !after.is_empty()) {
        None => None,
        Some(after) => Some(parse_place(after).ok_or_else(|| {
            Fault::unprocessable("`after` is the `next` of another page, as it came")
        })?),
    };
    // A place stays where it is when the session that had it leaves.
    let (page, has_more) = admin.shared.sessions.page(after, limit).await;
    let next = page.last().filter(|_| has_more);
    Ok(Json(SessionPage {
        total: admin.shared.sessions.count(),
        next: next.map(|session| place(session.number)),
        sessions: page.into_iter().map(SessionView::from).collect(),
    }))
}

/// Behind a connection, whether or not it is still there.
fn place(number: u64) -> String {
    format!("n{number}")
}

fn parse_place(text: &str) -> Option<u64> {
    text.strip_prefix('n')?.parse().ok()
}

impl From<SessionInfo> for SessionView {
    fn from(session: SessionInfo) -> Self {
        let subscriptions = session.subscriptions.into_iter();
        SessionView {
            id: session.id,
            user: session.user,
            remote: session.remote,
            protocol: session.protocol,
            transport: session.transport,
            namespace: session.namespace.map(|joined| joined.name.clone()),
            cohort: session.cohort,
            connected_at: rfc3339(session.connected_at),
            queued: QueuedMessages {
                messages: session.queued.messages,
                bytes: session.queued.bytes,
            },
            subscriptions: subscriptions.map(SubscriptionView::from).collect(),
        }
    }
}

impl From<SubscriptionInfo> for SubscriptionView {
    fn from(subscription: SubscriptionInfo) -> Self {
        SubscriptionView {
            ch: subscription.ch,
            route: subscription.route,
            path: subscription.path,
            at: subscription.at.to_string(),
            paused: subscription.paused,
        }
    }
}
