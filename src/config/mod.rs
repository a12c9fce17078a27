//! The configuration as finished values: what got past [`parse`] is valid.
//!
//! Each page holds a table of `proxy.toml`: its finished type, whose comments are the reference
//! that `docs/configuration.md` is made of, and its reader. A reader asks for every key by name
//! and goes on after a mistake, so that all problems are reported at once.
//!
//! `parser::placeholder` → `parser::tree` (the file with places) → `parser::table`, `typed_keys`, `scalar` (asking it) → the
//! pages; `parser::diagnostics` collects problems and values on the way.

mod admin;
mod auth;
mod calls;
mod cors;
mod delivery;
mod header_spelling;
mod load_balancing;
mod log;
mod metrics;
mod names;
mod parser;
mod path_shape;
pub(crate) mod query;
mod rate_limit;
mod refresh_on;
mod require;
mod rollout;
mod route;
mod route_choice;
mod route_conflicts;
mod server;
mod sharing;
mod socketio;
mod source;
mod tls;
mod tracing;
mod unused_keys;
mod upstream;
mod upstream_loop;
mod upstream_tls;
mod websocket;
mod wrap;

#[cfg(test)]
mod docs;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use hyper::header::HeaderName;
use sha2::{Digest, Sha256};

pub(crate) use admin::Admin;
#[cfg(test)]
pub(crate) use auth::PublicKey;
pub(crate) use auth::{ApiKey, Csrf};
pub use auth::{Auth, AuthKind, CredentialSource, Forward, IdentityHeaders, Jwt, KeySource};
pub(crate) use calls::Calls;
pub use cors::{Cors, CorsMode, OriginPattern};
pub(crate) use delivery::{DeliverMode, Replay, Slow};
pub(crate) use load_balancing::{Balance, Budget, HashKey, Health};
pub(crate) use log::Log;
pub(crate) use metrics::Metrics;
pub(crate) use parser::problem::{Problem, Severity};
pub use parser::secret::Secret;
pub(crate) use parser::value::ConfigValue;
pub(crate) use path_shape::{Part, Shape};
pub use rate_limit::Rate;
pub(crate) use rate_limit::{LimitBy, RateLimit};
#[cfg(test)]
pub(crate) use refresh_on::RefreshOn;
pub(crate) use require::Require;
pub(crate) use rollout::{By, Rollout};
pub(crate) use route::ENCODINGS;
pub use route::Route;
#[cfg(test)]
pub(crate) use route_choice::most_specific;
pub use server::Underscores;
pub(crate) use server::{Limits, Listen, ProxyProtocol, RESPONSE_HEADERS, Server};
pub(crate) use sharing::{Share, Tripwire};
pub(crate) use socketio::{Legacy, Namespace, Rule, RuleAction, SocketIo};
pub use source::{ChangeNames, Emit, Poll};
pub(crate) use source::{Join, Source, Sse};
pub(crate) use tls::Tls;
pub(crate) use tracing::{Collector, Tracing};
pub use upstream::Upstream;
pub(crate) use upstream::{Authority, ConnectionAuth};
pub(crate) use upstream_tls::Trust;
pub(crate) use websocket::{Queue, WebSocket};

use names::Names;
use parser::diagnostics::{Diagnostics, Notes};
use parser::placeholder::Env;
use parser::table::Table;
use parser::units;
use route_conflicts::Placed;
use socketio::ReachableRoutes;

/// Everything one file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[server]`.
    pub(crate) server: Server,
    /// `[websocket]`.
    pub(crate) websocket: WebSocket,
    /// `[admin]`.
    pub(crate) admin: Admin,
    /// `[upstream.NAME]`.
    pub upstreams: BTreeMap<String, Arc<Upstream>>,
    /// `[socketio]`; `None` where the file has none.
    pub(crate) socketio: Option<Arc<SocketIo>>,
    /// `[[route]]`, in file order.
    pub routes: Vec<Arc<Route>>,
    /// `[cors.NAME]`.
    pub(crate) cors: BTreeMap<String, Arc<Cors>>,
    /// `[auth.NAME]`.
    pub(crate) auths: BTreeMap<String, Arc<Auth>>,
    /// `[rate_limit.NAME]`.
    pub rate_limits: BTreeMap<String, Arc<RateLimit>>,
    /// Names of every `identity`: only this sidecar sends them upstream.
    pub(crate) identity_headers: Vec<HeaderName>,
    /// How the file spells the names of fields that go upstream, where it names them: each once.
    pub(crate) spelled: Vec<(HeaderName, String)>,
    /// `[rollout.NAME]`.
    pub(crate) rollouts: BTreeMap<String, Arc<Rollout>>,
    /// `[log]`.
    pub(crate) log: Log,
    /// `[metrics]`.
    pub(crate) metrics: Metrics,
    /// `[tracing]`.
    pub(crate) tracing: Tracing,
}

/// A valid file and what is to be known about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The finished values.
    pub config: Config,
    /// What refuses nothing.
    pub(crate) warnings: Vec<Problem>,
    /// Every key with its value and where it came from.
    pub(crate) values: Vec<ConfigValue>,
    /// The file's text, secrets as `***`.
    pub(crate) text: String,
    /// SHA-256 of the file's own text, hexadecimal.
    pub(crate) sha256: String,
}

