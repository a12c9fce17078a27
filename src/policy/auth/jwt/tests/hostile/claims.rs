//! Hostile claims.

use serde_json::{Value, json};

use super::super::mint::{NOW, claims};
use super::super::why;
use super::{signed, with_header};
use crate::policy::auth::AuthError;
use crate::policy::auth::jwt::JwtVerdict;

fn with_claims(changes: Value) -> JwtVerdict {
    signed(r#"{"alg":"HS256"}"#, &claims(changes).to_string())
}

#[test]
fn a_token_says_everything_once_and_in_its_kind() {
    for (changes, refused) in [
        (json!({"exp": null}), "the token has no `exp`"),
        (json!({"iss": null}), "the token has no `iss`"),
        (json!({"aud": null}), "the token has no `aud`"),
        (json!({"sub": null}), "the token has no `sub`"),
        (json!({"sub": ""}), "the token has no `sub`"),
        (
            json!({"exp": (NOW + 300).to_string()}),
            "the token's `exp` is no time",
        ),
        (json!({"exp": -1}), "the token's `exp` is no time"),
        (json!({"exp": 1e300}), "the token's `exp` is no time"),
        (json!({"exp": u64::MAX}), "the token's `exp` is no time"),
        (json!({"exp": true}), "the token's `exp` is no time"),
        (json!({"exp": [NOW + 300]}), "the token's `exp` is no time"),
        (json!({"nbf": "0"}), "the token's `nbf` is no time"),
        (
            json!({"nbf": NOW + 6}),
            "the token is not valid yet (`nbf`)",
        ),
        (json!({"iat": {}}), "the token's `iat` is no time"),
        (
            json!({"iat": NOW + 6}),
            "the token was issued in the future (`iat`): a clock is wrong",
        ),
        (
            json!({"iss": "https://idp.test/"}),
            "the token's `iss` is another",
        ),
        (
            json!({"iss": "https://IDP.test"}),
            "the token's `iss` is another",
        ),
        (
            json!({"iss": ["https://idp.test"]}),
            "the token's `iss` is another",
        ),
        (json!({"aud": "apps"}), "the token's `aud` is another"),
        (json!({"aud": []}), "the token's `aud` is another"),
        (
            json!({"aud": ["a", "b", 3]}),
            "the token's `aud` is another",
        ),
        (
            json!({"aud": {"app": "app"}}),
            "the token's `aud` is another",
        ),
        (json!({"sub": ["alice"]}), "the token's `sub` is no name"),
        (json!({"sub": true}), "the token's `sub` is no name"),
        (
            json!({"sub": "alice\r\nX-Roles: admin"}),
            "the token's `sub` is no name",
        ),
        (json!({"sub": "alice\u{0}"}), "the token's `sub` is no name"),
        (
            json!({"tenant": ["t1", "t2"]}),
            "the token's `tenant` is no name",
        ),
        (
            json!({"roles": ["user", {"admin": true}]}),
            "the token's `roles` is no name",
        ),
        (
            json!({"roles": {"admin": true}}),
            "the token's `roles` is no name",
        ),
        (json!({"jti": ["j1"]}), "the token's `jti` is no name"),
    ] {
        assert_eq!(why(with_claims(changes.clone())), refused, "{changes}");
    }
    let good = claims(json!({})).to_string();
    for name in ["nbf", "iat", "jti", "sub", "tenant", "roles"] {
        let mut all = claims(json!({}));
        all[name] = json!("LONG");
        let long = all.to_string().replace("\"LONG\"", "18446744073709551617");
        let verdict = signed(r#"{"alg":"HS256"}"#, &long);
        let refused = format!("the token's `{name}` is no exact value");
        assert_eq!(why(verdict), refused);
    }
    let after = |more: &str| good.replacen('{', &format!("{{{more},"), 1);
    let twice = "what the token says names a member twice";
    let deep = format!(r#""x":{}{}"#, "[".repeat(100), "]".repeat(100));
    for (payload, refused) in [
        (after(r#""exp":9999999999"#), twice),
        (after(r#""\u0065xp":9999999999"#), twice),
        (after(r#""roles":["admin"]"#), twice),
        (after(r#""sub":"mallory""#), twice),
        (after(r#""realm":{"roles":[],"roles":["admin"]}"#), twice),
        (after(r#""x":[{"y":1,"y":2}]"#), twice),
        (after(&deep), "what the token says is nested too deep"),
        (after(r#""x":1e999"#), "what the token says is no JSON"),
        (after(r#""x":"\ud800""#), "what the token says is no JSON"),
        (after(r#""x":NaN"#), "what the token says is no JSON"),
        (format!("[{good}]"), "what the token says is no JSON object"),
        (format!("{good}{good}"), "what the token says is no JSON"),
        (format!("\u{feff}{good}"), "what the token says is no JSON"),
        ("null".into(), "what the token says is no JSON object"),
        (String::new(), "what the token says is no JSON"),
    ] {
        let verdict = signed(r#"{"alg":"HS256"}"#, &payload);
        assert_eq!(why(verdict), refused, "{payload}");
    }
}

#[test]
fn an_expired_credential_has_nothing_else_to_fix() {
    for end in [
        json!(NOW - 5),
        json!(0),
        json!(1.5),
        json!(NOW as f64 - 5.0),
    ] {
        let verdict = with_claims(json!({"exp": end}));
        assert_eq!(verdict, JwtVerdict::Denied(AuthError::Expired), "{end}");
    }
    let verdict = with_claims(json!({"exp": NOW - 5, "aud": "another"}));
    assert_eq!(why(verdict), "the token's `aud` is another");
}

#[test]
fn a_refusal_quotes_nothing() {
    let canary = "canary-7f3a";
    let changes = [
        json!({"iss": canary}),
        json!({"aud": canary}),
        json!({"exp": canary}),
        json!({"sub": [canary]}),
        json!({"roles": [[canary]]}),
    ];
    for verdict in changes.map(with_claims) {
        let text = why(verdict);
        assert!(!text.contains(canary), "{text}");
    }
    for header in [
        json!({"alg": canary}),
        json!({"alg": "HS256", "typ": canary}),
        json!({"alg": "HS256", "kid": [canary]}),
        json!({"alg": "HS256", "crit": [canary]}),
    ] {
        let text = why(with_header(header));
        assert!(!text.contains(canary), "{text}");
    }
}
