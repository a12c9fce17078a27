//! Hostile tokens, and the refusals that they get.

mod claims;

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Value, json};

use super::mint::{NOW, SECRET, Signer, auth, claims, encode, jwt};
use super::{judge, why};
use crate::config::{KeySource, PublicKey};
use crate::policy::auth::jwt::{JwtVerdict, Keys, verify};

/// The verdict on a token with this header and payload where HS256 is accepted; the right key has signed it.
fn signed(header: &str, payload: &str) -> JwtVerdict {
    let signer = Signer::new(Algorithm::HS256);
    judge(&signer, &signer.token(header, payload))
}

fn with_header(header: Value) -> JwtVerdict {
    signed(&header.to_string(), &claims(json!({})).to_string())
}

#[test]
fn no_algorithm_is_taken_from_a_token() {
    let none = [
        "none", "None", "NONE", "nOnE", "", "HS257", "hs256", "HS384", "RS256", "A256KW", "dir",
    ];
    for name in none {
        let refused = "the token's algorithm is not accepted";
        assert_eq!(why(with_header(json!({ "alg": name }))), refused, "{name}");
        // And without a signature, which is what `none` is for.
        let header = encode(json!({ "alg": name }).to_string());
        let naked = format!("{header}.{}.", encode(claims(json!({})).to_string()));
        let verdict = judge(&Signer::new(Algorithm::HS256), &naked);
        assert_eq!(why(verdict), refused, "{name}");
    }
    for header in [json!({}), json!({"alg": null}), json!({"alg": ["HS256"]})] {
        assert_eq!(
            why(with_header(header)),
            "the token's algorithm is not accepted"
        );
    }
}

#[test]
fn a_public_key_is_no_secret() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let signer = Signer::new(algorithm);
        let thief = Signer::with_secret(&signer.public_bytes());
        let token = thief.issue(None, &claims(json!({})));
        // A careless file accepts both kinds.
        let policy = jwt(signer.source(), &[algorithm, Algorithm::HS256]);
        let keys = Keys::local(&policy).unwrap();
        let verdict = verify(&auth(), &policy, &keys, &token, NOW);
        assert_eq!(
            why(verdict),
            "the token's signature is not that of the key",
            "{algorithm:?}"
        );
        let set = json!({"keys": [signer.jwk("k1")]}).to_string();
        let keys = Keys::parse(set.as_bytes(), &policy.algorithms).unwrap();
        let token = thief.issue(Some("k1"), &claims(json!({})));
        let verdict = verify(&auth(), &policy, &keys, &token, NOW);
        assert_eq!(
            why(verdict),
            "the token's algorithm is not that of its key",
            "{algorithm:?}"
        );
    }
}

#[test]
fn a_key_id_opens_nothing() {
    let signer = Signer::new(Algorithm::ES256);
    let policy = jwt(signer.source(), &[Algorithm::ES256]);
    let set = json!({"keys": [signer.jwk("k1")]}).to_string();
    let keys = Keys::parse(set.as_bytes(), &policy.algorithms).unwrap();
    let longest = "k".repeat(256);
    for kid in [
        "../../../../dev/null",
        "/dev/null",
        "k1' UNION SELECT 'secret",
        "k1\0",
        "\0",
        "K1",
        " k1",
        "",
        "http://169.254.169.254/latest",
        "$(id)",
        &longest,
    ] {
        let token = signer.issue(Some(kid), &claims(json!({})));
        let verdict = verify(&auth(), &policy, &keys, &token, NOW);
        assert_eq!(verdict, JwtVerdict::UnknownKey(Some(kid.into())), "{kid:?}");
    }
    let too_long = format!("{longest}k");
    for kid in [
        json!(too_long),
        json!(1),
        json!(null),
        json!(["k1"]),
        json!({"k1": "k1"}),
    ] {
        let header = json!({"alg": "ES256", "kid": kid}).to_string();
        let token = signer.token(&header, &claims(json!({})).to_string());
        let verdict = verify(&auth(), &policy, &keys, &token, NOW);
        let refused = "the token's `kid` is no text of at most 256 bytes";
        assert_eq!(why(verdict), refused, "{kid}");
    }
    let token = signer.issue(Some(&"k".repeat(10 << 10)), &claims(json!({})));
    let verdict = verify(&auth(), &policy, &keys, &token, NOW);
    assert_eq!(why(verdict), "the token is longer than 8 KiB");
}