/// Judges a text; the environment and files that placeholders name are asked through `env` and `read`.
///
/// # Errors
/// Every problem at once, in the order of the file.
pub fn parse(
    text: &str,
    file: &str,
    env: &dyn Fn(&str) -> Option<String>,
    read: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Loaded, Vec<Problem>> {
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    let desk = Diagnostics::new(file, text, Env { env, read, folder });
    let root = parser::tree::grow(&desk);
    let config = Table::read(&desk, &root, everything);
    let Notes {
        mut problems,
        values,
        secrets,
        ..
    } = desk.clear();
    problems.sort_by_key(|problem| (problem.line, problem.column));
    let is_refused = problems.iter().any(|p| p.severity == Severity::Error);
    let Some(config) = config.filter(|_| !is_refused) else {
        return Err(problems);
    };
    Ok(Loaded {
        config,
        warnings: problems,
        values,
        text: mask(text, secrets),
        sha256: units::hex(&Sha256::digest(text)),
    })
}

/// What `check --json` prints: `{"ok":…,"problems":[…]}`.
pub(crate) fn report(outcome: &Result<Loaded, Vec<Problem>>) -> serde_json::Value {
    let problems = match outcome {
        Ok(loaded) => &loaded.warnings,
        Err(problems) => problems,
    };
    serde_json::json!({ "ok": outcome.is_ok(), "problems": problems })
}

impl Config {
    /// Keys whose change needs a restart, among those that `new` changes.
    pub(crate) fn restart_keys_changed(&self, new: &Config) -> Vec<String> {
        let (a, b) = (&self.server, &new.server);
        let changed = [
            ("server.listen", a.listen != b.listen),
            ("server.prefix", a.prefix != b.prefix),
            ("server.workers", a.workers != b.workers),
            ("server.state_dir", a.state_dir != b.state_dir),
            ("server.tls", a.tls.is_some() != b.tls.is_some()),
            ("admin.listen", self.admin.listen != new.admin.listen),
        ];
        let named = changed.into_iter().filter(|(_, is_changed)| *is_changed);
        named.map(|(key, _)| key.to_owned()).collect()
    }
}

fn everything(root: &Table<'_>) -> Config {
    root.refuse_later(["sockjs"], "other clients' protocols");
    root.refuse_later(["redis"], "a fleet of sidecars");
    root.refuse_later(["publish"], "publishing by HTTP");
    let server = root.table("server", server::read);
    let cors = root.named("cors", cors::read);
    let upstreams = root.named("upstream", upstream::read);
    let auths = root.named("auth", |table, name| auth::read(table, name, &upstreams));
    let rate_limits = root.named("rate_limit", rate_limit::read);
    let rollouts = root.named("rollout", rollout::read);
    let names = Names {
        upstreams: &upstreams,
        cors: &cors,
        auths: &auths,
        rate_limits: &rate_limits,
        rollouts: &rollouts,
    };
    let routes = root.tables("route", |table, index| {
        Some(Placed::read(table, index, &names))
    });
    let written = routes.len();
    let routes = route_conflicts::settle(root.desk, &server.prefix, routes);
    let websocket = root.table("websocket", |table| websocket::read(table, &names));
    let socketio = root.optional_table("socketio", |table| {
        let routes = ReachableRoutes {
            routes: &routes,
            are_all_known: routes.len() == written && root.desk.is_whole(),
        };
        socketio::read(table, &names, &server.prefix, routes)
    });
    auth::refuse_stripped(root, &auths, &rollouts);
    unused_keys::judge(root, &websocket, &names);
    let admin = root.table("admin", |table| admin::read(table, &server.listen));
    let metrics = root.table("metrics", metrics::read);
    upstream_loop::judge(root, &server, &admin, &metrics);
    Config {
        websocket,
        admin,
        log: root.table("log", log::read),
        metrics,
        tracing: root.table("tracing", tracing::read),
        server,
        socketio,
        upstreams,
        routes,
        cors,
        identity_headers: auth::identity_headers(&auths),
        spelled: header_spelling::names(root.desk),
        auths,
        rate_limits,
        rollouts,
    }
}

/// The text with literal secrets as `***`, also where the whole setting is commented out.
fn mask(text: &str, mut secrets: Vec<std::ops::Range<usize>>) -> String {
    secrets.sort_by_key(|span| span.start);
    let (mut masked, mut at) = (String::new(), 0);
    for span in secrets {
        masked.push_str(text.get(at..span.start).unwrap_or_default());
        masked.push_str("\"***\"");
        at = span.end;
    }
    masked.push_str(text.get(at..).unwrap_or_default());
    masked.split_inclusive('\n').map(mask_comment).collect()
}

fn mask_comment(line: &str) -> String {
    let setting = line
        .trim_start()
        .strip_prefix('#')
        .and_then(|rest| rest.split_once('='));
    match (setting, line.split_once('=')) {
        (Some((key, _)), Some((before, _))) if is_secret(key) => {
            let end = if line.ends_with('\n') { "\n" } else { "" };
            format!("{before}= \"***\"{end}")
        }
        _ => line.to_owned(),
    }
}

/// By its last word: `secret`, `auth.jwt.secret`.
fn is_secret(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or_default().trim();
    matches!(last, "secret" | "token")
}
