//! The claims of a signed token, and whether they are valid here and now.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::header::{Form, invalid};
use super::strict_json;
use crate::config::Jwt;
use crate::policy::auth::credential::Credential;
use crate::policy::auth::error::AuthError;
use crate::policy::auth::identity::{Identity, is_lost, lookup};

/// The last second of the year 9999: what lies beyond is no time.
const LATEST: f64 = 253_402_300_799.0;

/// The subject of the token. A refusal names the claim, never its value.
pub(super) fn identity(
    auth: &Arc<str>,
    jwt: &Jwt,
    form: &Form<'_>,
    token: &str,
    now: u64,
) -> Result<Identity, AuthError> {
    let (read, claims) = strict_json::object(&form.payload)
        .map_err(|why| AuthError::Invalid(format!("what the token says {why}").into()))?;
    let named = [&jwt.user, &jwt.tenant, &jwt.roles].map(String::as_str);
    let asked = ["nbf", "iat", "jti"].into_iter().chain(named);
    if let Some(claim) = asked.into_iter().find(|name| is_lost(read, &claims, name)) {
        return Err(wrong(claim, "is no exact value"));
    }
    is_meant(&claims, "iss", jwt.issuer.as_deref())?;
    is_meant(&claims, "aud", jwt.audience.as_deref())?;
    let (expires, issued) = times(&claims, jwt.leeway, now)?;
    let user = text(&claims, &jwt.user)?.ok_or_else(|| missing(&jwt.user))?;
    let identity = Identity {
        auth: auth.clone(),
        user,
        tenant: text(&claims, &jwt.tenant)?,
        roles: roles(&claims, &jwt.roles)?,
        expires: Some(expires),
        leeway: jwt.leeway.as_secs(),
        token_id: text(&claims, "jti")?,
        issued,
        credential: Credential::Token(token.to_owned()).digest(),
        claims,
    };
    // The last check: a client that gets "expired" knows that all else is valid.
    match identity.ends().is_some_and(|end| now >= end) {
        true => Err(AuthError::Expired),
        false => Ok(identity),
    }
}

/// `iss` and `aud`: one of those that are accepted; `None` accepts everything.
fn is_meant(
    claims: &Map<String, Value>,
    name: &'static str,
    accepted: Option<&[String]>,
) -> Result<(), AuthError> {
    let Some(accepted) = accepted else {
        return Ok(());
    };
    let is_accepted = |value: &Value| {
        let value = value.as_str();
        value.is_some_and(|value| accepted.iter().any(|wanted| wanted == value))
    };
    let is_ours = match lookup(claims, name).ok_or_else(|| missing(name))? {
        Value::Array(values) if name == "aud" => values.iter().any(is_accepted),
        value => is_accepted(value),
    };
    match is_ours {
        true => Ok(()),
        false => Err(wrong(name, "is another")),
    }
}

/// `exp` and `iat`, where the token holds at `now` but for its end.
fn times(
    claims: &Map<String, Value>,
    leeway: Duration,
    now: u64,
) -> Result<(u64, Option<u64>), AuthError> {
    let expires = time(claims, "exp")?.ok_or_else(|| missing("exp"))?;
    let latest = now.saturating_add(leeway.as_secs());
    if time(claims, "nbf")?.is_some_and(|begin| begin > latest) {
        return Err(invalid("the token is not valid yet (`nbf`)"));
    }
    let issued = time(claims, "iat")?;
    if issued.is_some_and(|issued| issued > latest) {
        return Err(invalid(
            "the token was issued in the future (`iat`): a clock is wrong",
        ));
    }
    Ok((expires, issued))
}

/// Unix seconds, fractions left off.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, AuthError> {
    let Some(value) = lookup(claims, name) else {
        return Ok(None);
    };
    match value.as_f64() {
        Some(seconds) if (0.0..=LATEST).contains(&seconds) => Ok(Some(seconds as u64)),
        _ => Err(wrong(name, "is no time")),
    }
}

/// A name, or a number as a name; an empty one is none. What would break a line of a log or a header is refused.
fn text(claims: &Map<String, Value>, name: &str) -> Result<Option<String>, AuthError> {
    match lookup(claims, name) {
        None => Ok(None),
        Some(value) => Ok(Some(name_of(value, name)?).filter(|text| !text.is_empty())),
    }
}

fn name_of(value: &Value, claim: &str) -> Result<String, AuthError> {
    match value {
        Value::String(text) if !text.contains(char::is_control) => Ok(text.clone()),
        // Rounded ones would make one user of two.
        Value::Number(number) if !number.is_f64() => Ok(number.to_string()),
        _ => Err(wrong(claim, "is no name")),
    }
}

/// A list of names, or one text with spaces or commas between them.
fn roles(claims: &Map<String, Value>, name: &str) -> Result<Vec<String>, AuthError> {
    match lookup(claims, name) {
        None => Ok(Vec::new()),
        Some(Value::Array(roles)) => roles.iter().map(|role| name_of(role, name)).collect(),
        Some(roles) => {
            let roles = name_of(roles, name)?;
            let names = roles.split([' ', ',']).filter(|role| !role.is_empty());
            Ok(names.map(str::to_owned).collect())
        }
    }
}

fn missing(claim: &str) -> AuthError {
    AuthError::Invalid(format!("the token has no `{claim}`").into())
}

fn wrong(claim: &str, what: &str) -> AuthError {
    AuthError::Invalid(format!("the token's `{claim}` {what}").into())
}
