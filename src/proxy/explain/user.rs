//! The user of a question: the one that it names, or the one that its credential names.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::ExplainRequest;
use crate::config::{Auth, AuthKind, KeySource};
use crate::policy::auth::credential::Found;
use crate::policy::auth::identity::lookup;
use crate::policy::auth::jwt::{self, Keys};
use crate::policy::auth::{AuthError, Credential, Identity, api_key, unix_now};

/// The user of a question, as the policy that accepts it would name it.
pub(super) fn identity_of(
    question: &ExplainRequest,
    user: &str,
    auth: Option<&Arc<Auth>>,
) -> Identity {
    let mut claims: Map<String, Value> = question.claims.iter().cloned().collect();
    let (mut tenant, mut roles) = ("tenant", "roles");
    if let Some(auth) = auth {
        let mapping = auth.mapping();
        (tenant, roles) = (mapping.tenant, mapping.roles);
        if !mapping.user.starts_with('/') && !claims.contains_key(mapping.user) {
            claims.insert(mapping.user.to_owned(), user.into());
        }
    }
    let tenant = lookup(&claims, tenant).and_then(Value::as_str);
    let told = match lookup(&claims, roles) {
        Some(Value::Array(roles)) => roles.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(roles)) => roles.split([' ', ',']).collect(),
        _ => Vec::new(),
    };
    let told = told.into_iter().map(str::to_owned);
    Identity {
        auth: auth.map_or_else(|| "-".into(), |auth| auth.name.clone()),
        user: user.to_owned(),
        tenant: tenant.map(str::to_owned),
        roles: question.roles.iter().cloned().chain(told).collect(),
        claims,
        expires: None,
        leeway: 0,
        token_id: None,
        issued: None,
        credential: [0; 32],
    }
}

/// The identity of a credential, where no remote authority has to be asked.
pub(super) fn verify(found: &Found) -> Option<Result<Identity, AuthError>> {
    let Credential::Token(token) = &found.credential else {
        return None;
    };
    let name = &found.auth.name;
    match &found.auth.kind {
        AuthKind::ApiKey(keys) => Some(api_key::find(name, keys, token, unix_now())),
        AuthKind::Jwt(jwt) if !matches!(jwt.key, KeySource::Url(_)) => {
            let keys = Keys::local(jwt)?;
            Some(match jwt::verify(name, jwt, &keys, token, unix_now()) {
                jwt::JwtVerdict::Known(identity) => Ok(*identity),
                jwt::JwtVerdict::Denied(denied) => Err(denied),
                jwt::JwtVerdict::UnknownKey(_) => Err(AuthError::Invalid(
                    "the token is signed with another key".into(),
                )),
            })
        }
        AuthKind::Jwt(_) | AuthKind::Forward(_) => None,
    }
}
