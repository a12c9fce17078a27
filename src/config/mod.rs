//! The configuration as finished values: what got past [`load`] is valid.
//!
//! `file` is the serde mirror of `proxy.toml`; this page is what the rest of the house sees.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

/// Everything one file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[websocket]`.
    pub websocket: WebSocket,
    /// `[admin]`.
    pub admin: Admin,
    /// `[upstream.NAME]`.
    pub upstreams: BTreeMap<String, Arc<Upstream>>,
    /// `[[route]]`, in file order.
    pub routes: Vec<Arc<Route>>,
    /// `[cors.NAME]`.
    pub cors: BTreeMap<String, Arc<Cors>>,
    /// `[rollout.NAME]`.
    pub rollouts: BTreeMap<String, Arc<Rollout>>,
    /// `[log]`.
    pub log: Log,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listen {
    /// `host:port`; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

/// `[server]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Public listeners.
    pub listen: Vec<Listen>,
    /// How browsers name this server, without a trailing slash.
    pub public_url: Option<String>,
    /// Where crossfade's own endpoints live, without a trailing slash.
    pub prefix: String,
    /// Peers whose forwarded headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// Where admin settings and the cookie secret are kept.
    pub state_dir: Option<PathBuf>,
    /// Signs cookies.
    pub secret: Option<Secret>,
    /// From SIGTERM to exit, in all.
    pub drain_timeout: Duration,
    /// Worker threads; `None` means one per core.
    pub workers: Option<usize>,
    /// `[server.limits]`.
    pub limits: Limits,
    /// What happens to header names with `_` or `.`; `Drop` by default.
    pub underscore_headers: Underscores,
}

/// `server.underscore_headers`: backends fold `_` and `.` into `-`, so such a name may pass for another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Underscores {
    /// The field is left out.
    #[default]
    Drop,
    /// The request is refused.
    Reject,
    /// The field goes upstream, unless it folds to a forwarded name.
    Allow,
}

/// `[server.limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Downstream connections in all.
    pub connections: usize,
    /// Downstream connections of one address; `None` is unlimited.
    pub connections_per_ip: Option<usize>,
    /// Bytes of a request head.
    pub header_bytes: usize,
    /// Header fields of a request.
    pub headers: usize,
    /// From the first byte of a head to its last.
    pub header_timeout: Duration,
    /// Silence inside a request body.
    pub body_idle_timeout: Duration,
    /// Bytes per second of a request body, over any ten seconds; slower ones are cut off.
    pub body_min_rate: u64,
    /// Bytes of all queues and replay windows together.
    pub memory: usize,
}

/// An address block such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Any address of the block.
    pub address: std::net::IpAddr,
    /// Leading bits that count.
    pub bits: u8,
}

impl Network {
    /// Whether the block holds this address; an IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, address: std::net::IpAddr) -> bool {
        use std::net::IpAddr::{V4, V6};
        match (self.address.to_canonical(), address.to_canonical()) {
            (V4(net), V4(ip)) => {
                shares_prefix(u32::from(net).into(), u32::from(ip).into(), 32, self.bits)
            }
            (V6(net), V6(ip)) => shares_prefix(net.into(), ip.into(), 128, self.bits),
            _ => false,
        }
    }
}

fn shares_prefix(a: u128, b: u128, width: u32, bits: u8) -> bool {
    let dropped = width.saturating_sub(bits.into());
    (a ^ b).checked_shr(dropped).unwrap_or(0) == 0
}

/// A value that never reaches a log: its `Debug` shows `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// `[websocket]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocket {
    /// Between two pings of the sidecar.
    pub ping_interval: Duration,
    /// From a ping to the connection's end when nothing comes back.
    pub ping_timeout: Duration,
    /// How long a `hello` may take.
    pub hello_timeout: Duration,
    /// Largest message from a client, bytes.
    pub max_message: usize,
    /// Subscriptions of one connection.
    pub max_subs: usize,
    /// How far a subscription may lag.
    pub queue: Queue,
    /// The `[cors.NAME]` of `PREFIX/ws`.
    pub cors: Option<Arc<Cors>>,
}

/// The lag that a subscription is allowed; a distance, not a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Messages.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
}

/// `[admin]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Where the admin API listens.
    pub listen: Listen,
    /// Bearer token.
    pub token: Option<Secret>,
    /// Host names that may be used to reach it, besides IP literals and `localhost`.
    pub hosts: Vec<String>,
}

