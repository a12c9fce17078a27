//! `/v1/sessions` and `/v1/drain`: lists sessions, and asks them to leave.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::admin::Admin;
use crate::admin::request::Asked;
use crate::admin::response::{self, Answer, Fault};
use crate::session::listing::SessionInfo;
use crate::session::registry::{Notice, Selector};
use crate::storage::rfc3339;

/// Sessions on one page unless the caller says otherwise, and at most.
const PAGE: (usize, usize) = (100, 1000);

/// A page of the sessions, the oldest connection first.
pub async fn list(asked: &Asked, admin: &Admin) -> Result<Answer, Fault> {
    asked.only(&["limit", "after"])?;
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
    let next = next.map(|session| place(session.number));
    let sessions: Vec<Value> = page.iter().map(show).collect();
    Ok(response::json(&json!({
        "total": admin.shared.sessions.count(),
        "next": next,
        "sessions": sessions,
    })))
}

/// Behind a connection, whether or not it is still there.
fn place(number: u64) -> String {
    format!("n{number}")
}

fn parse_place(text: &str) -> Option<u64> {
    text.strip_prefix('n')?.parse().ok()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Closing {
    ids: Option<Vec<String>>,
    user: Option<String>,
    route: Option<String>,
    all: Option<bool>,
    #[serde(default = "deploy")]
    code: u16,
}

/// 4200: come back at once.
fn deploy() -> u16 {
    4200
}

/// Closes some.
pub async fn close(asked: &Asked, admin: &Admin) -> Result<Answer, Fault> {
    let closing: Closing = asked.json()?;
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
    let closed = admin.shared.sessions.close(&whom, closing.code).await;
    Ok(response::json(&json!({ "closed": closed })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Notification {
    msg: String,
    #[serde(default = "info")]
    level: String,
    d: Option<Box<RawValue>>,
    route: Option<String>,
}

fn info() -> String {
    "info".to_owned()
}

/// Tells something to people.
pub async fn notify(asked: &Asked, admin: &Admin) -> Result<Answer, Fault> {
    let Notification {
        msg,
        level,
        d,
        route,
    } = asked.json()?;
    if !["info", "warn", "error"].contains(&level.as_str()) {
        return Err(Fault::unprocessable("`level` is info, warn or error"));
    }
    let notice = Arc::new(Notice { level, msg, d });
    let sessions = &admin.shared.sessions;
    let notified = sessions.notify(notice, route.as_deref()).await;
    Ok(response::json(&json!({ "notified": notified })))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Draining {
    window: Option<String>,
}

/// Longest window of a drain.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Not ready, no new sessions, the present ones leave; the process stays.
pub fn drain(asked: &Asked, admin: &Admin) -> Result<Answer, Fault> {
    let Draining { window } = asked.json_or_default()?;
    let window = match window.as_deref().map(humantime::parse_duration) {
        None => Duration::from_secs(30),
        Some(Ok(window)) if window <= LONGEST => window,
        Some(_) => {
            return Err(Fault::unprocessable(
                "`window` is a duration up to 24h, such as \"30s\"",
            ));
        }
    };
    admin.shared.draining.store(true, Ordering::SeqCst);
    let sessions = admin.shared.sessions.drain(window, "drain");
    admin
        .shared
        .telemetry
        .life
        .drain_began("admin", sessions, window);
    Ok(response::json_with(
        StatusCode::ACCEPTED,
        &json!({ "sessions": sessions }),
    ))
}

/// Ready again; sessions that are still open stay. A process on its way out goes on leaving.
pub fn cancel_drain(admin: &Admin) -> Answer {
    if !admin.leaving.load(Ordering::SeqCst) {
        admin.shared.draining.store(false, Ordering::SeqCst);
        admin.shared.sessions.cancel_drain();
        admin.shared.telemetry.life.drain_cancelled();
    }
    response::json(&json!({ "sessions": admin.shared.sessions.count() }))
}

fn show(session: &SessionInfo) -> Value {
    let subscriptions: Vec<Value> = session
        .subscriptions
        .iter()
        .map(|s| {
            json!({
                "ch": s.ch,
                "route": s.route,
                "path": s.path,
                "at": s.at.to_string(),
                "paused": s.paused,
            })
        })
        .collect();
    json!({
        "id": session.id,
        "user": session.user,
        "remote": session.remote,
        "protocol": session.protocol,
        "transport": session.transport,
        "cohort": session.cohort,
        "connected_at": rfc3339(session.connected_at),
        "queued": { "messages": session.queued.messages, "bytes": session.queued.bytes },
        "subscriptions": subscriptions,
    })
}
