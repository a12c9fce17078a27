use std::net::IpAddr;
use std::time::Duration;

use hyper::Uri;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde_json::Value as Json;

use super::PublicKey;
use crate::config::parser::pem::Pem;
use crate::config::parser::problem::Wrong;
use crate::config::parser::secret::Secret;
use crate::config::parser::table::Table;
use crate::config::parser::tree::NodeForm;
use crate::config::parser::{address, scalar, units};

/// `kind = "jwt"`: a signed token (RFC 7519) names the user, and until when it is valid. It must have `exp`,
/// the user, and an issuer and an audience that are accepted; exactly one of `secret`, `public_key` and
/// `jwks_url` verifies it.
#[derive(Clone, Debug, PartialEq)]
pub struct Jwt {
    /// Accepted `iss`: one, or a list; `false` leaves it unchecked, which is warned of. Required.
    pub issuer: Option<Vec<String>>,
    /// Accepted `aud`, any of them: one, or a list; `false` leaves it unchecked, which is warned of. Required.
    pub audience: Option<Vec<String>>,
    /// Signatures that are believed, such as `["RS256", "PS256"]`: HS256, HS384, HS512 of a `secret`; RS256 to RS512 and PS256 to PS512 of an RSA key; ES256 (P-256) and ES384 (P-384); EdDSA (Ed25519). `none` is never believed, and one key is never used with those of another kind. Default: from the key: HS256, RS256, ES256, ES384 or EdDSA; of a `jwks_url` RS256, ES256, ES384 and EdDSA.
    pub algorithms: Vec<Algorithm>,
    /// `secret`, `public_key`, `jwks_url`: what verifies. A shared secret of 32 bytes or more; a public key: a PEM file's path, or the PEM text itself, read again when the file changes; the URL (http or https) of a key set (RFC 7517), which is fetched anew before it is old, and when a token names a key that it lacks. Default: none; one of them is needed.
    pub key: KeySource,
    /// How far clocks may differ, at most a minute.
    pub leeway: Duration,
    /// `claims.user`: where the user stands: a claim's name, or a JSON Pointer.
    pub user: String,
    /// `claims.tenant`: where the tenant stands, likewise; a user without it is in no tenant.
    pub tenant: String,
    /// `claims.roles`: where the roles stand, likewise: a list, or words separated by spaces.
    pub roles: String,
}

/// What verifies a token's signature.
#[derive(Clone, Debug, PartialEq)]
pub enum KeySource {
    /// A shared secret.
    Secret(Secret),
    /// A public key.
    Public(PublicKey),
    /// A key set (RFC 7517) behind this URL.
    Url(Uri),
}

pub(super) fn read(table: &Table<'_>) -> Jwt {
    let issuer = accepted(
        table,
        "issuer",
        "https://login.example.com",
        "is not checked: tokens of any other issuer with this key are as good",
    );
    let audience = accepted(
        table,
        "audience",
        "my-app",
        "is not checked: tokens that the same issuer made for another application are as good",
    );
    let key = key(table);
    let claims = |table: &Table<'_>| {
        let claim = |key, default| table.text_or(key, default, units::member);
        (
            claim("user", "sub"),
            claim("tenant", "tenant"),
            claim("roles", "roles"),
        )
    };
    let (user, tenant, roles) = table.table("claims", claims);
    Jwt {
        issuer,
        audience,
        algorithms: algorithms(table, key.as_ref()),
        leeway: table.text_or("leeway", "5s", leeway),
        // Without one the file is refused.
        key: key.unwrap_or(KeySource::Secret(Secret(String::new()))),
        user,
        tenant,
        roles,
    }
}

/// One, or a list; `None` only where the file says `false`.
fn accepted(
    table: &Table<'_>,
    key: &'static str,
    example: &str,
    risk: &str,
) -> Option<Vec<String>> {
    let node = table.node(key);
    table.note(key, node, Json::Null);
    let either = format!("write `{key} = \"{example}\"`, or `{key} = false` to leave it unchecked");
    let Some(node) = node else {
        let path = table.path(key);
        table.desk.absent(table.place, &path, "is missing", either);
        return Some(Vec::new());
    };
    let is_off = match &node.form {
        NodeForm::Switch(on) => !on,
        NodeForm::Text(text) => text.alone && text.text.trim() == "false",
        _ => false,
    };
    if is_off {
        let fix = format!("write `{key} = \"{example}\"`, or live with it");
        table.warning(key, risk, fix);
        return None;
    }
    table.refuse_empty(key, &format!("\"{example}\""));
    Some(match &node.form {
        NodeForm::Switch(_) => {
            table.error(
                key,
                "says nothing that a token could be compared with",
                either,
            );
            Vec::new()
        }
        NodeForm::List(_) => scalar::texts(table.desk, node, units::something),
        _ => Vec::from_iter(scalar::text(table.desk, node, units::something)),
    })
}

