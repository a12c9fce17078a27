use std::fmt;

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use rustls::pki_types::alg_id;
use sha2::{Digest, Sha256};

use crate::config::parser::pem::Pem;

/// A public key that was read from PEM.
#[derive(Clone)]
pub struct PublicKey {
    /// Ready to verify with.
    pub(crate) key: DecodingKey,
    /// SHA-256 of the PEM text.
    pub(crate) print: [u8; 32],
}

impl PublicKey {
    /// Reads it; `None` (reported) where there is none that signatures can be verified with.
    pub(super) fn read(pem: &Pem<'_>) -> Option<PublicKey> {
        let key = pem.public_key()?;
        let Some(key) = understand(&key) else {
            pem.refuse(
                "holds a public key of a kind that is not supported",
                "use RSA of 2048 to 8192 bits, ECDSA on P-256 or P-384, or Ed25519",
            );
            return None;
        };
        Some(PublicKey {
            key,
            print: Sha256::digest(&pem.text).into(),
        })
    }

    /// What it is used with where the file does not say.
    pub(super) fn algorithm(&self) -> Algorithm {
        let length = self.key.try_get_as_bytes().map_or(0, <[u8]>::len);
        match self.key.family() {
            AlgorithmFamily::Rsa => Algorithm::RS256,
            AlgorithmFamily::Ec if length == POINT_256 => Algorithm::ES256,
            AlgorithmFamily::Ec => Algorithm::ES384,
            AlgorithmFamily::Ed => Algorithm::EdDSA,
            AlgorithmFamily::Hmac => Algorithm::HS256,
        }
    }

    /// Whether signatures of this kind can be by it.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        match self.key.family() {
            AlgorithmFamily::Rsa => algorithm.family() == AlgorithmFamily::Rsa,
            _ => algorithm == self.algorithm(),
        }
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &PublicKey) -> bool {
        self.print == other.print
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey")
    }
}

/// The key inside a `SubjectPublicKeyInfo` (RFC 5280): `{{algorithm}, BIT STRING}`.
fn understand(der: &[u8]) -> Option<DecodingKey> {
    let (info, _) = element(der, SEQUENCE)?;
    let (algorithm, rest) = element(info, SEQUENCE)?;
    let (bits, _) = element(rest, BIT_STRING)?;
    let key = bits.strip_prefix(&[0])?;
    let is = |id: &[u8]| algorithm == id;
    if is(&alg_id::RSA_ENCRYPTION) {
        let (numbers, _) = element(key, SEQUENCE)?;
        let (modulus, _) = element(numbers, INTEGER)?;
        let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
        let is_fitting = (256..=1024).contains(&modulus.len());
        return is_fitting.then(|| DecodingKey::from_rsa_der(key));
    }
    let is_point = |length: usize| key.first() == Some(&4) && key.len() == length;
    if is(&alg_id::ECDSA_P256) && is_point(POINT_256)
        || is(&alg_id::ECDSA_P384) && is_point(POINT_384)
    {
        return Some(DecodingKey::from_ec_der(key));
    }
    let is_ed25519 = is(&alg_id::ED25519) && key.len() == 32;
    is_ed25519.then(|| DecodingKey::from_ed_der(key))
}

/// Points are uncompressed: 4, and both coordinates.
const POINT_256: usize = 1 + 2 * 32;
const POINT_384: usize = 1 + 2 * 48;

const INTEGER: u8 = 2;
const BIT_STRING: u8 = 3;
const SEQUENCE: u8 = 0x30;

/// What a DER element with this tag holds, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(first) {
        short @ 0..=127 => (short, rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(long & 127)?;
            if bytes.len() > 2 {
                return None;
            }
            let length = bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (length, rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    (found == tag).then_some((content, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{KeyPair, PublicKeyData};

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_key_or_none(bytes: Vec<u8>) {
            let _ = understand(&bytes);
        }

        #[test]
        fn a_key_with_broken_bytes_is_a_key_or_none(at in 0_usize..91, byte: u8, end in 0_usize..=91) {
            let mut der = KeyPair::generate().expect("a key").subject_public_key_info();
            der[at] = byte;
            der.truncate(end);
            let _ = understand(&der);
        }
    }
}
