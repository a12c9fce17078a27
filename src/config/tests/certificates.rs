//! The files that the cases may read: certificates and keys, made once, and API keys.

use std::io;
use std::sync::OnceLock;

use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    SignatureAlgorithm, date_time_ymd,
};

struct Pair {
    certificate: String,
    key: String,
}

struct World {
    tls: Pair,
    other: Pair,
    expired: Pair,
    p256: String,
    p384: String,
    ed25519: String,
}

/// What stands in a file of `/etc/crossfade`.
pub(crate) fn file(path: &str) -> io::Result<String> {
    static WORLD: OnceLock<World> = OnceLock::new();
    let World {
        tls,
        other,
        expired,
        p256,
        p384,
        ed25519,
    } = WORLD.get_or_init(|| World {
        tls: pair("app.example", 4000),
        other: pair("other.example", 4000),
        expired: pair("old.example", 2020),
        p256: public(&PKCS_ECDSA_P256_SHA256),
        p384: public(&PKCS_ECDSA_P384_SHA384),
        ed25519: public(&PKCS_ED25519),
    });
    let half = |text: &str| text[..text.len() / 2].to_owned();
    Ok(match path.trim_start_matches("/etc/crossfade/") {
        "tls.crt" => tls.certificate.clone(),
        "tls.key" => tls.key.clone(),
        "other.crt" | "clients.crt" | "backends.crt" => other.certificate.clone(),
        "expired.crt" => expired.certificate.clone(),
        "expired.key" => expired.key.clone(),
        "cut.crt" => half(&tls.certificate),
        "cut.key" => half(&tls.key),
        "encrypted.key" => tls.key.replace("PRIVATE", "ENCRYPTED PRIVATE"),
        // A proper PEM section without a key in it.
        "strange.key" => "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n".into(),
        "p256.pem" => p256.clone(),
        "p384.pem" => p384.clone(),
        "ed25519.pem" => ed25519.clone(),
        "rsa.pem" => RSA.into(),
        "rsa1024.pem" => RSA_1024.into(),
        "rsa_old.pem" => RSA_OLD.into(),
        "secp256k1.pem" => SECP256K1.into(),
        "cut.pem" => half(p256),
        "empty.crt" => String::new(),
        "api.keys" => include_str!("api.keys").into(),
        "broken.keys" => include_str!("broken.keys").into(),
        "binary.crt" => return Err(io::ErrorKind::InvalidData.into()),
        _ => return Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
    })
}

fn public(kind: &'static SignatureAlgorithm) -> String {
    KeyPair::generate_for(kind).expect("a key").public_key_pem()
}

fn pair(name: &str, until: i32) -> Pair {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
    params.not_before = date_time_ymd(2019, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    Pair {
        certificate: params.self_signed(&key).expect("a certificate").pem(),
        key: key.serialize_pem(),
    }
}

/// RSA keys take long to make; these are public halves without their private ones.
const RSA: &str = "-----BEGIN PUBLIC KEY-----\n\
     MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr8OyavHEzY11/AfWInyb\n\
     1ydFPs/01gXbIhkJJFUhSCkSMqmkkhIhVVoB7qCJcbOIUkMiiD7ytWVZyVW0PZjL\n\
     dMx+d/awOpBjMWIADM4FDRXg1261gf3JutsndZmfp5dCxSWSsXHbomFFIvl4Znf2\n\
     jEqqLIWjDydh4biKkle3439F/xbbJsn20Pb2Fq0CrvsLLwcdTbph7r0vCTIPJ+ge\n\
     hzx/djvDjtOM93UYGe9ODUYl/mrPKAJH/xIL1ey5FZws1YUB5govInYNIIodX1ts\n\
     5FqcaJyGxTBJl4+iJ4nhYr4xW3+z2KfBNqz0xCn5/T1jNiJDPqX9F4+KaOyzDU0D\n\
     1wIDAQAB\n\
     -----END PUBLIC KEY-----\n";
const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----\n\
     MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDOsdzTpCimdye49vFhPIl/ATvK\n\
     wzu+hXgT6sSIIIPBDocWDDDDkRJPOocstMyUWp5jsk00pnS9KZ5l132zRSw3GXB0\n\
     cyYquDyg8icWpilIdXaLsFr/fjwPvzEtpiKNLrsSllnrC/Qr96YJDweDK4gAmDuF\n\
     uDcgv2D3iwsmahVpswIDAQAB\n\
     -----END PUBLIC KEY-----\n";
const RSA_OLD: &str = "-----BEGIN RSA PUBLIC KEY-----\n\
     MIIBCgKCAQEAq32tZovgIHEZH7c4RxkTIaUS8DkpjiTcOUP4E7BIDXKlvEag4VxK\n\
     Y5VEch9561dEjT5eXalpqmWHVFtkTWjdRDX6zZPI8AKKrZ9l9/4qiCrLjHmVXsDy\n\
     Tap45kQg27HWL45A797d1ABRsk5FqxPIxzp7+8QgSscHL7FUQaE/HOav3Np+89QI\n\
     OweAeeLaM/JrLIQIq8ATjkwg4/sLrr1SVnUeMXA4B54Nn1bF8Pf4ieQTnKMSwext\n\
     1r4L1zwvYJGLvVyNc8vXltGhAjF7GWD41HtZln17y96DIBeRrVrrRIfgmfoKb4rt\n\
     icue3INlwE4ep4f/5MLXI0dK1HlJ0IGG0wIDAQAB\n\
     -----END RSA PUBLIC KEY-----\n";
/// A curve of the right length that no token is signed on.
const SECP256K1: &str = "-----BEGIN PUBLIC KEY-----\n\
     MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAE8xgX1ClGRzCmZ+ulqFs/gLVZHWooh7RT\n\
     JRTNFR5CPLo5OlS7mcY5k0M4OD70Z+dK39vizPQLA9AHdYNFf78A4Q==\n\
     -----END PUBLIC KEY-----\n";
