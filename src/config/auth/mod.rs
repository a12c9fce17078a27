//! `[auth.NAME]`: how a client's user is verified.

mod api_key;
mod forward;
mod headers;
mod jwt;
mod place;
mod public_key;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use api_key::ApiKey;
pub use forward::Forward;
pub(crate) use headers::Csrf;
pub use headers::IdentityHeaders;
pub use jwt::{Jwt, KeySource};
pub use place::CredentialSource;
pub(crate) use public_key::PublicKey;

pub(super) use headers::{all as identity_headers, owner, refuse_stripped};

use super::parser::table::Table;
use super::parser::units;
use super::upstream::Upstream;

/// `[auth.NAME]`: how a client's user is verified, before any of its requests goes upstream. Routes and
/// `[websocket]` name it by `auth`.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// NAME.
    pub name: Arc<str>,
    /// What verifies a user: `"jwt"` (the signature of a token), `"forward"` (the backend, asked by a
    /// request of crossfade's own) or `"api_key"` (the file, which lists the keys). Each has keys of its own,
    /// below. Required.
    pub kind: AuthKind,
    /// Where a credential is looked for, in this order; the first place that holds one decides: `"header"` (`Authorization: Bearer`; of API keys also `X-Api-Key`), `"cookie:NAME"`, `"subprotocol"` (the `cf.bearer.` item of a handshake), `"message"` (`hello` and its like), `"query:NAME"` (a parameter; it never goes upstream, and is warned of, since URLs end up in logs), `"ticket"` (a one-time `?ticket=` of a handshake). The cookies of `kind = "forward"` are named by its `cookies`.
    pub from: Vec<CredentialSource>,
    /// `[auth.NAME.csrf]`.
    pub csrf: Option<Csrf>,
    /// `[auth.NAME.identity]`.
    pub identity: IdentityHeaders,
}

/// The authority that verifies users.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthKind {
    /// The signature of a token.
    Jwt(Jwt),
    /// The backend, asked by a request of our own.
    Forward(Forward),
    /// The file: keys by their id.
    ApiKey(Vec<ApiKey>),
}

/// Where an authority's answer names the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping<'a> {
    /// The user.
    pub(crate) user: &'a str,
    /// The tenant.
    pub(crate) tenant: &'a str,
    /// The roles.
    pub(crate) roles: &'a str,
}

impl Auth {
    /// The claims that become user, tenant and roles.
    pub(crate) fn mapping(&self) -> Mapping<'_> {
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
    pub(crate) fn recheck(&self) -> Option<Duration> {
        match &self.kind {
            AuthKind::Forward(forward) => Some(forward.recheck),
            AuthKind::Jwt(_) | AuthKind::ApiKey(_) => None,
        }
    }

    /// Whether a ticket may stand for a credential of this kind.
    pub(crate) fn takes_tickets(&self) -> bool {
        self.from.contains(&CredentialSource::Ticket)
    }

    /// How long live connections stay after their user was last verified, while the authority is unreachable.
    pub(crate) fn good_for(&self) -> Option<Duration> {
        match &self.kind {
            AuthKind::Forward(forward) => Some(forward.good_for()),
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

    /// Whether it knows its users' tenants.
    pub(super) fn knows_tenants(&self) -> bool {
        match &self.kind {
            AuthKind::Forward(forward) => forward.tenant.is_some(),
            // Of no key nothing is known.
            AuthKind::ApiKey(keys) => {
                keys.is_empty() || keys.iter().any(|key| key.tenant.is_some())
            }
            AuthKind::Jwt(_) => true,
        }
    }
}

/// A broken one is reported and read all the same, so that keys that name it are no problems too.
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
    if let Some(kind) = kind {
        refuse_others(table, kind);
    }
    // Where that is not known, the rest is judged as what it looks like.
    let kind = kind.or_else(|| guess(table));
    let by_kind = match kind {
        Some(Kind::Jwt) => Some(AuthKind::Jwt(jwt::read(table))),
        Some(Kind::Forward) => Some(AuthKind::Forward(forward::read(table, upstreams))),
        Some(Kind::ApiKey) => Some(AuthKind::ApiKey(api_key::read(table).all())),
        None => {
            table.leave_unread();
            None
        }
    };
    let is_known = by_kind.is_some();
    let from = place::read(table, kind == Some(Kind::Forward));
    let auth = Auth {
        name: name.into(),
        csrf: table.optional_table("csrf", headers::csrf).flatten(),
        identity: table.table("identity", headers::identity),
        kind: by_kind.unwrap_or(AuthKind::ApiKey(Vec::new())),
        from,
    };
    if auth.csrf.is_some() && is_known && !auth.reads_cookies() {
        let what = "has no effect: no cookie identifies users";
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

const JWT_KEYS: [&str; 8] = [
    "issuer",
    "audience",
    "algorithms",
    "secret",
    "public_key",
    "jwks_url",
    "leeway",
    "claims",
];
const FORWARD_KEYS: [&str; 7] = [
    "upstream",
    "path",
    "cookies",
    "headers",
    "cache",
    "recheck",
    "stale_if_error",
];
const API_KEY_KEYS: [&str; 2] = ["keys", "file"];

/// The kind whose keys a table holds, and no other's.
fn guess(table: &Table<'_>) -> Option<Kind> {
    let kinds: [(&[&str], Kind); 3] = [
        (&JWT_KEYS, Kind::Jwt),
        (&FORWARD_KEYS, Kind::Forward),
        (&API_KEY_KEYS, Kind::ApiKey),
    ];
    let mut held = kinds.into_iter().filter(|(keys, _)| table.says_any(keys));
    let first = held.next().map(|(_, kind)| kind);
    first.filter(|_| held.next().is_none())
}

fn refuse_others(table: &Table<'_>, kind: Kind) {
    let own = match kind {
        Kind::Jwt => "jwt",
        Kind::Forward => "forward",
        Kind::ApiKey => "api_key",
    };
    let belongs =
        |other: &str| format!("belongs to `kind = \"{other}\"`, and this is `kind = \"{own}\"`");
    let fix = "remove it, or write that kind";
    if kind != Kind::Jwt {
        table.refuse_elsewhere(JWT_KEYS, &belongs("jwt"), fix);
    }
    if kind != Kind::Forward {
        let what = &belongs("forward");
        table.refuse_elsewhere(FORWARD_KEYS, what, fix);
        let fix = match kind {
            Kind::Jwt => "write it in `claims`, such as `claims = {user = \"sub\"}`",
            _ => "write it in the key's line, such as `user=NAME`",
        };
        table.refuse_elsewhere(["user", "tenant", "roles"], what, fix);
    }
    if kind != Kind::ApiKey {
        table.refuse_elsewhere(API_KEY_KEYS, &belongs("api_key"), fix);
    }
}
