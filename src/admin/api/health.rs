//! Probes, metrics, and the health of the whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::join_all;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::admin::Admin;
use crate::admin::response::{self, Answer};
use crate::config::Upstream;
use crate::session::Services;
use crate::storage::{rfc3339, unix_seconds};

/// `/readyz`.
pub fn ready(admin: &Admin) -> Answer {
    match admin.unready() {
        None => response::json(&json!({ "ready": true })),
        Some(why) => response::json_with(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({ "ready": false, "why": why }),
        ),
    }
}

/// `/metrics`.
pub fn metrics(shared: &Services) -> Answer {
    measure_age(shared);
    let text = shared.telemetry.render();
    response::body(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        text,
    )
}

/// The age of polled data grows by itself, so it is measured at each request.
fn measure_age(shared: &Services) {
    let now = unix_seconds(SystemTime::now());
    let mut ages: BTreeMap<Arc<str>, u64> = BTreeMap::new();
    for topic in shared.hub.topics() {
        if let ("poll", false, Some(last_ok)) = (topic.kind, topic.is_idle, topic.last_ok) {
            let age = ages.entry(topic.route).or_default();
            *age = (*age).max(now.saturating_sub(last_ok));
        }
    }
    shared.telemetry.life.data_ages(&ages);
}

/// `/v1/health`: `down` when no backend can be reached, `degraded` when one cannot, or when a source with listening clients
/// is not live.
pub async fn health(admin: &Admin) -> Answer {
    let in_force = admin.shared.in_force.load_full();
    let upstreams = join_all(
        in_force
            .config
            .upstreams
            .values()
            .map(|u| describe(admin, u)),
    )
    .await;
    let topics = admin.shared.hub.topics();
    let is_stale = topics
        .iter()
        .any(|topic| !topic.state.live && !topic.is_idle);
    let sources: Vec<Value> = topics
        .into_iter()
        .map(|topic| {
            json!({
                "route": topic.route,
                "path": topic.path,
                "kind": topic.kind,
                "live": topic.state.live,
                "last_ok": topic.last_ok.map(rfc3339),
                "why": topic.state.why,
            })
        })
        .collect();
    let has = |word: &str| upstreams.iter().any(|upstream| upstream["status"] == word);
    let ready = admin.unready().is_none();
    let status = match (has("ok") || has("degraded"), has("degraded") || has("down")) {
        (false, true) => "down",
        (_, true) => "degraded",
        _ if is_stale || !ready => "degraded",
        _ => "ok",
    };
    let document = json!({
        "status": status,
        "edge": {
            "ready": ready,
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": admin.started.elapsed().as_secs(),
            "sessions": admin.shared.sessions.count(),
        },
        "upstreams": upstreams,
        "sources": sources,
    });
    let code = match status {
        "down" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    response::json_with(code, &document)
}

async fn describe(admin: &Admin, upstream: &Upstream) -> Value {
    let servers = admin.shared.upstreams.report(upstream).await;
    let has = |healthy| servers.iter().any(|server| server.is_healthy == healthy);
    let status = match (has(true), has(false)) {
        (true, false) => "ok",
        (true, true) => "degraded",
        _ => "down",
    };
    let servers: Vec<Value> = servers
        .iter()
        .map(|server| json!({ "url": server.url, "healthy": server.is_healthy }))
        .collect();
    json!({ "name": upstream.name, "status": status, "servers": servers })
}
