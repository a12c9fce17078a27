use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::Method;
use hyper::header::HeaderName;
use sha2::{Digest, Sha256};

use super::auth::{self, Auth};
use super::calls::{self, Calls};
use super::cors::{self, Cors};
use super::delivery::{self, Deliver, DeliverMode, Replay, Slow};
use super::names::Names;
use super::parser::problem::Wrong;
use super::parser::table::Table;
use super::parser::{address, path_template, units};
use super::query;
use super::rate_limit::{self, RateLimit};
use super::refresh_on::{self, RefreshOn};
use super::require::{self, Require};
use super::rollout::{By, Rollout};
use super::sharing::{self, Share, Tripwire};
use super::source::{self, Emit, Source};
use super::upstream::{self, Upstream};
use super::wrap::{self, Wrap};

/// What frameworks disagree about in a path: whether it separates, and how often it is decoded.
pub(crate) const ENCODINGS: [&str; 5] = ["%2F", "%5C", "%25", "%3B", ";"];

/// `[[route]]`: paths, and what happens there. The most specific route decides, never file order: path first (static, then `{name}`, then `{*rest}`), then host, then a route with `methods`.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Its name in metrics and the admin API, unique. Default: the path (with methods and host where another route has the same path).
    pub(crate) name: Arc<str>,
    /// Place in the file, from 0 (`route.0`).
    pub(crate) index: usize,
    /// Path template: `{name}` is one non-empty segment, `{*rest}` is zero or more characters at the end. Required.
    pub(crate) path: String,
    /// `"app.example.com"`, or `"*.example.com"` for one label. Default: any.
    pub(crate) host: Option<String>,
    /// Methods that it takes; empty means all.
    pub(crate) methods: Vec<Method>,
    /// Which `[upstream.NAME]`. Required.
    pub(crate) upstream: Arc<Upstream>,
    /// What makes it a bridged route: how its upstream is read. Without one everything passes through untouched.
    pub(crate) source: Option<Source>,
    /// Which clients may share one upstream: `"public"` (no client credential goes upstream), `"user"` (the same user; without `auth` connections with the same credentials), `"connection"`, `"authenticated"` (all users that the route's `auth` admits, for a list each of its policies by itself; read with one present subscriber's credentials), or `{claims = ["tenantId"]}` (the users with the same values of these claims; needs `auth`, and a client that lacks one is refused). A claim is a member of the token or of the authority's answer, by name or by JSON Pointer; `user`, `tenant` and `roles`, where there are no such members, are what the policy's own keys name. `{public = true, accept = ["no-store", "private", "set-cookie", "vary"]}` silences signs in an answer that it is not for every client; `{authenticated = true}` and `{claims}` take `accept` likewise.
    pub(crate) share: Share,
    /// Tripwires silenced.
    pub(crate) accept: Vec<Tripwire>,
    /// Request headers that go upstream with the source; clients that differ in them share no topic.
    pub(crate) vary: Vec<HeaderName>,
    /// Query parameters that change nothing of the answer, such as `["_"]`, which jQuery adds: clients that differ only in them share a topic, and its source does not send them. Ordinary requests keep them.
    pub(crate) ignore_query: Vec<String>,
    /// Which `[auth.NAME]`, or a list of them: the first that finds a credential decides. Default: none, every client comes in.
    pub auth: Vec<Arc<Auth>>,
    /// Encodings that its paths may hold even where a backend that reads them otherwise would reach a route of other policies: of `["%2F", "%5C", "%25", "%3B", ";"]`. Such a request passes if it satisfies `auth`, `require` and `csrf` of every route that a reading of its path reaches. Default: none, such a path is 400; where all readings meet the same policies, every path passes.
    pub(crate) encoded: Vec<&'static str>,
    /// `[route.require]`.
    pub require: Option<Require>,
    /// Which `[cors.NAME]`. Default: `[cors.default]` where it exists.
    pub cors: Option<Arc<Cors>>,
    /// Which `[rate_limit.NAME]`. Default: `[rate_limit.default]` where it exists.
    pub rate_limit: Option<Arc<RateLimit>>,
    /// Which `[rollout.NAME]`. Default: on for every client.
    pub(crate) rollout: Option<Arc<Rollout>>,
    /// `[route.replay]`.
    pub(crate) replay: Replay,
    /// What happens to a subscription whose client is too slow: `"close"` (4113; it resumes by position), `"gap"` (skip to the oldest kept, and say so) or `"latest"` (skip to the newest document; elsewhere as `gap`).
    pub(crate) slow: Slow,
    /// `[route.deliver]`.
    pub(crate) deliver: Option<Deliver>,
    /// `[route.calls]`.
    pub(crate) calls: Option<Calls>,
    /// Fields that a client may filter by: `"event"` is the event's name, a bare word a top-level member of the data, `"/a/b"` a JSON Pointer.
    pub(crate) filter: Vec<String>,
    /// Writes through this sidecar that trigger the poll at once, such as `["PATCH /api/matters/{id}"]`; parameters with the route's own names must be equal.
    pub(crate) refresh_on: Vec<RefreshOn>,
    /// Socket.IO only: the member in which clients get an event's data, such as `"matters"` for `{"matters": …}`, or one for each event by its name as clients see it. Of `emit = "changes"` the member is a list. Default: the data as it is.
    pub(crate) wrap: Option<Wrap>,
    /// No key: what [`Route::reads`] has found.
    pub(crate) read: Memo<Arc<str>>,
    /// No key: what [`Route::filter_fields`] has found.
    pub(crate) fields: Memo<Arc<[Vec<String>]>>,
}

