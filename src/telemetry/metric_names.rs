//! Every metric family on one page. The registry puts `crossfade_` before each name.
//!
//! Labels hold configured names and fixed words only, never what a client sent; `route="-"` is what belongs to no route, such as
//! the multiplexed connection itself. Absent until its policy exists: `guard_result`.

/// One family: what it is called, what it says, what splits it.
#[derive(Debug)]
pub(crate) struct Family {
    /// Name without the prefix.
    pub(crate) name: &'static str,
    /// One sentence for an operator that meets it on a dashboard.
    pub(crate) help: &'static str,
    /// Label names, in the order in which the handles take their values.
    pub(crate) labels: &'static [&'static str],
}

const fn family(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, help, labels }
}

/// `sessions`.
pub(crate) const SESSIONS: Family = family(
    "sessions",
    &["route", "protocol", "cohort"],
    "Realtime connections that are open now",
);
/// `connects_total`.
pub(crate) const CONNECTS: Family = family(
    "connects_total",
    &["route", "protocol", "result", "reason"],
    "Handshakes of realtime connections; result is accepted or refused",
);
/// `messages_total`.
pub(crate) const MESSAGES: Family = family(
    "messages_total",
    &["route", "protocol", "direction"],
    "Realtime messages; direction is in (from clients) or out (to clients)",
);
/// `bytes_total`.
pub(crate) const BYTES: Family = family(
    "bytes_total",
    &["route", "protocol", "direction"],
    "Bytes of realtime messages with their frames; direction is in or out",
);
/// `namespace_sessions`.
pub(crate) const NAMESPACE_SESSIONS: Family = family(
    "namespace_sessions",
    &["namespace", "cohort"],
    "Clients of Socket.IO that have joined a namespace now; cohort is websocket, or legacy where the rollout keeps them on long-polling",
);
/// `namespace_messages_total`.
pub(crate) const NAMESPACE_MESSAGES: Family = family(
    "namespace_messages_total",
    &["namespace", "event", "direction"],
    "Packets of Socket.IO; event is a name of the configuration or of crossfade, and - for any other and for what is no event; direction is in (from clients) or out (to clients)",
);
/// `event_latency_seconds`.
pub(crate) const EVENT_LATENCY: Family = family(
    "event_latency_seconds",
    &["route", "cohort"],
    "From reading the backend's bytes to writing the client's socket, plus half of the last ping's round trip, at most 250 ms of it",
);
/// `data_age_seconds`.
pub(crate) const DATA_AGE: Family = family(
    "data_age_seconds",
    &["route"],
    "Seconds since the last successful poll, of the route's oldest topic with a subscriber",
);
/// `upstream_requests_total`.
pub(crate) const UPSTREAM_REQUESTS: Family = family(
    "upstream_requests_total",
    &["route", "upstream", "kind", "status"],
    "Requests that a backend answered; kind is passthrough, poll, sse, call or auth",
);
/// `upstream_streams`.
pub(crate) const UPSTREAM_STREAMS: Family = family(
    "upstream_streams",
    &["route"],
    "Event streams that sources hold open now",
);
/// `upstream_errors_total`.
pub(crate) const UPSTREAM_ERRORS: Family = family(
    "upstream_errors_total",
    &["upstream", "reason"],
    "Requests to backends that failed without an answer",
);
/// `upstream_healthy`.
pub(crate) const UPSTREAM_HEALTHY: Family = family(
    "upstream_healthy",
    &["upstream", "server"],
    "1 while a server may get requests, 0 while it failed its checks or too many requests",
);
/// `upstream_ejections_total`.
pub(crate) const UPSTREAM_EJECTIONS: Family = family(
    "upstream_ejections_total",
    &["upstream", "server"],
    "How often a server got no requests for a time because it had failed five in a row",
);
/// `upstream_retries_total`.
pub(crate) const UPSTREAM_RETRIES: Family = family(
    "upstream_retries_total",
    &["upstream", "reason"],
    "Requests that were sent again: to another server (reason connect), or over a new connection (broken)",
);
/// `upstream_retries_refused_total`.
pub(crate) const UPSTREAM_RETRIES_REFUSED: Family = family(
    "upstream_retries_refused_total",
    &["upstream"],
    "Requests that were not sent again because too many had been lately",
);
/// `upstream_waits_total`.
pub(crate) const UPSTREAM_WAITS: Family = family(
    "upstream_waits_total",
    &["upstream", "kind"],
    "Requests that waited for the upstream's budget",
);
/// `topics`.
pub(crate) const TOPICS: Family = family("topics", &["route"], "Shared feeds that exist now");
/// `subscribers`.
pub(crate) const SUBSCRIBERS: Family = family(
    "subscribers",
    &["route"],
    "Subscriptions to shared feeds now",
);
/// `replays_total`.
pub(crate) const REPLAYS: Family = family(
    "replays_total",
    &["route"],
    "Subscriptions that resumed with nothing missing",
);
/// `gaps_total`.
pub(crate) const GAPS: Family = family(
    "gaps_total",
    &["route", "why"],
    "Losses that were reported to subscribers",
);
/// `slow_closes_total`.
pub(crate) const SLOW_CLOSES: Family = family(
    "slow_closes_total",
    &["route"],
    "Connections closed because their client read too slowly (4113)",
);
/// `windows_squeezed_total`.
pub(crate) const WINDOWS_SQUEEZED: Family = family(
    "windows_squeezed_total",
    &["route"],
    "Bytes dropped from replay windows early, to stay within server.limits.memory",
);
/// `queue_bytes`.
pub(crate) const QUEUE_BYTES: Family = family(
    "queue_bytes",
    &[],
    "Bytes in all replay windows and queues, against server.limits.memory",
);
/// `memory_pressure`.
pub(crate) const MEMORY_PRESSURE: Family = family(
    "memory_pressure",
    &[],
    "How near the system's memory limit is: 0 calm, 1 from 85 % (no new WebSockets), 2 from 92 % (replay windows are dropped), 3 from 95 % (no requests)",
);
/// `reloads_total`.
pub(crate) const RELOADS: Family = family(
    "reloads_total",
    &["result"],
    "Reloads of the configuration; result is ok, unchanged, invalid or restart_required",
);
/// `upgrades_total`.
pub(crate) const UPGRADES: Family = family(
    "upgrades_total",
    &["result"],
    "Upgrades of the binary; result is done (counted by the new process) or failed (by the old one, which serves on)",
);
/// `reload_seconds`.
pub(crate) const RELOAD_SECONDS: Family = family(
    "reload_seconds",
    &[],
    "From a reload's trigger to its end, whatever the result",
);
/// `config_generation`.
pub(crate) const CONFIG_GENERATION: Family = family(
    "config_generation",
    &[],
    "Counts accepted configurations of this process, from 1",
);
/// `rollout_percent`.
pub(crate) const ROLLOUT_PERCENT: Family = family(
    "rollout_percent",
    &["rollout"],
    "Percentage in force: 0 while killed or rolled back",
);
/// `rollout_state`.
pub(crate) const ROLLOUT_STATE: Family = family(
    "rollout_state",
    &["rollout", "state"],
    "1 for the state that the rollout is in, 0 for the others",
);
/// `decisions_total`.
pub(crate) const DECISIONS: Family = family(
    "decisions_total",
    &["rollout", "transport", "reason"],
    "Connections and answers decided by a rollout",
);
/// `rollout_requests_total`.
pub(crate) const ROLLOUT_REQUESTS: Family = family(
    "rollout_requests_total",
    &["rollout", "cohort", "result"],
    "Ordinary requests to the bridged routes of a rollout (cohort legacy); result is ok or failed (5xx, or no answer)",
);
/// `fallbacks_total`.
pub(crate) const FALLBACKS: Family = family(
    "fallbacks_total",
    &["route"],
    "Sessions and subscriptions sent to the legacy transport while they were live",
);
/// `reconnects_total`.
pub(crate) const RECONNECTS: Family = family(
    "reconnects_total",
    &["route"],
    "Subscriptions that asked to resume after a position or an event id",
);
/// `refused_total`.
pub(crate) const REFUSED: Family = family(
    "refused_total",
    &["reason"],
    "Requests refused before they reached a route's policies or by them",
);
/// `fields_dropped_total`.
pub(crate) const FIELDS_DROPPED: Family = family(
    "fields_dropped_total",
    &[],
    "Request headers that were not sent upstream because a backend may take their names for others, such as X_Name",
);
/// `rate_limited_total`.
pub(crate) const RATE_LIMITED: Family = family(
    "rate_limited_total",
    &["policy"],
    "What a [rate_limit.NAME] refused: requests, handshakes, messages, subscriptions and connections",
);
/// `auth_total`.
pub(crate) const AUTH: Family = family(
    "auth_total",
    &["auth", "result"],
    "Credentials judged by an [auth.NAME]; result is ok, missing, invalid, expired, revoked or unavailable",
);
/// `auth_ended_total`.
pub(crate) const AUTH_ENDED: Family = family(
    "auth_ended_total",
    &["kind", "reason"],
    "Answers and tunnels cut because their client's credential had ended; kind is answer or tunnel, reason is missing, expired, revoked or unavailable",
);
/// `auth_fetches_total`.
pub(crate) const AUTH_FETCHES: Family = family(
    "auth_fetches_total",
    &["auth", "result"],
    "Key sets and answers of authorities that an [auth.NAME] fetched; result is ok, refused or failed",
);
/// `share_refused_total`.
pub(crate) const SHARE_REFUSED: Family = family(
    "share_refused_total",
    &["route", "reason"],
    "ALARM: answers on a shared topic that look private; nothing was delivered",
);
/// `errors_total`.
pub(crate) const ERRORS: Family = family(
    "errors_total",
    &["side", "kind", "namespace"],
    "What broke, and whether on the client's side (downstream), crossfade's (edge) or the backend's (upstream)",
);
/// `panics_total`.
pub(crate) const PANICS: Family = family(
    "panics_total",
    &[],
    "Tasks that ended by a bug of crossfade; must stay 0",
);
/// `cookies_dropped_total`.
pub(crate) const COOKIES_DROPPED: Family = family(
    "cookies_dropped_total",
    &["route"],
    "Set-Cookie headers in answers to calls, which cannot reach the browser",
);
/// `log_lines_dropped_total`.
pub(crate) const LOG_LINES_DROPPED: Family = family(
    "log_lines_dropped_total",
    &[],
    "Log lines that stderr did not take: the disk is full, or no process reads the pipe",
);
/// `trace_spans_total`.
pub(crate) const TRACE_SPANS: Family = family(
    "trace_spans_total",
    &["result"],
    "Spans; result is exported, dropped (the queue was full) or failed (the collector did not take them)",
);
/// `build_info`.
pub(crate) const BUILD_INFO: Family =
    family("build_info", &["version"], "1; the version that runs");