/// Exactly one; `None` where that is not so, or where it is broken (reported).
fn key(table: &Table<'_>) -> Option<KeySource> {
    const KEYS: [&str; 3] = ["secret", "public_key", "jwks_url"];
    let said: Vec<_> = KEYS.into_iter().filter(|key| table.says(key)).collect();
    match &said[..] {
        [] => {
            let what =
                "is missing, and so are `public_key` and `jwks_url`: nothing verifies a token";
            let path = table.path("secret");
            let fix = "write one of the three, such as `jwks_url = \"https://login.example.com/jwks.json\"`";
            table.desk.absent(table.place, &path, what, fix);
        }
        [first, more @ ..] => {
            for key in more {
                let what = format!("stands beside `{first}`, and one key verifies a token");
                table.error(key, what, "keep one of them");
            }
        }
    }
    let (secret, public, url) = (secret(table), public_key(table), url(table));
    (secret.map(KeySource::Secret))
        .or(public.map(KeySource::Public))
        .or(url.map(KeySource::Url))
}

fn secret(table: &Table<'_>) -> Option<Secret> {
    let secret = table.secret("secret")?;
    if secret.0.len() < 32 {
        let what =
            "is shorter than 32 bytes: an owner of one token may guess it, and then make tokens";
        let fix = "make one by `openssl rand -hex 32`, at the issuer too";
        table.warning("secret", what, fix);
    }
    Some(secret)
}

fn public_key(table: &Table<'_>) -> Option<PublicKey> {
    let node = table.node("public_key");
    table.note("public_key", node, Json::Null);
    PublicKey::read(&Pem::read_or_text(table.desk, node?)?)
}

fn url(table: &Table<'_>) -> Option<Uri> {
    let url = table.text("jwks_url", key_set)?;
    let is_http = url.scheme_str() == Some("http");
    if is_http && !is_loopback(url.host().unwrap_or_default()) {
        let what = "is fetched in the clear: attackers on the network may add keys of their own";
        table.warning("jwks_url", what, "write `https://`");
    }
    Some(url)
}

fn key_set(text: &str) -> Result<Uri, Wrong> {
    let wrong = || {
        Wrong::new(
            "is no http or https URL",
            "write one such as \"https://login.example.com/.well-known/jwks.json\"",
        )
    };
    let authority = text.find("://").map_or(0, |at| at + 3);
    let behind = text.get(authority..).unwrap_or_default();
    let end = behind.find(['/', '?', '#']);
    let (server, path) = text.split_at(end.map_or(text.len(), |at| authority + at));
    let server = server.to_ascii_lowercase();
    address::origin(&server).map_err(|_| wrong())?;
    if path.contains('#') {
        return Err(wrong());
    }
    format!("{server}{path}").parse().map_err(|_| wrong())
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn leeway(text: &str) -> Result<Duration, Wrong> {
    match units::window(text)? {
        long if long > Duration::from_secs(60) => Err(Wrong::new(
            "is longer than a minute",
            "write up to \"60s\", and let the clocks be set by NTP",
        )),
        fitting => Ok(fitting),
    }
}

/// Those that the file lists, or those that the key is for.
fn algorithms(table: &Table<'_>, key: Option<&KeySource>) -> Vec<Algorithm> {
    table.refuse_empty("algorithms", "\"RS256\"");
    if table.says("algorithms") {
        return table.texts("algorithms", |text| algorithm(text, key));
    }
    table.node("algorithms");
    let default = match key {
        Some(KeySource::Secret(_)) | None => vec![Algorithm::HS256],
        Some(KeySource::Public(public)) => vec![public.algorithm()],
        Some(KeySource::Url(_)) => vec![
            Algorithm::RS256,
            Algorithm::ES256,
            Algorithm::ES384,
            Algorithm::EdDSA,
        ],
    };
    let names: Vec<_> = default.iter().map(|one| format!("{one:?}")).collect();
    table.note("algorithms", None, names.into());
    default
}

fn algorithm(text: &str, key: Option<&KeySource>) -> Result<Algorithm, Wrong> {
    const NAMES: [(&str, Algorithm); 12] = [
        ("HS256", Algorithm::HS256),
        ("HS384", Algorithm::HS384),
        ("HS512", Algorithm::HS512),
        ("RS256", Algorithm::RS256),
        ("RS384", Algorithm::RS384),
        ("RS512", Algorithm::RS512),
        ("PS256", Algorithm::PS256),
        ("PS384", Algorithm::PS384),
        ("PS512", Algorithm::PS512),
        ("ES256", Algorithm::ES256),
        ("ES384", Algorithm::ES384),
        ("EdDSA", Algorithm::EdDSA),
    ];
    if text.eq_ignore_ascii_case("none") {
        let fix = "remove it: any client could write such a token";
        return Err(Wrong::new("is no signature", fix));
    }
    let algorithm = units::word(text, &NAMES)?;
    let is_hmac = algorithm.family() == AlgorithmFamily::Hmac;
    let (does_fit, fix) = match key {
        None => (true, ""),
        Some(KeySource::Secret(_)) => {
            (is_hmac, "write HS256, HS384 or HS512, or name a public key")
        }
        Some(KeySource::Public(public)) => (
            public.fits(algorithm),
            "leave `algorithms` out: the key says it",
        ),
        Some(KeySource::Url(_)) => (!is_hmac, "remove it: a public key would count as a secret"),
    };
    match does_fit {
        true => Ok(algorithm),
        false => Err(Wrong::new("does not fit the key", fix)),
    }
}