impl Route {
    /// The path and query that its source reads for a client's: the key of what clients share.
    pub(crate) fn read_url<'u>(&self, url: &'u str) -> Cow<'u, str> {
        query::without(url, &self.ignore_query)
    }

    /// A fingerprint of *what is read* upstream and how it is presented: servers, host, source, sharing.
    ///
    /// Two definitions with the same fingerprint may share a topic, so a reload keeps it. Pace
    /// (`every`, `jitter`, timeouts), limits (`replay`, `slow`, `deliver`, `max_body`,
    /// `mass_delete_guard`) and policies (`cors`, `auth`, `require`, `rate_limit`, `rollout`, `calls`) are no part of it. It is a
    /// digest because a poll's body may hold a secret.
    pub(crate) fn reads(&self) -> Arc<str> {
        self.read.get_or(|| self.fingerprint().into())
    }

    /// The tokens of the JSON Pointers that [`Route::filter`] names: one list for all its clients. A bare word is one token.
    pub(crate) fn filter_fields(&self) -> Arc<[Vec<String>]> {
        let tokens = |name: &String| match name.starts_with('/') {
            true => crate::json::tokens(name),
            false => vec![name.clone()],
        };
        self.fields
            .get_or(|| self.filter.iter().map(tokens).collect())
    }

    fn fingerprint(&self) -> String {
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
        units::hex(&Sha256::digest(format!(
            "{:?}",
            (upstream, sharing, source)
        )))
    }
}

