//! The three parts of a token, and what its header may say.

use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::strict_json;
use crate::policy::auth::credential::LONGEST_TOKEN;
use crate::policy::auth::error::AuthError;

/// Longest `kid`, bytes.
pub(super) const LONGEST_KEY_ID: usize = 256;

/// Header members that would change what is verified, or how. No token may do that.
const REFUSED: [(&str, &str); 3] = [
    (
        "crit",
        "the token's header has `crit`, and nothing of it is understood here",
    ),
    ("b64", "the token's header has `b64`, which is not accepted"),
    ("zip", "the token's header has `zip`, which is not accepted"),
];

/// A token of the right form. Nothing of it is verified yet.
pub(super) struct Form<'t> {
    /// The name of the key that is said to have signed it: a key of a map, and nothing else.
    pub(super) key_id: Option<String>,
    /// What is said to have signed it; only a key that is for this algorithm is asked.
    pub(super) algorithm: Algorithm,
    /// The claims, as they stand.
    pub(super) payload: Vec<u8>,
    /// What was signed.
    pub(super) signed: &'t str,
    /// By what.
    pub(super) signature: Vec<u8>,
}

/// Takes a token apart. `jku`, `x5u`, `jwk`, `x5c` and other members of its header are not looked at.
pub(super) fn read<'t>(token: &'t str, allowed: &[Algorithm]) -> Result<Form<'t>, AuthError> {
    if token.len() > LONGEST_TOKEN {
        return Err(invalid("the token is longer than 8 KiB"));
    }
    let not_three = || invalid("the token has not the three parts of a signed one");
    let (signed, signature) = token.rsplit_once('.').ok_or_else(not_three)?;
    let (header, payload) = signed.split_once('.').ok_or_else(not_three)?;
    if payload.contains('.') {
        return Err(not_three());
    }
    let header = decode(header)?;
    let (_, header) = strict_json::object(&header)
        .map_err(|why| AuthError::Invalid(format!("the token's header {why}").into()))?;
    for (member, why) in REFUSED {
        if header.contains_key(member) {
            return Err(invalid(why));
        }
    }
    if !header.get("typ").is_none_or(is_token) {
        return Err(invalid("the token's `typ` is that of something else"));
    }
    Ok(Form {
        key_id: key_id(&header)?,
        algorithm: algorithm(&header, allowed)?,
        payload: decode(payload)?,
        signed,
        signature: decode(signature)?,
    })
}

/// `JWT`, and `at+jwt` of RFC 9068.
fn is_token(kind: &Value) -> bool {
    let Some(kind) = kind.as_str().map(str::to_ascii_lowercase) else {
        return false;
    };
    let kind = kind.strip_prefix("application/").unwrap_or(&kind);
    matches!(kind, "jwt" | "at+jwt")
}

fn key_id(header: &Map<String, Value>) -> Result<Option<String>, AuthError> {
    match header.get("kid") {
        None => Ok(None),
        Some(Value::String(id)) if id.len() <= LONGEST_KEY_ID => Ok(Some(id.clone())),
        Some(_) => Err(invalid("the token's `kid` is no text of at most 256 bytes")),
    }
}

fn algorithm(header: &Map<String, Value>, allowed: &[Algorithm]) -> Result<Algorithm, AuthError> {
    let named = header.get("alg").and_then(Value::as_str);
    let known = named.and_then(|name| Algorithm::from_str(name).ok());
    known
        .filter(|algorithm| allowed.contains(algorithm))
        .ok_or_else(|| invalid("the token's algorithm is not accepted"))
}

/// Base64url in its one spelling: no padding, no spaces, no spare bits.
fn decode(part: &str) -> Result<Vec<u8>, AuthError> {
    BASE64_URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| invalid("a part of the token is not in base64url"))
}

pub(super) fn invalid(why: &'static str) -> AuthError {
    AuthError::Invalid(why.into())
}
