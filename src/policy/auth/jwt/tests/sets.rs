//! Key sets as they are published, and as they should not be.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::mint::{NOW, Signer, auth, claims, jwt};
use super::why;
use crate::policy::auth::jwt::{JwtVerdict, Keys, verify};

const ALL: [Algorithm; 4] = [
    Algorithm::RS256,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

fn parse(keys: &[Value]) -> Result<Keys, String> {
    Keys::parse(json!({"keys": keys}).to_string().as_bytes(), &ALL)
}

fn judge(keys: &Keys, token: &str) -> JwtVerdict {
    let policy = jwt(Signer::new(Algorithm::HS256).source(), &ALL);
    verify(&auth(), &policy, keys, token, NOW)
}

#[test]
fn a_name_chooses_one_key_and_no_other() {
    let signers = ALL.map(Signer::new);
    let jwks: Vec<Value> = (signers.iter().enumerate())
        .map(|(at, signer)| signer.jwk(&format!("k{at}")))
        .collect();
    let keys = parse(&jwks).unwrap();
    assert_eq!(keys.count(), 4);
    for (at, signer) in signers.iter().enumerate() {
        let named = |kid: Option<&str>| judge(&keys, &signer.issue(kid, &claims(json!({}))));
        assert!(matches!(
            named(Some(&format!("k{at}"))),
            JwtVerdict::Known(_)
        ));
        assert_eq!(
            why(named(Some(&format!("k{}", (at + 1) % 4)))),
            "the token's algorithm is not that of its key"
        );
        assert_eq!(named(Some("k9")), JwtVerdict::UnknownKey(Some("k9".into())));
        // Without a name there is only one that it can be.
        assert!(matches!(named(None), JwtVerdict::Known(_)));
    }
    let stranger = Signer::new(Algorithm::ES256);
    let forged = |kid: Option<&str>| judge(&keys, &stranger.issue(kid, &claims(json!({}))));
    assert_eq!(
        why(forged(Some("k1"))),
        "the token's signature is not that of its key"
    );
    assert_eq!(forged(None), JwtVerdict::UnknownKey(None));
}

#[test]
fn where_one_side_has_no_name_a_few_are_tried() {
    let signers: Vec<Signer> = (0..6).map(|_| Signer::new(Algorithm::ES256)).collect();
    let nameless = |signer: &Signer| {
        let mut jwk = signer.jwk("");
        jwk.as_object_mut().unwrap().remove("kid");
        jwk
    };
    let keys = parse(&signers.iter().map(nameless).collect::<Vec<_>>()).unwrap();
    for (at, signer) in signers.iter().enumerate() {
        let verdict = judge(&keys, &signer.issue(Some("any"), &claims(json!({}))));
        assert_eq!(matches!(verdict, JwtVerdict::Known(_)), at < 4, "{at}");
    }
}

#[test]
fn what_cannot_be_used_is_passed_over() {
    let signer = Signer::new(Algorithm::ES256);
    let change = |name: &str, value: Value| {
        let mut jwk = signer.jwk("k1");
        jwk[name] = value;
        jwk
    };
    let table = [
        (change("use", json!("enc")), "is not for signatures"),
        (change("key_ops", json!(["sign"])), "is not for verifying"),
        (
            change("kty", json!("AKP")),
            "is of a kind that is not known here",
        ),
        (
            change("kty", json!(7)),
            "is of a kind that is not known here",
        ),
        (
            change("crv", json!("P-521")),
            "is of a kind that is not known here",
        ),
        (
            change("crv", json!("secp256k1")),
            "is of a kind that is not known here",
        ),
        (change("crv", json!("P-384")), "is broken"),
        (change("x", json!("AA")), "is broken"),
        (change("x", json!("not base64!")), "is broken"),
        (change("y", json!(null)), "is broken"),
        (
            change("kid", json!(1)),
            "has a `kid` that is no text of at most 256 bytes",
        ),
        (
            change("kid", json!("k".repeat(257))),
            "has a `kid` that is no text of at most 256 bytes",
        ),
        (
            change("alg", json!("ECDH-ES")),
            "is for none of the algorithms that are accepted",
        ),
        (
            change("alg", json!("HS256")),
            "is for none of the algorithms that are accepted",
        ),
        (
            change("alg", json!("RS256")),
            "is for none of the algorithms that are accepted",
        ),
        (
            change("alg", json!(null)),
            "is for none of the algorithms that are accepted",
        ),
        (
            Signer::new(Algorithm::HS256).jwk("k1"),
            "is a secret, which is never taken from a key set",
        ),
        (
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
            "is an RSA key of less than 2048 bits",
        ),
        (json!({"kty": "RSA", "e": "AQAB"}), "is broken"),
        (
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}),
            "is broken",
        ),
        (
            json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
            "is of a kind that is not known here",
        ),
        (json!("k1"), "is of a kind that is not known here"),
        (json!(null), "is of a kind that is not known here"),
    ];
    for (jwk, why) in &table {
        let refused = parse(std::slice::from_ref(jwk)).unwrap_err();
        let expected = format!("none of its keys can be used (1); the first {why}");
        assert_eq!(refused, expected, "{jwk}");
    }
    // None of them spoils the valid one among them.
    let mut all: Vec<Value> = table.into_iter().map(|(jwk, _)| jwk).collect();
    all.push(change("alg", json!("ES256")));
    let keys = parse(&all).unwrap();
    assert_eq!(keys.count(), 1);
    let verdict = judge(&keys, &signer.issue(Some("k1"), &claims(json!({}))));
    assert!(matches!(verdict, JwtVerdict::Known(_)));
}