pub(super) fn read(table: &Table<'_>, index: usize, names: &Names<'_>) -> Option<Route> {
    table.ignore_later(["hint"]);
    let path = table.required("path", "\"/api/{id}\"", path_template::template);
    let name = table.text_or(
        "name",
        path.as_deref().unwrap_or_default(),
        units::something,
    );
    table.demand("upstream", "\"app\"");
    let upstream = table.reference("upstream", "upstream", names.upstreams);
    let (share, accept) = sharing::read(table);
    let vary = sharing::vary(table, &share);
    let (methods, are_methods) = (table.desk).judged(|| table.texts("methods", units::method));
    let route = Route {
        name: name.into(),
        index,
        path: path.clone().unwrap_or_default(),
        host: table.text("host", host),
        methods,
        source: source::read(table),
        share,
        accept,
        vary,
        ignore_query: table.texts("ignore_query", parameter),
        auth: table.references("auth", "auth", names.auths),
        encoded: table.texts("encoded", encoding),
        require: require::read(table),
        cors: cors::of(table, names.cors),
        rate_limit: rate_limit::of(table, names.rate_limits, table.says("auth")),
        rollout: table.reference("rollout", "rollout", names.rollouts),
        replay: table.table("replay", delivery::replay),
        slow: delivery::slow(table),
        deliver: table.optional_table("deliver", delivery::deliver),
        calls: calls::read(table),
        filter: table.texts("filter", units::member),
        refresh_on: table.texts("refresh_on", refresh_on::read),
        wrap: wrap::read(table),
        upstream: upstream
            .clone()
            .unwrap_or_else(|| upstream::stand_in(table)),
        read: Memo::default(),
        fields: Memo::default(),
    };
    if table.says("source") && are_methods {
        judge_methods(table, &route.methods);
    }
    judge_source(table, &route);
    judge_replay(table, &route);
    judge_tenants(table, &route);
    refuse_claimed(table, &route, names.auths);
    // All of it is judged, whatever else is missing.
    path.and(upstream).map(|_| route)
}

/// A bridged route is reached by GET.
fn judge_methods(table: &Table<'_>, methods: &[Method]) {
    if !methods.is_empty() && !methods.contains(&Method::GET) {
        let what = "lacks GET, by which a bridged route is reached";
        table.error("methods", what, "add \"GET\", or leave `methods` out");
    }
}

/// What a route says against what reads it.
fn judge_source(table: &Table<'_>, route: &Route) {
    if !table.says("source") {
        let bridged_only = [
            "share",
            "vary",
            "ignore_query",
            "rollout",
            "replay",
            "slow",
            "deliver",
            "filter",
            "refresh_on",
        ];
        for key in bridged_only.into_iter().filter(|key| table.says(key)) {
            let fix = "give the route a `source`, or remove it";
            table.warning(key, "has no effect on a route without `source`", fix);
        }
    }
    let Some(source) = &route.source else {
        return;
    };
    if !route.refresh_on.is_empty() && !matches!(source, Source::Poll(_)) {
        let what = "triggers polls, and this route has none";
        table.error(
            "refresh_on",
            what,
            "remove it, or write `source = {kind = \"poll\"}`",
        );
    }
    let is_latest = route
        .deliver
        .is_some_and(|deliver| deliver.mode == DeliverMode::Latest);
    let loses = match source {
        Source::Poll(poll) => poll.emit != Emit::Document,
        Source::Sse(_) => false,
    };
    if is_latest && loses {
        let what = "has the mode \"latest\", which would lose changes: each of them is needed";
        table.error(
            "deliver",
            what,
            "write `mode = \"batch\"`, or `emit = \"document\"`",
        );
    }
}

/// A client sent back to the legacy transport returns with a position that the window must still hold.
fn judge_replay(table: &Table<'_>, route: &Route) {
    const SPARE: Duration = Duration::from_secs(10);
    let Some(rollout) = route.rollout.as_ref().filter(|_| route.source.is_some()) else {
        return;
    };
    if route.replay.age < rollout.drain + SPARE {
        let key = match table.says("replay.age") {
            true => "replay.age",
            false => "rollout",
        };
        let what = "leaves less `replay.age` than the rollout's `drain` and 10 s: clients sent back to the legacy transport may miss events";
        table.warning(key, what, "raise `replay.age`, or lower that `drain`");
    }
}

