//! `[auth.NAME]`: how it is found out who somebody is.

mod api_key;
mod forward;
mod jwt;
mod public_key;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderName;

pub use api_key::ApiKey;
pub use forward::Forward;
pub use jwt::{Jwt, KeySource};
pub use public_key::PublicKey;

use super::problem::Wrong;
use super::table::Table;
use super::units;
use super::upstream::Upstream;

/// `[auth.NAME]`: how it is found out who somebody is, before anything of theirs goes upstream. Routes and `[websocket]` name it by `auth`.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// NAME.
    pub name: Arc<str>,
    /// Who vouches: `"jwt"` (the signature of a token), `"forward"` (the backend, asked by a request of crossfade's own) or `"api_key"` (the file, which lists the keys). Each has keys of its own, below. Required.
    pub kind: AuthKind,
    /// Where a credential is looked for, in this order; the first place that holds one decides: `"header"` (`Authorization: Bearer`; of API keys also `X-Api-Key`), `"cookie:NAME"`, `"subprotocol"` (the `cf.bearer.` item of a handshake), `"message"` (`hello` and its like), `"query:NAME"` (a parameter; it never goes upstream, and is warned of, since URLs end up in logs), `"ticket"` (a one-time `?ticket=` of a handshake). The cookies of `kind = "forward"` are named by its `cookies`.
    pub from: Vec<CredentialSource>,
    /// `[auth.NAME.csrf]`.
    pub csrf: Option<Csrf>,
    /// `[auth.NAME.identity]`.
    pub identity: IdentityHeaders,
}

/// Who vouches for somebody.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthKind {
    /// The signature of a token.
    Jwt(Jwt),
    /// The backend, asked by a request of our own.
    Forward(Forward),
    /// The file: keys by their id.
    ApiKey(Vec<ApiKey>),
}

/// A place of a request that may hold a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// `Authorization: Bearer`; of API keys also `X-Api-Key`.
    Header,
    /// This cookie.
    Cookie(String),
    /// The `cf.bearer.` item of `Sec-WebSocket-Protocol`.
    Subprotocol,
    /// `hello` and its like.
    Message,
    /// This query parameter; it never goes upstream.
    Query(String),
    /// `?ticket=` of a handshake.
    Ticket,
}

/// `csrf`: what a POST, PUT, PATCH or DELETE (a `req` too) has to bring besides where a cookie tells who sends it: the cookie's value once more, in a header, which no foreign page can set (double submit). Else it is answered with 403.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csrf {
    /// The header that has to repeat the cookie's value, such as `"X-CSRFToken"`. Required.
    pub header: HeaderName,
    /// The cookie that the backend or the page sets, such as `"csrftoken"`. Required.
    pub cookie: String,
}

/// `identity`: headers that tell the backend who somebody is. Clients cannot send them: these names, of any `[auth.NAME]`, are stripped from what comes in on every route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// The user, such as `"X-User"`. Default: not told.
    pub user: Option<HeaderName>,
    /// The tenant, such as `"X-Tenant"`. Default: not told.
    pub tenant: Option<HeaderName>,
    /// The roles, separated by commas, such as `"X-Roles"`. Default: not told.
    pub roles: Option<HeaderName>,
}

impl IdentityHeaders {
    /// Those that are named.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        [&self.user, &self.tenant, &self.roles]
            .into_iter()
            .flatten()
    }
}

/// Where an authority's word names somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// The user.
    pub user: &'a str,
    /// The tenant.
    pub tenant: &'a str,
    /// The roles.
    pub roles: &'a str,
}

impl Auth {
    /// The claims that become user, tenant and roles.
    pub fn mapping(&self) -> Mapping<'_> {
        match &self.kind {
            AuthKind::Jwt(jwt) => Mapping {
                user: &jwt.user,
                tenant: &jwt.tenant,
                roles: &jwt.roles,
            },
            AuthKind::Forward(forward) => Mapping {
                user: &forward.user,
                tenant: forward.tenant.as_deref().unwrap_or_default(),
                roles: forward.roles.as_deref().unwrap_or_default(),
            },
            AuthKind::ApiKey(_) => Mapping {
                user: "sub",
                tenant: "tenant",
                roles: "roles",
            },
        }
    }

    /// How often live connections are checked again; `None` where a token says how long it holds.
    pub fn recheck(&self) -> Option<Duration> {
        match &self.kind {
            AuthKind::Forward(forward) => Some(forward.recheck),
            AuthKind::Jwt(_) | AuthKind::ApiKey(_) => None,
        }
    }

    fn reads_cookies(&self) -> bool {
        let is_cookie = |source: &CredentialSource| matches!(source, CredentialSource::Cookie(_));
        let asks_with_cookies = match &self.kind {
            AuthKind::Forward(forward) => forward.cookies.as_ref().is_none_or(|c| !c.is_empty()),
            AuthKind::Jwt(_) | AuthKind::ApiKey(_) => false,
        };
        asks_with_cookies || self.from.iter().any(is_cookie)
    }

    /// Whether it can tell somebody's tenant.
    pub(super) fn knows_tenants(&self) -> bool {
        match &self.kind {
            AuthKind::Forward(forward) => forward.tenant.is_some(),
            AuthKind::ApiKey(keys) => keys.iter().any(|key| key.tenant.is_some()),
            AuthKind::Jwt(_) => true,
        }
    }
}

