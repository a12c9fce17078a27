//! The certificates and keys of the cases' world, made once.

use std::io;
use std::sync::OnceLock;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

struct Pair {
    certificate: String,
    key: String,
}

struct World {
    tls: Pair,
    other: Pair,
    expired: Pair,
}

/// What stands in a file of `/etc/crossfade`.
pub fn file(path: &str) -> io::Result<String> {
    static WORLD: OnceLock<World> = OnceLock::new();
    let World {
        tls,
        other,
        expired,
    } = WORLD.get_or_init(|| World {
        tls: pair("app.example", 4000),
        other: pair("other.example", 4000),
        expired: pair("old.example", 2020),
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
        // A proper PEM section with nothing in it that anybody could sign with.
        "strange.key" => "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n".into(),
        "empty.crt" => String::new(),
        "binary.crt" => return Err(io::ErrorKind::InvalidData.into()),
        _ => return Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
    })
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
