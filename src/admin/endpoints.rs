//! The endpoints of the admin API. What is declared here is found by the router, and described by the OpenAPI document.

use std::sync::LazyLock;

use hyper::Method;
use serde_json::{Map, Value};

use super::api::{
    close, config, drain, explain, health, notify, revoke, rollouts, sessions, topics, upgrade,
};
use super::endpoint::{Call, Endpoint, Refusal, get};
use super::openapi;
use super::response::Fault;
use super::typed::Json;

/// All of them.
pub(crate) static ENDPOINTS: LazyLock<Vec<Endpoint>> = LazyLock::new(endpoints);

/// What they say of themselves.
static DOCUMENT: LazyLock<Map<String, Value>> =
    LazyLock::new(|| openapi::document(ENDPOINTS.as_slice()));

const NOW: &[&str] = &["As it stands now"];
const CHANGED: &[&str] = &["What changed"];
const HANDED_OVER: Refusal = (503, "A new process takes over at this moment: ask again");
const INVALID_FILE: Refusal = (
    422,
    "The file is invalid, with `problems`, or the body is not empty; nothing changed",
);
const LEAVING: Refusal = (503, "The process is on its way out");

async fn openapi_document(_: Call) -> Result<Json<&'static Map<String, Value>>, Fault> {
    Ok(Json(&DOCUMENT))
}

/// Those of one path stand together, in the order of its `Allow` field.
fn endpoints() -> Vec<Endpoint> {
    vec![
        get("/livez", health::live)
            .open()
            .says("live", "Whether the process runs", &["It does"]),
        get("/readyz", health::ready).open().says(
            "ready",
            "Whether traffic should come here",
            &["It should", "It should not"],
        ),
        get("/metrics", health::metrics)
            .open()
            .says("metrics", "Prometheus metrics", &["Text format"]),
        get("/v1/openapi.json", openapi_document)
            .says("openapi", "This document", &["OpenAPI 3.1"]),
        get("/v1/health", health::health).says(
            "health",
            "The whole system's health",
            &["ok or degraded", "down: no backend can be reached"],
        ),
        get("/v1/explain", explain::answer)
            .says(
                "explain",
                "Which route, policies and side of the rollout, and why; or what a namespace of Socket.IO and its event do. \
                 Nothing is sent",
                &["The judgement"],
            )
            .query(explain::parameters()),
        get("/v1/rollouts", rollouts::list).says("listRollouts", "All rollouts", &["By name"]),
        get("/v1/rollouts/{name}", rollouts::one)
            .says("rollout", "One rollout", &["As it stands"]),
        Endpoint::new(Method::PATCH, "/v1/rollouts/{name}", rollouts::adjust)
            .says(
                "adjustRollout",
                "Another percentage, a pause, or both. While killed it takes effect at resume",
                NOW,
            )
            .if_match(false)
            .refuses(&[HANDED_OVER]),
        Endpoint::new(Method::POST, "/v1/rollouts/{name}/kill", rollouts::kill)
            .says(
                "killRollout",
                "No client gets WebSocket until an operator resumes; killing twice is as good as once",
                NOW,
            )
            .if_match(false)
            .refuses(&[HANDED_OVER]),
        Endpoint::new(Method::POST, "/v1/rollouts/{name}/resume", rollouts::resume)
            .says("resumeRollout", "Back to the percentage set last", NOW)
            .if_match(false)
            .refuses(&[(409, "The file says kill = true"), HANDED_OVER]),
        get("/v1/rollouts/{name}/history", rollouts::history).says(
            "rolloutHistory",
            "What happened to it, oldest first",
            &["Entries"],
        ),
        get("/v1/sessions", sessions::list)
            .says(
                "listSessions",
                "The connected clients, the oldest connection first",
                &["One page"],
            )
            .query(sessions::parameters()),
        Endpoint::new(Method::POST, "/v1/sessions/close", close::close)
            .says("closeSessions", "Closes some", &["How many"]),
        Endpoint::new(Method::POST, "/v1/sessions/notify", notify::notify).says(
            "notifySessions",
            "A notice to all sessions, or to those on a route",
            &["How many"],
        ),
        Endpoint::new(Method::POST, "/v1/revoke", revoke::revoke)
            .says(
                "revoke",
                "Revokes a user, the login of a session, or one token; sessions that depend on it are closed at once",
                &["How many sessions had come in by it"],
            )
            .refuses(&[(404, "No such session")]),
        get("/v1/topics", topics::list).says(
            "listTopics",
            "What is read upstream, and for how many",
            &["By route and path"],
        ),
        Endpoint::new(Method::POST, "/v1/drain", drain::drain).says(
            "drain",
            "Not ready, no new sessions, the present ones leave over the window; the process stays",
            &["How many leave"],
        ),
        Endpoint::new(Method::DELETE, "/v1/drain", |call, ()| drain::cancel_drain(call)).says(
            "cancelDrain",
            "Ready again; sessions that are still open stay",
            &["How many are open"],
        ),
        get("/v1/upgrade", upgrade::show).says(
            "showUpgrade",
            "Which process would be replaced",
            &["This one"],
        ),
        Endpoint::new(Method::POST, "/v1/upgrade", upgrade::upgrade)
            .says(
                "upgrade",
                "A new process takes over listening sockets and replay windows; this one then leaves. \
                 Answered once the new one serves, or does not",
                &["The new process serves"],
            )
            .refuses(upgrade::REFUSALS),
        get("/v1/config", config::show)
            .says("config", "The configuration in force", &["Secrets as ***"])
            .refuses(&[LEAVING]),
        Endpoint::new(Method::PUT, "/v1/config", config::replace)
            .says("replaceConfig", "Writes the file whole, then reloads", CHANGED)
            .if_match(true)
            .refuses(&[
                (409, "`restart_required` with `keys`, or `read_only`"),
                (422, "The file is invalid, with `problems`; nothing changed"),
                LEAVING,
            ]),
        Endpoint::new(Method::POST, "/v1/config/reload", config::reload)
            .says("reloadConfig", "Reads the file again", CHANGED)
            .if_match(false)
            .refuses(&[
                (409, "`restart_required` with `keys`"),
                INVALID_FILE,
                LEAVING,
            ]),
        Endpoint::new(Method::POST, "/v1/config/undo", config::undo)
            .says("undoConfig", "One step back: rewrites the file, then reloads", CHANGED)
            .if_match(false)
            .refuses(&[
                (409, "`nothing_to_undo`, `restart_required` with `keys`, or `read_only`"),
                INVALID_FILE,
                LEAVING,
            ]),
        get("/v1/config/history", config::history)
            .says("configHistory", "What was accepted, oldest first", &["Entries"])
            .refuses(&[LEAVING]),
    ]
}
