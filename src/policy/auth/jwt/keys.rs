//! The keys that verify: one of the configuration, or those of a key set (RFC 7517).

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::Value;

use super::header::{Form, LONGEST_KEY_ID};
use super::signature;
use crate::config::{Jwt, KeySource};

/// Largest key set, bytes.
pub(crate) const LARGEST_SET: usize = 64 << 10;

/// Keys of a set that are taken; those behind them are left out.
const MOST_KEYS: usize = 100;

/// Keys that a token is tried with that names none, or none that has a name.
const MOST_TRIES: usize = 4;

/// What signatures are verified with.
pub struct Keys {
    keys: Vec<Key>,
    /// Whether another key may come yet.
    may_grow: bool,
}

struct Key {
    id: Option<String>,
    /// What it is for; no token has a say in it.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// What keys say of a token's signature.
pub(super) enum Judgement {
    /// One of them has signed it.
    Good,
    /// The one that it names has not, or no other can come.
    Bad(&'static str),
    /// None of them has.
    Unknown,
}

impl Keys {
    /// The key that the configuration holds; `None` where it names a key set.
    pub fn local(jwt: &Jwt) -> Option<Keys> {
        let key = match &jwt.key {
            KeySource::Secret(secret) => DecodingKey::from_secret(secret.0.as_bytes()),
            KeySource::Public(public) => public.key.clone(),
            KeySource::Url(_) => return None,
        };
        let algorithms = fitting(&key, &jwt.algorithms);
        let key = Key {
            id: None,
            algorithms,
            key,
        };
        Some(Keys {
            keys: vec![key],
            may_grow: false,
        })
    }

    /// Those of a key set's document that may be used with one of these algorithms. Others are passed over: of unknown
    /// kinds, for other uses, broken, too weak, and secrets, which no issuer publishes. Of two with one `kid` the first counts.
    ///
    /// # Errors
    /// Why there is none.
    pub fn parse(json: &[u8], allowed: &[Algorithm]) -> Result<Keys, String> {
        if json.len() > LARGEST_SET {
            return Err("it is larger than 64 KiB".to_owned());
        }
        let document: Value = serde_json::from_slice(json).map_err(|_| "it is no JSON")?;
        let listed = document.get("keys").and_then(Value::as_array);
        let listed = listed.ok_or("it is no key set: it has no list `keys`")?;
        let mut keys: Vec<Key> = Vec::new();
        let mut first_flaw = None;
        for jwk in listed {
            match read(jwk, allowed) {
                Ok(key) => {
                    let is_known = key.id.is_some() && keys.iter().any(|other| other.id == key.id);
                    if !is_known && keys.len() < MOST_KEYS {
                        keys.push(key);
                    }
                }
                Err(flaw) => _ = first_flaw.get_or_insert(flaw),
            }
        }
        match (keys.is_empty(), first_flaw) {
            (false, _) => Ok(Keys {
                keys,
                may_grow: true,
            }),
            (true, None) => Err("it holds no keys".to_owned()),
            (true, Some(flaw)) => Err(format!(
                "none of its keys can be used ({}); the first {flaw}",
                listed.len()
            )),
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.keys.len()
    }

    /// Whether one of them has this name.
    pub(crate) fn holds(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(kid))
    }

