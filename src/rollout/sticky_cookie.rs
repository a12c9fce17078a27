//! The signed sticky cookie `crossfade_unit`. Pure: randomness and the secret are arguments.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The cookie's name.
pub(crate) const COOKIE: &str = "crossfade_unit";

/// A new unit made of these random bytes, and the cookie's value for it: `<unit>.<signature>`, both url-safe base64.
pub fn mint(secret: &[u8], random: [u8; 16]) -> (String, String) {
    let unit = URL_SAFE_NO_PAD.encode(random);
    let signature = URL_SAFE_NO_PAD.encode(sign(secret, &unit).finalize().into_bytes());
    let value = format!("{unit}.{signature}");
    (unit, value)
}

/// The unit inside a cookie's value, where the signature is ours; compared in constant time.
pub(crate) fn verify(secret: &[u8], value: &str) -> Option<String> {
    let (unit, signature) = value.split_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    sign(secret, unit).verify_slice(&signature).ok()?;
    Some(unit.to_owned())
}

/// The name of the cookie is signed too, so that no other value signed with this secret passes for a unit.
fn sign(secret: &[u8], unit: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(COOKIE.as_bytes());
    mac.update(b"|");
    mac.update(unit.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_cookie_gives_its_unit_back() {
        let (unit, value) = mint(b"secret", [7; 16]);
        assert_eq!(verify(b"secret", &value), Some(unit));
    }

    #[test]
    fn nothing_else_does() {
        let (unit, value) = mint(b"secret", [7; 16]);
        let (_, other) = mint(b"secret", [8; 16]);
        let signature = other.split_once('.').unwrap().1;
        for forged in [
            String::new(),
            unit.clone(),
            format!("{unit}."),
            format!("{unit}.{signature}"),
            format!("{value}x"),
            format!(" {value}"),
            format!("{value}="),
            format!("{value}.{value}"),
            value.replace('.', ""),
        ] {
            assert_eq!(verify(b"secret", &forged), None, "{forged:?}");
        }
        assert_eq!(verify(b"another", &value), None);
    }
}
