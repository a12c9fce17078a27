//! Whether a key has signed something.
//!
//! ring is asked directly, not through jsonwebtoken: its hook for other engines wants signers and key conversions beside
//! the verifiers, installed once for the whole process, and its validation reads the clock. Of it there are the names of
//! the algorithms and the keys, PEM among them.

use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::hmac;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};

/// Whether `signature` is this key's over `message`. Secrets are compared in constant time; of RSA only keys of 2048 to
/// 8192 bits count, of the curves only signatures of fixed length.
pub(super) fn is_good(
    key: &DecodingKey,
    algorithm: Algorithm,
    message: &[u8],
    signature: &[u8],
) -> bool {
    // A public key is never a secret, whatever came before.
    if key.family() != algorithm.family() {
        return false;
    }
    let secret = |hash| is_secrets(key, hash, message, signature);
    let rsa = |parameters| is_rsa(key, parameters, message, signature);
    let curve = |curve: &'static dyn signature::VerificationAlgorithm| {
        let point = key.try_get_as_bytes();
        point.is_ok_and(|point| {
            let key = UnparsedPublicKey::new(curve, point);
            key.verify(message, signature).is_ok()
        })
    };
    match algorithm {
        Algorithm::HS256 => secret(hmac::HMAC_SHA256),
        Algorithm::HS384 => secret(hmac::HMAC_SHA384),
        Algorithm::HS512 => secret(hmac::HMAC_SHA512),
        Algorithm::RS256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => rsa(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => rsa(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => rsa(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => curve(&signature::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => curve(&signature::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => curve(&signature::ED25519),
        _ => false,
    }
}

fn is_secrets(key: &DecodingKey, hash: hmac::Algorithm, message: &[u8], signature: &[u8]) -> bool {
    let secret = key.try_get_as_bytes();
    secret
        .is_ok_and(|secret| hmac::verify(&hmac::Key::new(hash, secret), message, signature).is_ok())
}

fn is_rsa(
    key: &DecodingKey,
    parameters: &'static RsaParameters,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let verified = match key.kind() {
        DecodingKeyKind::SecretOrDer(der) => {
            UnparsedPublicKey::new(parameters, der).verify(message, signature)
        }
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
        }
    };
    verified.is_ok()
}
