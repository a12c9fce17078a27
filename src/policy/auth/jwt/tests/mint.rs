//! Signers of test tokens, and their keys as a file names them.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as URL_SAFE};
use jsonwebtoken::{Algorithm, DecodingKey};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair};
use serde_json::{Map, Value, json};

use crate::config::{Jwt, KeySource, PublicKey, Secret};

/// The hour in which these tests take place.
pub(in crate::policy::auth) const NOW: u64 = 1_700_000_000;

pub(in crate::policy::auth) const SECRET: &str = "a secret of more than thirty-two bytes";

/// Signs, with an algorithm of its own.
pub(in crate::policy::auth) struct Signer {
    pub(in crate::policy::auth) algorithm: Algorithm,
    key: Pair,
}

enum Pair {
    Secret(Vec<u8>),
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    /// A new key of the algorithm's kind; of RSA the stored one, because ring makes none.
    pub(in crate::policy::auth) fn new(algorithm: Algorithm) -> Signer {
        let random = SystemRandom::new();
        let ecdsa = |kind| {
            let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
            Pair::Ec(EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap())
        };
        let key = match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                Pair::Secret(SECRET.as_bytes().to_vec())
            }
            Algorithm::ES256 => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::ES384 => ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::EdDSA => {
                let document = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                Pair::Ed(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
            }
            _ => {
                let lines = include_str!("rsa.pem").lines();
                let text: String = lines.filter(|line| !line.starts_with('-')).collect();
                let document = BASE64_STANDARD.decode(text).unwrap();
                Pair::Rsa(Box::new(RsaKeyPair::from_pkcs8(&document).unwrap()))
            }
        };
        Signer { algorithm, key }
    }

    /// The same, with this secret.
    pub(in crate::policy::auth) fn with_secret(secret: &[u8]) -> Signer {
        let (algorithm, key) = (Algorithm::HS256, Pair::Secret(secret.to_vec()));
        Signer { algorithm, key }
    }

    pub(in crate::policy::auth) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Pair::Secret(secret) => {
                let hash = match self.algorithm {
                    Algorithm::HS384 => hmac::HMAC_SHA384,
                    Algorithm::HS512 => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                let tag = hmac::sign(&hmac::Key::new(hash, secret), message);
                tag.as_ref().to_vec()
            }
            Pair::Rsa(key) => {
                let padding: &dyn RsaEncoding = match self.algorithm {
                    Algorithm::RS384 => &signature::RSA_PKCS1_SHA384,
                    Algorithm::RS512 => &signature::RSA_PKCS1_SHA512,
                    Algorithm::PS256 => &signature::RSA_PSS_SHA256,
                    Algorithm::PS384 => &signature::RSA_PSS_SHA384,
                    Algorithm::PS512 => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signed = vec![0; key.public().modulus_len()];
                key.sign(padding, &random, message, &mut signed).unwrap();
                signed
            }
            Pair::Ec(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// A token of these very texts.
    pub(in crate::policy::auth) fn token(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(payload));
        let signature = encode(self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// A token with this `kid` that says this.
    pub(in crate::policy::auth) fn issue(&self, kid: Option<&str>, claims: &Value) -> String {
        let mut header = json!({"alg": format!("{:?}", self.algorithm), "typ": "JWT"});
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        self.token(&header.to_string(), &claims.to_string())
    }

    /// What verifies.
    pub(in crate::policy::auth) fn public(&self) -> DecodingKey {
        match &self.key {
            Pair::Secret(secret) => DecodingKey::from_secret(secret),
            Pair::Rsa(key) => DecodingKey::from_rsa_der(key.public().as_ref()),
            Pair::Ec(key) => DecodingKey::from_ec_der(key.public_key().as_ref()),
            Pair::Ed(key) => DecodingKey::from_ed_der(key.public_key().as_ref()),
        }
    }

    /// The public key's bytes as they are published.
    pub(in crate::policy::auth) fn public_bytes(&self) -> Vec<u8> {
        self.public().try_get_as_bytes().unwrap().to_vec()
    }

    /// As an entry of a key set.
    pub(in crate::policy::auth) fn jwk(&self, kid: &str) -> Value {
        let mut jwk = match &self.key {
            Pair::Secret(secret) => json!({"kty": "oct", "k": encode(secret)}),
            Pair::Rsa(key) => {
                let PublicKeyComponents { n, e } =
                    PublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({"kty": "RSA", "n": encode(n), "e": encode(e)})
            }
            Pair::Ec(key) => {
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
            }
            Pair::Ed(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key())})
            }
        };
        jwk["kid"] = kid.into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// As the file names it.
    pub(in crate::policy::auth) fn source(&self) -> KeySource {
        match &self.key {
            Pair::Secret(secret) => {
                KeySource::Secret(Secret(String::from_utf8(secret.clone()).unwrap()))
            }
            _ => KeySource::Public(PublicKey {
                key: self.public(),
                print: [0; 32],
            }),
        }
    }
}

pub(in crate::policy::auth) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE.encode(bytes)
}

/// A valid token's claims, with these in their place; `null` takes one out.
pub(in crate::policy::auth) fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": "https://idp.test", "aud": "app", "sub": "alice", "exp": NOW + 300, "iat": NOW,
        "tenant": "t1", "roles": ["user", "editor"], "jti": "j1",
    });
    let all: &mut Map<String, Value> = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value.is_null() {
            true => _ = all.remove(name),
            false => _ = all.insert(name.clone(), value.clone()),
        }
    }
    claims
}

/// The policy that accepts these.
pub(in crate::policy::auth) fn jwt(key: KeySource, algorithms: &[Algorithm]) -> Jwt {
    Jwt {
        issuer: Some(vec!["https://idp.test".into()]),
        audience: Some(vec!["app".into(), "other".into()]),
        algorithms: algorithms.to_vec(),
        key,
        leeway: Duration::from_secs(5),
        user: "sub".into(),
        tenant: "tenant".into(),
        roles: "roles".into(),
    }
}

pub(in crate::policy::auth) fn auth() -> Arc<str> {
    "main".into()
}
