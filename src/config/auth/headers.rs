use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::header::HeaderName;

use super::{Auth, AuthKind};
use crate::config::parser::problem::Wrong;
use crate::config::parser::table::Table;
use crate::config::parser::units;
use crate::config::rollout::Rollout;

/// `csrf`: what every method but GET, HEAD and OPTIONS (a `req` too) needs besides where the user is known by
/// a cookie: the cookie's value once more, in a header, which no foreign page can set (double submit). Else
/// it is answered with 403.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csrf {
    /// The header that has to repeat the cookie's value, such as `"X-CSRFToken"`. Required.
    pub(crate) header: HeaderName,
    /// The cookie that the backend or the page sets, such as `"csrftoken"`. Required.
    pub(crate) cookie: String,
}

/// `identity`: headers that name the user to the backend. Clients cannot send them: these names, of any
/// `[auth.NAME]`, are stripped from what comes in on every route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// The user, such as `"X-User"`. Default: not sent.
    pub(crate) user: Option<HeaderName>,
    /// The tenant, such as `"X-Tenant"`. Default: not sent.
    pub(crate) tenant: Option<HeaderName>,
    /// The roles, separated by commas, such as `"X-Roles"`. Default: not sent.
    pub(crate) roles: Option<HeaderName>,
}

impl IdentityHeaders {
    /// Those that are named.
    pub(crate) fn names(&self) -> impl Iterator<Item = &HeaderName> {
        [&self.user, &self.tenant, &self.roles]
            .into_iter()
            .flatten()
    }
}

pub(super) fn csrf(table: &Table<'_>) -> Option<Csrf> {
    let header = table.required("header", "\"X-CSRFToken\"", free_header);
    let cookie = table.required("cookie", "\"csrftoken\"", units::cookie_name);
    Some(Csrf {
        header: header?,
        cookie: cookie?,
    })
}

pub(super) fn identity(table: &Table<'_>) -> IdentityHeaders {
    let identity = IdentityHeaders {
        user: table.text("user", identity_header),
        tenant: table.text("tenant", identity_header),
        roles: table.text("roles", identity_header),
    };
    let names: Vec<_> = identity.names().collect();
    let is_twice = |name| names.iter().filter(|other| **other == name).count() > 1;
    if names.iter().any(|name| is_twice(*name)) {
        let what = "names one header twice: the backend could not tell which is which";
        table
            .desk
            .error(table.place, &table.key, what, "give each its own");
    }
    identity
}

/// Names of every `identity`, each once.
pub(crate) fn all(auths: &BTreeMap<String, Arc<Auth>>) -> Vec<HeaderName> {
    let mut names: Vec<HeaderName> = Vec::new();
    for name in auths.values().flat_map(|auth| auth.identity.names()) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// The `[auth.NAME]` that names users to the backend in this header, or in one that backends take for the same.
pub(crate) fn owner<'a>(
    auths: &'a BTreeMap<String, Arc<Auth>>,
    name: &HeaderName,
) -> Option<&'a Auth> {
    let is_it = |identity: &HeaderName| fold(identity) == fold(name);
    let mut auths = auths.values();
    let found = auths.find(|auth| auth.identity.names().any(is_it));
    found.map(|auth| &**auth)
}

/// What an `identity` names is stripped from clients: nothing else can be read from it.
pub(crate) fn refuse_stripped(
    root: &Table<'_>,
    auths: &BTreeMap<String, Arc<Auth>>,
    rollouts: &BTreeMap<String, Arc<Rollout>>,
) {
    let mut read = Vec::new();
    for (name, auth) in auths {
        let csrf = auth.csrf.iter().map(|csrf| &csrf.header);
        read.extend(csrf.map(|header| (format!("auth.{name}.csrf.header"), header)));
        if let AuthKind::Forward(forward) = &auth.kind {
            let key = || format!("auth.{name}.headers");
            read.extend(forward.headers.iter().map(|header| (key(), header)));
        }
    }
    for (name, rollout) in rollouts {
        let header = rollout.header.iter();
        read.extend(header.map(|header| (format!("rollout.{name}.header"), header)));
    }
    for (key, header) in read {
        if let Some(auth) = owner(auths, header) {
            let what = format!(
                "reads {header}, which `[auth.{}]` strips from what clients send: it is in `identity`",
                auth.name
            );
            root.error(&key, what, "give one of them another name");
        }
    }
}

/// Backends fold other bytes into `-`, or into `_`: then two names would be one.
fn identity_header(text: &str) -> Result<HeaderName, Wrong> {
    let name = free_header(text)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    match name.as_str().bytes().all(is_plain) {
        true => Ok(name),
        false => Err(Wrong::new(
            "holds a byte that backends fold into another",
            "use letters, digits and `-`, such as \"X-User\"",
        )),
    }
}

/// One that means nothing to HTTP, to browsers or to crossfade.
fn free_header(text: &str) -> Result<HeaderName, Wrong> {
    let name = units::header_name(text)?;
    let taken = [
        "authorization",
        "cache-control",
        "content-encoding",
        "content-type",
        "cookie",
        "date",
        "if-match",
        "if-range",
        "if-unmodified-since",
        "idempotency-key",
        "origin",
        "proxy-authorization",
        "range",
        "referer",
        "set-cookie",
        "traceparent",
        "tracestate",
        "user-agent",
        "via",
        "x-api-key",
    ];
    let families = ["access-control-", "crossfade-", "sec-"];
    let is_taken = taken.contains(&name.as_str())
        || families
            .iter()
            .any(|family| name.as_str().starts_with(family))
        || units::is_of_the_sidecar(&name);
    match is_taken {
        true => Err(Wrong::new(
            "has a meaning already",
            "write a name of your own such as \"X-User\"",
        )),
        false => Ok(name),
    }
}

/// What a backend takes for the same header: `X_User` reaches a CGI-like one as `X-User` does.
fn fold(name: &HeaderName) -> String {
    name.as_str().replace(['_', '.'], "-")
}
