//! Tokens: their form, their signature, their claims. Pure: the time is an argument.
//!
//! What a token says of itself chooses nothing: its key says which algorithms there are, the configuration whose word
//! counts, and nothing that a header points at is ever fetched.

mod claims;
mod header;
mod keys;
mod signature;
mod strict_json;

use std::sync::Arc;

pub use keys::Keys;
pub(crate) use keys::LARGEST_SET;

use super::{AuthError, Identity};
use crate::config;

/// What is to be said of a token.
#[derive(Clone, Debug, PartialEq)]
pub enum JwtVerdict {
    /// Whose it is.
    Known(Box<Identity>),
    /// Invalid, whatever keys there may be.
    Denied(AuthError),
    /// No key of the set verifies it, and one that is not there yet might. The token's `kid`, where it has one.
    UnknownKey(Option<String>),
}

/// Whose token it is, at `now` in Unix seconds, by the word of the `[auth]` of this name.
pub fn verify(
    auth: &Arc<str>,
    jwt: &config::Jwt,
    keys: &Keys,
    token: &str,
    now: u64,
) -> JwtVerdict {
    let form = match header::read(token, &jwt.algorithms) {
        Ok(form) => form,
        Err(denied) => return JwtVerdict::Denied(denied),
    };
    match keys.judge(&form) {
        keys::Judgement::Good => {}
        keys::Judgement::Bad(why) => return JwtVerdict::Denied(AuthError::Invalid(why.into())),
        keys::Judgement::Unknown => return JwtVerdict::UnknownKey(form.key_id),
    }
    // Nothing of a stranger's is looked into: claims are read only once they are signed.
    match claims::identity(auth, jwt, &form, token, now) {
        Ok(identity) => JwtVerdict::Known(Box::new(identity)),
        Err(denied) => JwtVerdict::Denied(denied),
    }
}

#[cfg(test)]
pub(super) mod tests;