/// `[upstream.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// NAME.
    pub name: String,
    /// `host:port` of each server (cleartext HTTP).
    pub servers: Vec<Authority>,
    /// A fixed `Host`; `None` preserves the client's.
    pub host: Option<HeaderValue>,
    /// For a TCP connection to be made.
    pub connect_timeout: Duration,
    /// To the first byte of an answer; streams have none.
    pub response_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Unused connections kept per server.
    pub keepalive: usize,
}

/// `host:port`, the host a name or an IP literal as it stands in a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority(pub String);

/// `[[route]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Its name in metrics and the admin API; the path where none is given.
    pub name: Arc<str>,
    /// Place in the file, from 0 (`route.0`).
    pub index: usize,
    /// The path template as written, valid.
    pub path: String,
    /// Exact host, or `*.host` for one label.
    pub host: Option<String>,
    /// Empty means all.
    pub methods: Vec<Method>,
    /// Which `[upstream.NAME]`.
    pub upstream: Arc<Upstream>,
    /// What makes it a bridged route.
    pub source: Option<Source>,
    /// Among whom one upstream may be shared.
    pub share: Share,
    /// Tripwires silenced.
    pub accept: Vec<Tripwire>,
    /// Request headers that go upstream with the source and into the topic's key.
    pub vary: Vec<HeaderName>,
    /// `[cors.NAME]`; `[cors.default]` where absent and present there.
    pub cors: Option<Arc<Cors>>,
    /// `[rollout.NAME]`.
    pub rollout: Option<Arc<Rollout>>,
    /// The replay window.
    pub replay: Replay,
    /// What happens to a slow consumer.
    pub slow: Slow,
    /// Fewer, larger writes.
    pub deliver: Option<Deliver>,
    /// Requests that clients may make.
    pub calls: Option<Calls>,
    /// Fields that a client may filter by.
    pub filter: Vec<String>,
    /// Writes that trigger the poll.
    pub refresh_on: Vec<RefreshOn>,
}

impl Route {
    /// A fingerprint of *what is read* upstream and how it is presented: servers, host, source, sharing.
    ///
    /// Two definitions with the same fingerprint may share a topic, so a reload keeps it. Pace
    /// (`every`, `jitter`, timeouts), limits (`replay`, `slow`, `deliver`, `max_body`,
    /// `mass_delete_guard`) and policies (`cors`, `rollout`, `calls`) are no part of it. It is a
    /// digest because a poll's body may hold a secret.
    pub fn reads(&self) -> String {
        let upstream = (&self.upstream.servers, &self.upstream.host);
        let sharing = (&self.share, &self.accept, &self.vary);
        let source = self.source.as_ref().map(|source| match source {
            Source::Sse(sse) => format!("sse {:?}", (&sse.events, &sse.final_events)),
            Source::Poll(poll) => {
                let request = (&poll.method, &poll.body);
                let change = (&poll.items, &poll.key, &poll.ignore, &poll.events);
                format!("poll {:?}", (request, poll.emit, change))
            }
        });
        let digest = Sha256::digest(format!("{:?}", (upstream, sharing, source)));
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What reads a bridged route's upstream.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A Server-Sent-Events stream.
    Sse(Sse),
    /// A polled endpoint.
    Poll(Poll),
}

/// `source = "sse"`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sse {
    /// Silence after which the stream counts as lost.
    pub idle_timeout: Duration,
    /// The upstream's name → the name that clients see.
    pub events: BTreeMap<String, String>,
    /// Names (the upstream's) that end the subscription for good.
    pub final_events: Vec<String>,
}

/// `source = {kind = "poll"}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Poll {
    /// From start to start.
    pub every: Duration,
    /// Bounds of the adaptive interval; `None` keeps it fixed.
    pub adaptive: Option<(Duration, Duration)>,
    /// Plus or minus this many percent.
    pub jitter: f64,
    /// GET or POST.
    pub method: Method,
    /// The request body with its content type.
    pub body: Option<(Bytes, HeaderValue)>,
    /// What clients receive.
    pub emit: Emit,
    /// JSON Pointer to the list inside the document (`changes`).
    pub items: String,
    /// JSON Pointer to the key inside an item (`changes`).
    pub key: String,
    /// JSON Pointers that don't count as change.
    pub ignore: Vec<String>,
    /// Names of the three kinds of change.
    pub events: ChangeNames,
    /// Percent of a list of ten or more whose loss needs a second poll.
    pub mass_delete_guard: f64,
    /// Largest answer, bytes.
    pub max_body: usize,
}

