//! Probes, metrics, and the health of the whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::{Either, join_all};
use schemars::JsonSchema;
use serde::Serialize;

use crate::admin::Admin;
use crate::admin::endpoint::Call;
use crate::admin::response::Fault;
use crate::admin::typed::{Json, Reply, Text, WithStatus};
use crate::config::Upstream;
use crate::hub::TopicInfo;
use crate::session::Services;
use crate::storage::{rfc3339, unix_seconds};

/// Traffic should come here.
#[derive(Serialize, JsonSchema)]
struct Ready {
    /// True.
    ready: bool,
}

/// Traffic should go elsewhere.
#[derive(Serialize, JsonSchema)]
struct Unready {
    /// False.
    ready: bool,
    /// Why.
    why: &'static str,
}

/// The whole system's health.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Health")]
struct HealthReport {
    /// `down` when no backend can be reached; `degraded` when one cannot, or when a source with listening clients is not live.
    status: Condition,
    /// This process.
    edge: ProcessHealth,
    /// The backends.
    upstreams: Vec<UpstreamHealth>,
    /// What is read from them.
    sources: Vec<SourceHealth>,
}

/// How well something is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Condition {
    Ok,
    Degraded,
    Down,
}

/// The health of this process.
#[derive(Serialize, JsonSchema)]
struct ProcessHealth {
    /// As `/readyz` says.
    ready: bool,
    /// Its version.
    version: &'static str,
    /// Seconds since it serves.
    uptime_s: u64,
    /// Sessions now.
    sessions: usize,
}

/// The health of one backend.
#[derive(Serialize, JsonSchema)]
struct UpstreamHealth {
    /// NAME of `[upstream.NAME]`.
    name: String,
    /// `degraded` when some of its servers are not healthy, `down` when none is.
    status: Condition,
    /// Its servers.
    servers: Vec<UpstreamServer>,
}

/// One server of a backend.
#[derive(Serialize, JsonSchema)]
struct UpstreamServer {
    /// Its URL as configured.
    url: String,
    /// Whether it gets requests, and accepts connections now.
    healthy: bool,
}

/// The health of one source.
#[derive(Serialize, JsonSchema)]
struct SourceHealth {
    /// The route's name.
    route: Arc<str>,
    /// Path and query.
    path: String,
    /// How it is read.
    #[schemars(extend("enum" = ["sse", "poll"]))]
    kind: &'static str,
    /// Whether it follows its backend.
    live: bool,
    /// The last success.
    #[schemars(extend("format" = "date-time"))]
    last_ok: Option<String>,
    /// Why it is not live.
    why: Option<&'static str>,
}

/// `/livez`.
pub(crate) async fn live(_: Call) -> Result<Text, Fault> {
    Ok(Text {
        content_type: "text/plain",
        text: "ok".to_owned(),
    })
}

/// `/readyz`.
pub(crate) async fn ready(call: Call) -> Result<impl Reply, Fault> {
    Ok(match call.admin.unready() {
        None => Either::Left(Json(Ready { ready: true })),
        Some(why) => Either::Right(WithStatus::<503, _>(Json(Unready { ready: false, why }))),
    })
}

/// `/metrics`.
pub(crate) async fn metrics(call: Call) -> Result<Text, Fault> {
    Ok(exposition(&call.admin.shared))
}

/// All metrics as they are now.
pub(crate) fn exposition(shared: &Services) -> Text {
    measure_age(shared);
    Text {
        content_type: "text/plain; version=0.0.4; charset=utf-8",
        text: shared.telemetry.render(),
    }
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
pub(crate) async fn health(call: Call) -> Result<impl Reply, Fault> {
    let admin = &call.admin;
    let in_force = admin.shared.in_force.load_full();
    let upstreams = in_force.config.upstreams.values();
    let upstreams = join_all(upstreams.map(|upstream| describe(admin, upstream))).await;
    let topics = admin.shared.hub.topics();
    let is_stale = topics
        .iter()
        .any(|topic| !topic.state.live && !topic.is_idle);
    let has = |wanted: Condition| upstreams.iter().any(|upstream| upstream.status == wanted);
    let ready = admin.unready().is_none();
    let status = match (
        has(Condition::Ok) || has(Condition::Degraded),
        has(Condition::Degraded) || has(Condition::Down),
    ) {
        (false, true) => Condition::Down,
        (_, true) => Condition::Degraded,
        _ if is_stale || !ready => Condition::Degraded,
        _ => Condition::Ok,
    };
    let document = Json(HealthReport {
        status,
        edge: ProcessHealth {
            ready,
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: admin.started.elapsed().as_secs(),
            sessions: admin.shared.sessions.count(),
        },
        upstreams,
        sources: topics.into_iter().map(SourceHealth::from).collect(),
    });
    Ok(match status {
        Condition::Down => Either::Right(WithStatus::<503, _>(document)),
        _ => Either::Left(document),
    })
}

async fn describe(admin: &Admin, upstream: &Upstream) -> UpstreamHealth {
    let servers = admin.shared.upstreams.report(upstream).await;
    let has = |healthy| servers.iter().any(|server| server.is_healthy == healthy);
    let status = match (has(true), has(false)) {
        (true, false) => Condition::Ok,
        (true, true) => Condition::Degraded,
        _ => Condition::Down,
    };
    let servers = servers.into_iter().map(|server| UpstreamServer {
        url: server.url,
        healthy: server.is_healthy,
    });
    UpstreamHealth {
        name: upstream.name.clone(),
        status,
        servers: servers.collect(),
    }
}

impl From<TopicInfo> for SourceHealth {
    fn from(topic: TopicInfo) -> Self {
        SourceHealth {
            route: topic.route,
            path: topic.path,
            kind: topic.kind,
            live: topic.state.live,
            last_ok: topic.last_ok.map(rfc3339),
            why: topic.state.why,
        }
    }
}
