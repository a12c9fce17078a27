//! API keys. Pure: the time is an argument.

use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{AuthError, Credential, Identity};
use crate::config::ApiKey;

/// What every key begins with.
const PREFIX: &str = "cfk_";

/// Whose key this is, at `now` in Unix seconds: `cfk_ID_SECRET`, found by its id, and compared whole by its hash.
///
/// All keys are looked at, and something is compared in constant time even where there is none: how long it takes tells
/// nothing of which ids there are, or of how much of a key is right.
///
/// # Errors
/// [`AuthError::Invalid`], or [`AuthError::Expired`] where the key was one.
pub(crate) fn find(
    auth: &Arc<str>,
    keys: &[ApiKey],
    presented: &str,
    now: u64,
) -> Result<Identity, AuthError> {
    let id = presented
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once('_'))
        .map(|(id, _)| id);
    let hash: [u8; 32] = Sha256::digest(presented).into();
    let mut found = None;
    for key in keys {
        if Some(&*key.id) == id {
            found = Some(key);
        }
    }
    // What nothing hashes to.
    let expected = found.map_or([0; 32], |key| key.hash);
    let is_right = bool::from(expected.ct_eq(&hash));
    let Some(key) = found.filter(|_| is_right) else {
        return Err(AuthError::Invalid("the API key is not known".into()));
    };
    match key.expires.is_some_and(|end| now >= end) {
        true => Err(AuthError::Expired),
        false => Ok(identity(auth, key, presented)),
    }
}

fn identity(auth: &Arc<str>, key: &ApiKey, presented: &str) -> Identity {
    let mut claims = Map::new();
    claims.insert("sub".into(), key.user.clone().into());
    if let Some(tenant) = &key.tenant {
        claims.insert("tenant".into(), tenant.clone().into());
    }
    claims.insert("roles".into(), Value::from(key.roles.clone()));
    Identity {
        auth: auth.clone(),
        user: key.user.clone(),
        tenant: key.tenant.clone(),
        roles: key.roles.clone(),
        claims,
        expires: key.expires,
        leeway: 0,
        token_id: Some(key.id.clone()),
        issued: None,
        credential: Credential::Token(presented.to_owned()).digest(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALICE: &str = "cfk_a1_s3cret_with_more_of_them";

    fn key(text: &str, id: &str, user: &str, expires: Option<u64>) -> ApiKey {
        ApiKey {
            id: id.into(),
            hash: Sha256::digest(text).into(),
            user: user.into(),
            tenant: (user == "alice").then(|| "t1".into()),
            roles: vec!["robot".into()],
            expires,
        }
    }

    fn find(presented: &str, now: u64) -> Result<Identity, AuthError> {
        let keys = [
            key("cfk_b2_other", "b2", "bob", Some(100)),
            key(ALICE, "a1", "alice", None),
            key("", "", "unnamed", None),
        ];
        super::find(&"keys".into(), &keys, presented, now)
    }

    #[test]
    fn a_key_names_its_user() {
        let identity = find(ALICE, 0).unwrap();
        assert_eq!(&*identity.auth, "keys");
        assert_eq!(identity.user, "alice");
        assert_eq!(identity.tenant.as_deref(), Some("t1"));
        assert_eq!(identity.roles, ["robot"]);
        assert_eq!(
            Value::from(identity.claims),
            json!({"sub": "alice", "tenant": "t1", "roles": ["robot"]})
        );
        assert_eq!(
            (identity.expires, identity.token_id.as_deref()),
            (None, Some("a1"))
        );
        assert_eq!(
            identity.credential,
            Credential::Token(ALICE.into()).digest()
        );
        let bob = find("cfk_b2_other", 0).unwrap();
        assert_eq!(
            Value::from(bob.claims),
            json!({"sub": "bob", "roles": ["robot"]})
        );
    }

    #[test]
    fn only_the_whole_key_counts() {
        for presented in [
            "",
            "cfk_",
            "cfk__",
            "cfk_a1",
            "cfk_a1_",
            "cfk_a1_s3cret",
            "cfk_a1_s3cret_with_more_of_them_",
            "cfk_A1_s3cret_with_more_of_them",
            "CFK_a1_s3cret_with_more_of_them",
            " cfk_a1_s3cret_with_more_of_them",
            "cfk_b2_s3cret_with_more_of_them",
            "cfk_c3_other",
            "a1_s3cret_with_more_of_them",
            "cfk_a1_\0",
        ] {
            let denied = AuthError::Invalid("the API key is not known".into());
            assert_eq!(find(presented, 0), Err(denied), "{presented}");
        }
    }

    #[test]
    fn a_key_ends_and_only_its_holders_are_told() {
        assert!(find("cfk_b2_other", 99).is_ok());
        assert_eq!(find("cfk_b2_other", 100), Err(AuthError::Expired));
        assert!(matches!(
            find("cfk_b2_guess", 100),
            Err(AuthError::Invalid(_))
        ));
    }
}
