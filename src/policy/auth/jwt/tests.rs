mod hostile;
pub(in crate::policy::auth) mod mint;
mod sets;

use jsonwebtoken::Algorithm;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::policy::auth::Credential;
use mint::{NOW, Signer, auth, claims, jwt};

/// What is said of a token where this signer's key is the one of the file.
fn judge(signer: &Signer, token: &str) -> JwtVerdict {
    let policy = jwt(signer.source(), &[signer.algorithm]);
    let keys = Keys::local(&policy).unwrap();
    verify(&auth(), &policy, &keys, token, NOW)
}

/// Why a token is refused.
fn why(verdict: JwtVerdict) -> String {
    match verdict {
        JwtVerdict::Denied(AuthError::Invalid(why)) => why.into_owned(),
        other => panic!("invalid, not {other:?}"),
    }
}

fn known(claims: &Value) -> Identity {
    let signer = Signer::new(Algorithm::HS256);
    match judge(&signer, &signer.issue(None, claims)) {
        JwtVerdict::Known(identity) => *identity,
        other => panic!("known, not {other:?}"),
    }
}

#[test]
fn each_algorithm_vouches_with_a_key_of_its_kind() {
    for algorithm in [
        Algorithm::HS256,
        Algorithm::HS384,
        Algorithm::HS512,
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
    ] {
        let signer = Signer::new(algorithm);
        let token = signer.issue(None, &claims(json!({})));
        let JwtVerdict::Known(identity) = judge(&signer, &token) else {
            panic!("{algorithm:?}");
        };
        assert_eq!(identity.user, "alice");
        assert_eq!(
            identity.credential,
            Credential::Token(token).digest(),
            "one digest for one credential, whichever code makes it"
        );
    }
}

#[test]
fn a_token_names_its_user() {
    let identity = known(&claims(json!({})));
    assert_eq!(&*identity.auth, "main");
    assert_eq!(identity.user, "alice");
    assert_eq!(identity.tenant.as_deref(), Some("t1"));
    assert_eq!(identity.roles, ["user", "editor"]);
    assert_eq!(identity.expires, Some(NOW + 300));
    assert_eq!(identity.leeway, 5);
    assert_eq!(identity.token_id.as_deref(), Some("j1"));
    assert_eq!(identity.issued, Some(NOW));
    assert_eq!(
        identity.claim("iss").as_deref(),
        Some(&json!("https://idp.test"))
    );

    let least = known(&claims(
        json!({"tenant": null, "roles": null, "jti": null, "iat": null}),
    ));
    assert_eq!(
        (least.tenant, least.token_id, least.issued),
        (None, None, None)
    );
    assert!(least.roles.is_empty());
}