#[test]
fn a_foreign_key_is_not_taken() {
    let (ours, theirs) = (Signer::new(Algorithm::ES256), Signer::new(Algorithm::ES256));
    for header in [
        json!({"jku": "https://evil.test/jwks.json"}),
        json!({"x5u": "https://evil.test/chain.pem"}),
        json!({"jwk": theirs.jwk("k1")}),
        json!({"x5c": ["MIIB"]}),
    ] {
        let mut header = header;
        header["alg"] = "ES256".into();
        let header = header.to_string();
        let payload = claims(json!({})).to_string();
        assert_eq!(
            why(judge(&ours, &theirs.token(&header, &payload))),
            "the token's signature is not that of the key",
            "{header}"
        );
        let honest = judge(&ours, &ours.token(&header, &payload));
        assert!(matches!(honest, JwtVerdict::Known(_)), "{header}");
    }
}

#[test]
fn a_header_changes_nothing_of_what_is_verified() {
    for (member, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", json!(null)),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
    ] {
        let mut header = json!({"alg": "HS256"});
        header[member] = value;
        let text = why(with_header(header));
        assert!(text.contains(&format!("`{member}`")), "{text}");
    }
    for kind in [
        "JWT",
        "jwt",
        "at+jwt",
        "AT+JWT",
        "application/at+jwt",
        "Application/JWT",
    ] {
        let verdict = with_header(json!({"alg": "HS256", "typ": kind}));
        assert!(matches!(verdict, JwtVerdict::Known(_)), "{kind}");
    }
    for kind in [
        json!("logout+jwt"),
        json!("dpop+jwt"),
        json!("secevent+jwt"),
        json!(""),
        json!("JWT "),
        json!("application/application/jwt"),
        json!(1),
        json!(null),
    ] {
        let verdict = with_header(json!({"alg": "HS256", "typ": kind}));
        assert_eq!(
            why(verdict),
            "the token's `typ` is that of something else",
            "{kind}"
        );
    }
    for (header, refused) in [
        (
            r#"{"alg":"HS256","alg":"HS256"}"#,
            "the token's header names a member twice",
        ),
        (
            r#"{"alg":"none","alg":"HS256"}"#,
            "the token's header names a member twice",
        ),
        (
            r#"{"alg":"HS256","\u0061lg":"HS256"}"#,
            "the token's header names a member twice",
        ),
        (
            r#"{"alg":"HS256","x":{"y":1,"y":1}}"#,
            "the token's header names a member twice",
        ),
        (r#"["alg","HS256"]"#, "the token's header is no JSON object"),
        (r#""HS256""#, "the token's header is no JSON object"),
        (r#"{"alg":"HS256"} {}"#, "the token's header is no JSON"),
        (r#"{"alg":"HS256",}"#, "the token's header is no JSON"),
        (r#"{"alg":'HS256'}"#, "the token's header is no JSON"),
        ("", "the token's header is no JSON"),
    ] {
        let verdict = signed(header, &claims(json!({})).to_string());
        assert_eq!(why(verdict), refused, "{header}");
    }
    let deep = format!(
        r#"{{"alg":"HS256","x":{}{}}}"#,
        "[".repeat(64),
        "]".repeat(64)
    );
    let verdict = signed(&deep, &claims(json!({})).to_string());
    assert_eq!(why(verdict), "the token's header is nested too deep");
}

#[test]
fn a_token_has_one_spelling() {
    let signer = Signer::new(Algorithm::HS256);
    let token = signer.issue(None, &claims(json!({})));
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        panic!("three parts");
    };
    let not_three = "the token has not the three parts of a signed one";
    let not_base64 = "a part of the token is not in base64url";
    // The last letter of 32 bytes has two spare bits.
    let (rest, last) = signature.split_at(signature.len() - 1);
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = letters
        .iter()
        .position(|letter| [*letter] == last.as_bytes());
    let spare = format!("{rest}{}", char::from(letters[at.unwrap() + 1]));
    for (token, refused) in [
        (String::new(), not_three),
        ("..".into(), "the token's header is no JSON"),
        (header.into(), not_three),
        (format!("{header}.{payload}"), not_three),
        (format!("{token}.x"), not_three),
        (format!("{token}."), not_three),
        (format!(".{token}"), not_three),
        (format!("{header}.k.i.{payload}.{signature}"), not_three),
        (format!("{token}="), not_base64),
        (format!("{header}==.{payload}.{signature}"), not_base64),
        (format!("{header}.{payload}=.{signature}"), not_base64),
        (format!("{header}.{payload}.{spare}"), not_base64),
        (format!(" {token}"), not_base64),
        (format!("{token}\n"), not_base64),
        (format!("{header}. {payload}.{signature}"), not_base64),
        (format!("{header}.{payload}.+/{signature}"), not_base64),
        (format!("{token}\0"), not_base64),
        (format!("é{token}"), not_base64),
        ("a".repeat((8 << 10) + 1), "the token is longer than 8 KiB"),
    ] {
        assert_eq!(why(judge(&signer, &token)), refused, "{token}");
    }
}

#[test]
fn only_the_key_itself_signs() {
    let algorithms = [
        Algorithm::HS256,
        Algorithm::RS256,
        Algorithm::PS256,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
    ];
    let bad = "the token's signature is not that of the key";
    for algorithm in algorithms {
        let signer = Signer::new(algorithm);
        let token = signer.issue(None, &claims(json!({})));
        let (signed, _) = token.rsplit_once('.').unwrap();
        let good = signer.sign(signed.as_bytes());
        let mut forged = vec![
            Vec::new(),
            vec![0; good.len()],
            vec![0xff; good.len()],
            good[1..].to_vec(),
            [&good[..], &[0]].concat(),
            [&[0], &good[..]].concat(),
        ];
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut flipped = good.clone();
            flipped[at] ^= 1;
            forged.push(flipped);
        }
        for signature in forged {
            let token = format!("{signed}.{}", encode(&signature));
            assert_eq!(
                why(judge(&signer, &token)),
                bad,
                "{algorithm:?} {signature:?}"
            );
        }
        // A valid signature, of another text.
        let other = claims(json!({"sub": "mallory"})).to_string();
        let (header, _) = signed.split_once('.').unwrap();
        let token = format!("{header}.{}.{}", encode(other), encode(&good));
        assert_eq!(why(judge(&signer, &token)), bad, "{algorithm:?}");
    }
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
        let token = Signer::new(algorithm).issue(None, &claims(json!({})));
        assert_eq!(
            why(judge(&Signer::new(algorithm), &token)),
            bad,
            "another key"
        );
    }
    let token = Signer::with_secret(b"another secret").issue(None, &claims(json!({})));
    assert_eq!(
        why(judge(&Signer::with_secret(SECRET.as_bytes()), &token)),
        bad
    );
}

#[test]
fn a_signature_in_der_is_none() {
    let signer = Signer::new(Algorithm::ES256);
    let token = signer.issue(None, &claims(json!({})));
    let (signed, _) = token.rsplit_once('.').unwrap();
    let fixed = signer.sign(signed.as_bytes());
    let integer = |half: &[u8]| [&[2, 33, 0], half].concat();
    let (r, s) = fixed.split_at(32);
    let der = [&[0x30, 70][..], &integer(r), &integer(s)].concat();
    let token = format!("{signed}.{}", encode(der));
    let bad = "the token's signature is not that of the key";
    assert_eq!(why(judge(&signer, &token)), bad);
}

/// By an RSA key of 1024 bits, and otherwise valid.
const WEAK_MODULUS: &str = "8EGyvTPa2E49IgAdAHTpU4BQRBBaS-HN6Yh1DeWIXC0erE79snV6QJbk5sOW_eTuuBr8JHQ3zdv0XaZy9tK340ImpxzK5sxKKp6GmbOdgBhkpGWMsn_G66NwQxtpDCjFtYIdy5D_WNFqNAsqtGRJqJThfjcTV-lXqZf29zGiiBs";
const WEAK_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkcC50ZXN0IiwiYXVkIjoiYXBwIiwic3ViIjoiYWxpY2UiLCJleHAiOjE3MDAwMDAzMDB9.6kVc1NmdFWHESc7Qfr825CJm1K1kUbV6Z6TXjMRG-voCGrbRMrYD72-1fiKDSlLg_WAmCEf9gyTQQGfiPPPmMLLhwy8Qbpeu19SW78-uDfHzrfR3ZK5YXM3MoOkT53pIBhqB3SoeivsFwHkF3Lk5Jl5jQbvQ5TqWJ6hyr1U4Zrk";

#[test]
fn a_key_that_can_be_guessed_admits_no_user() {
    let print = [0; 32];
    let key = DecodingKey::from_rsa_components(WEAK_MODULUS, "AQAB").unwrap();
    let policy = jwt(
        KeySource::Public(PublicKey { key, print }),
        &[Algorithm::RS256],
    );
    let keys = Keys::local(&policy).unwrap();
    let verdict = verify(&auth(), &policy, &keys, WEAK_TOKEN, NOW);
    assert_eq!(why(verdict), "the token's signature is not that of the key");
    let set = json!({"keys": [{"kty": "RSA", "n": WEAK_MODULUS, "e": "AQAB"}]}).to_string();
    let refused = Keys::parse(set.as_bytes(), &[Algorithm::RS256]).unwrap_err();
    assert!(
        refused.ends_with("is an RSA key of less than 2048 bits"),
        "{refused}"
    );
}