/// One that is broken is reported and read all the same, so that those who name it are no problems too.
pub(super) fn read(
    table: &Table<'_>,
    name: &str,
    upstreams: &BTreeMap<String, Arc<Upstream>>,
) -> Arc<Auth> {
    let kinds = [
        ("jwt", Kind::Jwt),
        ("forward", Kind::Forward),
        ("api_key", Kind::ApiKey),
    ];
    let kind = table.required("kind", "\"jwt\"", |text| units::word(text, &kinds));
    match kind {
        Some(kind) => refuse_others(table, kind),
        None => table.leave_unread(),
    }
    let by_kind = match kind {
        Some(Kind::Jwt) => Some(AuthKind::Jwt(jwt::read(table))),
        Some(Kind::Forward) => forward::read(table, upstreams).map(AuthKind::Forward),
        Some(Kind::ApiKey) => Some(AuthKind::ApiKey(api_key::read(table).all())),
        None => None,
    };
    let from = from(table, kind == Some(Kind::Forward));
    let auth = Auth {
        name: name.into(),
        csrf: table.optional_table("csrf", csrf).flatten(),
        identity: table.table("identity", identity),
        kind: by_kind.unwrap_or(AuthKind::ApiKey(Vec::new())),
        from,
    };
    if auth.csrf.is_some() && !auth.reads_cookies() {
        let what = "has no effect: no cookie tells who somebody is";
        table.warning(
            "csrf",
            what,
            "write \"cookie:NAME\" in `from`, or remove it",
        );
    }
    Arc::new(auth)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Jwt,
    Forward,
    ApiKey,
}

fn refuse_others(table: &Table<'_>, kind: Kind) {
    let mend = "remove it, or write that kind";
    if kind != Kind::Jwt {
        let keys = [
            "issuer",
            "audience",
            "algorithms",
            "secret",
            "public_key",
            "jwks_url",
            "leeway",
            "claims",
        ];
        table.refuse_elsewhere(keys, "belongs to `kind = \"jwt\"`", mend);
    }
    if kind != Kind::Forward {
        let keys = [
            "upstream",
            "path",
            "cookies",
            "headers",
            "cache",
            "recheck",
            "stale_if_error",
        ];
        let what = "belongs to `kind = \"forward\"`";
        table.refuse_elsewhere(keys, what, mend);
        let mend = match kind {
            Kind::Jwt => "write it in `claims`, such as `claims = {user = \"sub\"}`",
            _ => "write it in the key's line, such as `user=NAME`",
        };
        table.refuse_elsewhere(["user", "tenant", "roles"], what, mend);
    }
    if kind != Kind::ApiKey {
        table.refuse_elsewhere(["keys", "file"], "belongs to `kind = \"api_key\"`", mend);
    }
}

fn from(table: &Table<'_>, is_forward: bool) -> Vec<CredentialSource> {
    let default = ["header", "subprotocol", "message"];
    let from = table.texts_or("from", &default, |text| place(text, is_forward));
    table.refuse_empty("from", "\"header\"");
    for source in &from {
        if let CredentialSource::Query(name) = source {
            let what = format!(
                "takes a credential from `?{name}=`: URLs end up in histories, and in the logs of others"
            );
            let mend =
                "write \"ticket\" or \"subprotocol\" for handshakes, \"header\" for requests";
            table.warning("from", what, mend);
        }
    }
    from
}

fn place(text: &str, is_forward: bool) -> Result<CredentialSource, Wrong> {
    const OWN: [&str; 4] = ["ticket", "cf_after", "cf_last_event_id", "cf_wrap"];
    let words = [
        ("header", CredentialSource::Header),
        ("subprotocol", CredentialSource::Subprotocol),
        ("message", CredentialSource::Message),
        ("ticket", CredentialSource::Ticket),
    ];
    match text.split_once(':') {
        Some(("cookie", _)) if is_forward => Err(Wrong::new(
            "has no place here: an authority is asked with the cookies themselves",
            "name it in `cookies`",
        )),
        Some(("cookie", name)) => units::cookie_name(name).map(CredentialSource::Cookie),
        Some(("query", name)) if OWN.contains(&name) => Err(Wrong::new(
            "is a parameter of crossfade itself",
            "choose another name",
        )),
        Some(("query", name)) if units::is_token(name) => {
            Ok(CredentialSource::Query(name.to_owned()))
        }
        None if text == "cookie" || text == "query" => {
            let mend = format!("name it: \"{text}:NAME\"");
            Err(Wrong::new("wants a name", mend))
        }
        None => units::word(text, &words),
        Some(_) => Err(Wrong::new(
            "is no place of a credential",
            "write one of \"header\", \"cookie:NAME\", \"subprotocol\", \"message\", \"query:NAME\", \"ticket\"",
        )),
    }
}

fn csrf(table: &Table<'_>) -> Option<Csrf> {
    let header = table.required("header", "\"X-CSRFToken\"", free_header);
    let cookie = table.required("cookie", "\"csrftoken\"", units::cookie_name);
    Some(Csrf {
        header: header?,
        cookie: cookie?,
    })
}

fn identity(table: &Table<'_>) -> IdentityHeaders {
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
pub(super) fn fold(name: &HeaderName) -> String {
    name.as_str().replace(['_', '.'], "-")
}