/// A rollout by tenants needs users with a tenant.
fn judge_tenants(table: &Table<'_>, route: &Route) {
    let by_tenant = |rollout: &Arc<Rollout>| rollout.by == By::Tenant;
    if !route.rollout.as_ref().is_some_and(by_tenant) {
        return;
    }
    if !table.says("auth") {
        let what = "goes by tenants, and no client has one without `auth`: all would be refused";
        let fix = "write `auth = \"NAME\"` beside it, or let the rollout go by \"user\", \"cookie\" or \"ip\"";
        table.error("rollout", what, fix);
    }
    for auth in route.auth.iter().filter(|auth| !auth.knows_tenants()) {
        let name = &auth.name;
        let what =
            format!("goes by tenants, and `[auth.{name}]` tells none: its users are refused");
        let fix = format!(
            "say in `[auth.{name}]` where the tenant stands, or let the rollout go by \"user\""
        );
        table.warning("rollout", what, fix);
    }
}

/// Headers that name users to the backend are not for clients to set.
fn refuse_claimed(table: &Table<'_>, route: &Route, auths: &BTreeMap<String, Arc<Auth>>) {
    let calls = route.calls.as_ref();
    let lists = [
        ("vary", route.vary.as_slice()),
        ("calls.headers", calls.map_or(&[], |calls| &calls.headers)),
    ];
    for (key, names) in lists {
        for name in names {
            if let Some(auth) = auth::owner(auths, name) {
                let what = format!(
                    "names {name}, by which `[auth.{}]` names users to the backend",
                    auth.name
                );
                table.error(key, what, "remove it: clients cannot send it");
            }
        }
    }
}

/// One of [`ENCODINGS`].
fn encoding(text: &str) -> Result<&'static str, Wrong> {
    let known = ENCODINGS
        .iter()
        .find(|known| known.eq_ignore_ascii_case(text));
    known.copied().ok_or_else(|| {
        Wrong::new(
            "is no encoding that a path could be read by in two ways",
            "write some of \"%2F\", \"%5C\", \"%25\", \"%3B\" and \";\"",
        )
    })
}

/// A parameter's name as a backend sees it.
fn parameter(text: &str) -> Result<String, Wrong> {
    let fix = "write the bare name, decoded, such as \"_\"";
    match text {
        "" => Err(Wrong::new("is empty", fix)),
        "*" => Err(Wrong::new(
            "is no pattern: it would be the name itself",
            fix,
        )),
        _ if text.contains(['=', '&', '?', '#']) => Err(Wrong::new("is no name alone", fix)),
        _ => Ok(text.to_owned()),
    }
}

/// A lower-case name, or `*.` and a name.
pub(super) fn host(text: &str) -> Result<String, Wrong> {
    let lower = text.to_ascii_lowercase();
    let bare = lower.strip_prefix("*.").unwrap_or(&lower);
    match address::is_host_name(bare) {
        true => Ok(lower),
        false => Err(Wrong::new(
            "is no host",
            "write a bare name such as \"app.example.com\" or \"*.example.com\", without scheme and port",
        )),
    }
}

/// What is found out of a value once, and kept beside it. It is no part of the value: all are equal, and a copy of the value, which may be changed, starts anew.
#[derive(Debug)]
pub(crate) struct Memo<T>(OnceLock<T>);

impl<T: Clone> Memo<T> {
    /// What was found, or what `find` finds now.
    pub(crate) fn get_or(&self, find: impl FnOnce() -> T) -> T {
        self.0.get_or_init(find).clone()
    }
}

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Memo(OnceLock::new())
    }
}

impl<T> Clone for Memo<T> {
    fn clone(&self) -> Self {
        Memo::default()
    }
}

impl<T> PartialEq for Memo<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_is_found_once_and_a_copy_finds_it_anew() {
        let memo = Memo::default();
        assert_eq!(memo.get_or(|| 1), 1);
        assert_eq!(memo.get_or(|| 2), 1);
        assert_eq!(memo.clone().get_or(|| 3), 3);
        assert!(memo == Memo::default());
    }
}