    /// Whether one of them has signed this. A name chooses one key and no other; where one side has no name, the few that
    /// are for this algorithm are tried.
    pub(super) fn judge(&self, form: &Form<'_>) -> Judgement {
        let message = form.signed.as_bytes();
        let has_signed =
            |key: &Key| signature::is_good(&key.key, form.algorithm, message, &form.signature);
        let named = |key: &&Key| form.key_id.is_some() && key.id == form.key_id;
        if let Some(key) = self.keys.iter().find(named) {
            return match key.algorithms.contains(&form.algorithm) {
                false => Judgement::Bad("the token's algorithm is not that of its key"),
                true if has_signed(key) => Judgement::Good,
                true => Judgement::Bad("the token's signature is not that of its key"),
            };
        }
        let may_be = |key: &&Key| {
            (form.key_id.is_none() || key.id.is_none()) && key.algorithms.contains(&form.algorithm)
        };
        if (self.keys.iter().filter(may_be).take(MOST_TRIES)).any(has_signed) {
            return Judgement::Good;
        }
        match self.may_grow {
            true => Judgement::Unknown,
            false => Judgement::Bad("the token's signature is not that of the key"),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.keys.len())
    }
}

/// One entry of a key set.
fn read(jwk: &Value, allowed: &[Algorithm]) -> Result<Key, &'static str> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    if jwk.get("use").is_some_and(|wanted| wanted != "sig") {
        return Err("is not for signatures");
    }
    let verifies = |all: &Value| {
        all.as_array()
            .is_some_and(|all| all.contains(&"verify".into()))
    };
    if !jwk.get("key_ops").is_none_or(verifies) {
        return Err("is not for verifying");
    }
    let id = match jwk.get("kid") {
        None => None,
        Some(Value::String(id)) if id.len() <= LONGEST_KEY_ID => Some(id.clone()),
        Some(_) => return Err("has a `kid` that is no text of at most 256 bytes"),
    };
    let bytes = |name| {
        let decoded = text(name).map(|text| BASE64_URL_SAFE_NO_PAD.decode(text));
        decoded.and_then(Result::ok).ok_or("is broken")
    };
    let key = match (text("kty"), text("crv")) {
        (Some("RSA"), _) => rsa(&bytes("n")?, &bytes("e")?)?,
        (Some("EC"), Some("P-256")) => point(&bytes("x")?, &bytes("y")?, 32)?,
        (Some("EC"), Some("P-384")) => point(&bytes("x")?, &bytes("y")?, 48)?,
        (Some("OKP"), Some("Ed25519")) => match bytes("x")? {
            x if x.len() == 32 => DecodingKey::from_ed_der(&x),
            _ => return Err("is broken"),
        },
        (Some("oct"), _) => return Err("is a secret, which is never taken from a key set"),
        _ => return Err("is of a kind that is not known here"),
    };
    let mut algorithms = fitting(&key, allowed);
    if let Some(own) = jwk.get("alg") {
        let own = own.as_str().and_then(|name| Algorithm::from_str(name).ok());
        algorithms.retain(|algorithm| Some(*algorithm) == own);
    }
    match algorithms.is_empty() {
        true => Err("is for none of the algorithms that are accepted"),
        false => Ok(Key {
            id,
            algorithms,
            key,
        }),
    }
}

/// Those of the allowed algorithms that a key of this kind is for.
fn fitting(key: &DecodingKey, allowed: &[Algorithm]) -> Vec<Algorithm> {
    let fits = |algorithm: &Algorithm| match key.family() {
        // A point tells its curve by its length.
        AlgorithmFamily::Ec => match key.try_get_as_bytes().map_or(0, <[u8]>::len) {
            65 => *algorithm == Algorithm::ES256,
            97 => *algorithm == Algorithm::ES384,
            _ => false,
        },
        family => algorithm.family() == family,
    };
    allowed.iter().copied().filter(fits).collect()
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<DecodingKey, &'static str> {
    let (n, e) = (without_zeros(modulus), without_zeros(exponent));
    let idle = n.first().map_or(0, |first| first.leading_zeros() as usize);
    match n.len() * 8 - idle {
        0..2048 => Err("is an RSA key of less than 2048 bits"),
        2048..=8192 if e.last().is_some_and(|last| last % 2 == 1) && e != [1] => {
            Ok(DecodingKey::from_rsa_raw_components(n, e))
        }
        2048..=8192 => Err("is broken"),
        _ => Err("is an RSA key of more than 8192 bits"),
    }
}

/// Some publishers write numbers with their sign's zero.
fn without_zeros(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|byte| *byte != 0);
    start.and_then(|start| number.get(start..)).unwrap_or(&[])
}

fn point(x: &[u8], y: &[u8], side: usize) -> Result<DecodingKey, &'static str> {
    match (x.len(), y.len()) == (side, side) {
        true => Ok(DecodingKey::from_ec_der(&[&[4], x, y].concat())),
        false => Err("is broken"),
    }
}