/// What a polled route emits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// The whole document at each change.
    Document,
    /// One event per item created, updated or deleted.
    Changes,
    /// An RFC 6902 array.
    JsonPatch,
    /// An RFC 7396 object.
    MergePatch,
}

/// Names of `changes` events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeNames {
    /// An item that was not there before.
    pub created: Arc<str>,
    /// An item that differs.
    pub updated: Arc<str>,
    /// An item that is gone.
    pub deleted: Arc<str>,
}

/// Among whom one upstream is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Share {
    /// Everybody; no client credential goes upstream.
    Public,
    /// Connections with the same credentials.
    User,
    /// Nobody.
    Connection,
}

/// A sign in an answer that it is not for everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tripwire {
    /// `Cache-Control: no-store`.
    NoStore,
    /// `Cache-Control: private`.
    Private,
    /// `Set-Cookie`.
    SetCookie,
    /// `Vary: Cookie`, `Authorization` or `*`.
    Vary,
}

/// The replay window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Events kept.
    pub events: usize,
    /// Age kept; a source lingers as long after its last subscriber.
    pub age: Duration,
    /// Bytes kept.
    pub bytes: usize,
}

/// What happens to a subscription that lags too far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// Close 4113.
    Close,
    /// Skip to the oldest kept, with one `gap`.
    Gap,
    /// Skip to the newest document.
    Latest,
}

/// Holds events back to write fewer, larger batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deliver {
    /// Between two deliveries.
    pub every: Duration,
    /// All of them, or the newest only.
    pub mode: DeliverMode,
    /// This many waiting events are not held back further.
    pub max: usize,
}

/// See [`Deliver::mode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliverMode {
    /// All that waited.
    Batch,
    /// The newest of each name.
    Latest,
}

/// Requests that clients of a route may make over their connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Allowed methods.
    pub methods: Vec<Method>,
    /// Allowed request headers.
    pub headers: Vec<HeaderName>,
    /// To the first byte of the answer.
    pub timeout: Duration,
    /// Largest request body, bytes.
    pub max_body: usize,
    /// Whether a `key` makes a request safe to repeat.
    pub idempotent: bool,
}

/// A write that triggers a poll: method and path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshOn {
    /// Of the write.
    pub method: Method,
    /// Path template; parameters with the route's own names must be equal.
    pub path: String,
}

/// `[cors.NAME]`, as far as the WebSocket handshake reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// NAME.
    pub name: String,
    /// Allowed origins.
    pub origins: Vec<OriginPattern>,
}

/// One allowed origin; scheme and host in lower case, the port always there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginPattern {
    /// `https://app.example.com`.
    Exact {
        /// `http` or `https`.
        scheme: String,
        /// Host as in a URL.
        host: String,
        /// Explicit, or the scheme's default.
        port: u16,
    },
    /// `https://*.example.com`: exactly one label before `suffix`.
    OneLabel {
        /// `http` or `https`.
        scheme: String,
        /// What follows the first label, with its leading dot.
        suffix: String,
        /// Explicit, or the scheme's default.
        port: u16,
    },
    /// `"*"`: everybody who sends no cookie.
    Any,
}

/// `[rollout.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// NAME.
    pub name: Arc<str>,
    /// Thousandths of a percent, 0 to 100,000.
    pub percent: u32,
    /// What a unit is.
    pub by: By,
    /// Mixed into the bucket.
    pub salt: String,
    /// Units that always get WebSocket.
    pub always: Vec<String>,
    /// Units that never do.
    pub never: Vec<String>,
    /// Testers' header and cookie name.
    pub header: Option<HeaderName>,
    /// The file's own kill switch.
    pub kill: bool,
    /// Window over which sessions leave.
    pub drain: Duration,
    /// The same for a kill.
    pub kill_drain: Duration,
    /// Whether clients may fall back by themselves.
    pub fallback: bool,
}

/// What a rollout's unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The user; the sticky cookie where none is known.
    User,
    /// The tenant.
    Tenant,
    /// The sticky cookie.
    Cookie,
    /// The client's address.
    Ip,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Least severity shown.
    pub level: tracing::Level,
    /// JSON lines instead of text.
    pub json: bool,
    /// One line per request and session.
    pub access: bool,
}
