//! Policies and the credentials that they take.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::JSON;

const SECRET: &str = "a secret that is longer than thirty-two bytes";

/// A policy of `[auth]`.
#[derive(Clone)]
pub struct Policy {
    pub name: &'static str,
    pub text: String,
}

impl Policy {
    /// The same under another name.
    pub fn named(self, name: &'static str) -> Self {
        let (old, new) = (format!("[auth.{}]", self.name), format!("[auth.{name}]"));
        let text = self.text.replace(&old, &new);
        Policy { name, text }
    }

    /// With one more line of its table, or one in place of that key's.
    pub fn line(self, line: &str) -> Self {
        let mut policy = self.without(key(line));
        policy.text += &format!("{line}\n");
        policy
    }

    /// Without the line of this key.
    pub fn without(mut self, name: &str) -> Self {
        let kept = self.text.lines().filter(|line| key(line) != name);
        self.text = kept.map(|line| format!("{line}\n")).collect();
        self
    }
}

/// The key of a line.
pub fn key(line: &str) -> &str {
    line.split('=').next().unwrap().trim()
}

/// Tokens of the login.
const LOGIN: &str = r#"
[auth.login]
kind = "jwt"
issuer = "https://login.test"
audience = "app"
secret = "a secret that is longer than thirty-two bytes"
leeway = "0s"
claims = {user = "sub", tenant = "tenantId", roles = "roles"}
identity = {user = "X-User", tenant = "X-Tenant", roles = "X-Roles"}
"#;

/// The policy `login`: tokens, which [`token`] makes.
pub fn jwt() -> Policy {
    login(LOGIN)
}

/// The policy `login` with a text of its own.
pub fn login(text: &str) -> Policy {
    Policy {
        name: "login",
        text: text.to_owned(),
    }
}

pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// A token of the login; these claims in place of its own, `null` takes one out.
pub fn token(changes: Value) -> String {
    let header = encode(json!({"alg": "HS256", "typ": "JWT"}).to_string());
    let signed = format!("{header}.{}", encode(claims(changes).to_string()));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", encode(mac.finalize().into_bytes()))
}

/// A good token's claims, changed.
pub fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": "https://login.test", "aud": "app", "sub": "alice",
        "exp": now() + 3600, "iat": now(),
    });
    let all = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value.is_null() {
            true => _ = all.remove(name),
            false => _ = all.insert(name.clone(), value.clone()),
        }
    }
    claims
}

/// A good token of this user.
pub fn token_of(user: &str) -> String {
    token(json!({ "sub": user }))
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}")
}

/// The subprotocols of a JSON client with its token among them.
pub fn item(token: &str) -> String {
    format!("{JSON}, cf.bearer.{}", encode(token))
}

pub const ALICE: &str = "cfk_alice_00000000000000000000000000000001";
pub const BOB: &str = "cfk_bob_00000000000000000000000000000002";

/// `[auth.keys]`: alice is an admin, bob is not. `lines` follow in the same table.
pub fn keys(lines: &str) -> String {
    let line = |key: &str, id: &str, rest: &str| {
        let hash: String = Sha256::digest(key)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("\"{id} sha256:{hash} user={id} {rest}\"")
    };
    let alice = line(ALICE, "alice", "tenant=acme roles=admin,staff");
    let bob = line(BOB, "bob", "tenant=acme roles=staff");
    format!("[auth.keys]\nkind = \"api_key\"\nkeys = [{alice}, {bob}]\n{lines}\n")
}

/// The field that carries a key over HTTP.
pub fn by(key: &str) -> String {
    format!("X-Api-Key: {key}\r\n")
}

/// The same for [`Socket::open`].
pub fn key_field(key: &str) -> String {
    format!("x-api-key: {key}")
}