#[test]
fn exponents_that_are_none_make_no_key() {
    let good = Signer::new(Algorithm::RS256).jwk("k1");
    for exponent in ["", "AA", "AQ", "Ag", "AAAA"] {
        let mut jwk = good.clone();
        jwk["e"] = exponent.into();
        assert!(
            parse(&[jwk]).unwrap_err().ends_with("is broken"),
            "{exponent}"
        );
    }
    // A leading zero is a habit, and no mistake.
    let mut padded = good;
    padded["e"] = "AAEAAQ".into();
    let keys = parse(&[padded]).unwrap();
    let token = Signer::new(Algorithm::RS256).issue(Some("k1"), &claims(json!({})));
    assert!(matches!(judge(&keys, &token), JwtVerdict::Known(_)));
}

#[test]
fn duplicate_key_id_takes_the_first_and_keys_are_bounded() {
    let (first, second) = (Signer::new(Algorithm::ES256), Signer::new(Algorithm::ES256));
    let keys = parse(&[first.jwk("k"), second.jwk("k")]).unwrap();
    assert_eq!(keys.count(), 1);
    let by = |signer: &Signer| judge(&keys, &signer.issue(Some("k"), &claims(json!({}))));
    assert!(matches!(by(&first), JwtVerdict::Known(_)));
    assert!(matches!(by(&second), JwtVerdict::Denied(_)));
    let many: Vec<Value> = (0..150).map(|at| first.jwk(&at.to_string())).collect();
    assert_eq!(parse(&many).unwrap().count(), 100);
}

#[test]
fn a_document_without_keys_says_why() {
    for (document, why) in [
        ("", "it is no JSON"),
        ("<html>Sign in</html>", "it is no JSON"),
        ("{}", "it is no key set: it has no list `keys`"),
        ("[]", "it is no key set: it has no list `keys`"),
        (r#"{"keys":{}}"#, "it is no key set: it has no list `keys`"),
        (r#"{"keys":[]}"#, "it holds no keys"),
    ] {
        let refused = Keys::parse(document.as_bytes(), &ALL).unwrap_err();
        assert_eq!(refused, why, "{document}");
    }
    let large = format!("{}{{}}", " ".repeat(64 << 10));
    let refused = Keys::parse(large.as_bytes(), &ALL).unwrap_err();
    assert_eq!(refused, "it is larger than 64 KiB");
    let deep = "[".repeat(60_000);
    assert_eq!(
        Keys::parse(deep.as_bytes(), &ALL).unwrap_err(),
        "it is no JSON"
    );
}
