//! A token of any client, before a key that is not the client's: whatever it looks like, it is not accepted.

#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crossfade::config::{Jwt, KeySource, Secret};
use crossfade::policy::auth::jwt::{JwtVerdict, Keys, verify};
use jsonwebtoken::Algorithm;
use libfuzzer_sys::fuzz_target;

/// A policy, its secret, and a key set that may yet grow.
static WORLD: LazyLock<(Arc<str>, Jwt, Keys, Keys)> = LazyLock::new(|| {
    let jwt = Jwt {
        issuer: Some(vec!["https://idp.test".into()]),
        audience: None,
        algorithms: vec![Algorithm::HS256, Algorithm::ES256],
        key: KeySource::Secret(Secret("nobody who fuzzes has found this".into())),
        leeway: Duration::from_secs(5),
        user: "sub".into(),
        tenant: "/a/b".into(),
        roles: "roles".into(),
    };
    // The base point of P-256: a key like any other, as long as no fuzzer can sign by it.
    let set = br#"{"keys":[{"kty":"EC","crv":"P-256","kid":"k1",
        "x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
        "y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"},{"kty":"oct","k":"c2VjcmV0"}]}"#;
    let local = Keys::local(&jwt).expect("a secret");
    let set = Keys::parse(set, &jwt.algorithms).expect("one key");
    ("main".into(), jwt, local, set)
});

// The input is a token, and a key set, and three parts that are still to be written in base64url.
fuzz_target!(|input: &[u8]| {
    let (auth, jwt, local, set) = &*WORLD;
    let _ = Keys::parse(input, &jwt.algorithms);
    let whole = String::from_utf8_lossy(input);
    let parts: Vec<String> = input.split(|byte| *byte == b'\n').map(encode).collect();
    for token in [&*whole, &parts.join(".")] {
        for keys in [local, set] {
            let verdict = verify(auth, jwt, keys, token, 1_700_000_000);
            assert!(!matches!(verdict, JwtVerdict::Known(_)));
        }
    }
});

fn encode(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let at = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for letter in 0..=three.len() {
            text.push(char::from(
                LETTERS[(bits >> (18 - 6 * letter)) as usize & 63],
            ));
        }
    }
    text
}