#[test]
fn a_claim_that_would_be_rounded_pools_no_user() {
    let payload = claims(json!({"id": "NUMBER"})).to_string();
    let payload = payload.replace("\"NUMBER\"", "18446744073709551617");
    let signer = Signer::new(Algorithm::HS256);
    let JwtVerdict::Known(identity) = judge(&signer, &signer.token(r#"{"alg":"HS256"}"#, &payload))
    else {
        panic!("{payload}");
    };
    assert_eq!(identity.user, "alice");
    assert!(identity.pool(&["id".to_owned()]).is_err());
}

#[test]
fn claims_come_in_several_shapes() {
    for (roles, expected) in [
        (json!("user"), &["user"][..]),
        (json!("user editor"), &["user", "editor"]),
        (json!("user, editor,"), &["user", "editor"]),
        (json!(["user", "editor of all"]), &["user", "editor of all"]),
        (json!([1, "two"]), &["1", "two"]),
        (json!([]), &[]),
        (json!(""), &[]),
    ] {
        assert_eq!(known(&claims(json!({"roles": roles}))).roles, expected);
    }
    assert_eq!(known(&claims(json!({"sub": 42}))).user, "42");
    assert_eq!(known(&claims(json!({"tenant": ""}))).tenant, None);
    for audience in [json!("other"), json!(["x", "app"]), json!(["app"])] {
        assert_eq!(known(&claims(json!({"aud": audience}))).user, "alice");
    }
}

#[test]
fn claims_are_found_where_the_file_says() {
    let signer = Signer::new(Algorithm::HS256);
    let mut policy = jwt(signer.source(), &[Algorithm::HS256]);
    policy.user = "/user/id".into();
    policy.tenant = "https://example.test/tenant".into();
    policy.roles = "/realm_access/roles".into();
    let said = claims(json!({
        "user": {"id": "u7"}, "https://example.test/tenant": "t7", "realm_access": {"roles": ["ops"]},
    }));
    let keys = Keys::local(&policy).unwrap();
    let token = signer.issue(None, &said);
    let JwtVerdict::Known(identity) = verify(&auth(), &policy, &keys, &token, NOW) else {
        panic!("known");
    };
    assert_eq!(identity.user, "u7");
    assert_eq!(identity.tenant.as_deref(), Some("t7"));
    assert_eq!(identity.roles, ["ops"]);
    let token = signer.issue(None, &claims(json!({})));
    let verdict = verify(&auth(), &policy, &keys, &token, NOW);
    assert_eq!(why(verdict), "the token has no `/user/id`");
}

#[test]
fn what_the_file_leaves_unchecked_is_not_asked_for() {
    let signer = Signer::new(Algorithm::HS256);
    let mut policy = jwt(signer.source(), &[Algorithm::HS256]);
    let keys = Keys::local(&policy).unwrap();
    let token = signer.issue(None, &claims(json!({"iss": null, "aud": ["another"]})));
    let verdict = verify(&auth(), &policy, &keys, &token, NOW);
    assert_eq!(why(verdict), "the token has no `iss`");
    policy.issuer = None;
    let verdict = verify(&auth(), &policy, &keys, &token, NOW);
    assert_eq!(why(verdict), "the token's `aud` is another");
    policy.audience = None;
    let verdict = verify(&auth(), &policy, &keys, &token, NOW);
    assert!(matches!(verdict, JwtVerdict::Known(_)));
}

#[test]
fn clock_skew_is_allowed_up_to_leeway_and_no_second_more() {
    let signer = Signer::new(Algorithm::HS256);
    let policy = jwt(signer.source(), &[Algorithm::HS256]);
    let keys = Keys::local(&policy).unwrap();
    let token = signer.issue(
        None,
        &claims(json!({"nbf": NOW, "exp": NOW as f64 + 300.5})),
    );
    let at = |now| verify(&auth(), &policy, &keys, &token, now);
    assert!(matches!(
        at(NOW - 6),
        JwtVerdict::Denied(AuthError::Invalid(_))
    ));
    for now in [NOW - 5, NOW, NOW + 300, NOW + 304] {
        assert!(matches!(at(now), JwtVerdict::Known(_)), "{now}");
    }
    for now in [NOW + 305, u64::MAX] {
        assert_eq!(at(now), JwtVerdict::Denied(AuthError::Expired), "{now}");
    }
}

proptest! {
    #[test]
    fn no_bytes_are_a_token(text in ".{0,200}", parts in proptest::array::uniform3("[A-Za-z0-9_-]{0,40}")) {
        let signer = Signer::new(Algorithm::HS256);
        prop_assert!(matches!(judge(&signer, &text), JwtVerdict::Denied(_)));
        prop_assert!(matches!(judge(&signer, &parts.join(".")), JwtVerdict::Denied(_)));
    }

    #[test]
    fn one_letter_changed_is_another_token(at in 0..10_000usize, letter in "[A-Za-z0-9_-]") {
        let signer = Signer::new(Algorithm::HS256);
        let token = signer.issue(None, &claims(json!({})));
        let at = at % token.len();
        let changed = format!("{}{letter}{}", &token[..at], &token[at + 1..]);
        prop_assume!(changed != token);
        prop_assert!(matches!(judge(&signer, &changed), JwtVerdict::Denied(_)));
    }
}
