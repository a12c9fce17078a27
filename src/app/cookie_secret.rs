//! The secret that signs cookies where the configuration has none: kept, else random for this life.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::Config;
use crate::storage::{self, PRIVATE, write_whole};
use crate::telemetry::Telemetry;

/// The file's name in `state_dir`.
const FILE: &str = "secret";

/// Bytes of a secret that we make.
const LENGTH: usize = 32;

/// Finds the secret, or makes one. One that would not outlive this process, or that other instances cannot know, is warned of.
pub(crate) fn find(config: &Config, state_dir: Option<&Path>, telemetry: &Telemetry) -> Vec<u8> {
    let is_needed = config.server.secret.is_none();
    let Some(path) = state_dir.map(|dir| dir.join(FILE)) else {
        if is_needed {
            telemetry.life.secret_is_random();
        }
        return make();
    };
    match read(&path) {
        Ok(Some(secret)) => return secret,
        Ok(None) => {}
        Err(why) => {
            let aside = storage::set_aside(&path, SystemTime::now());
            telemetry.life.state_corrupt(&path, &why, aside.as_deref());
        }
    }
    let secret = make();
    let text = URL_SAFE_NO_PAD.encode(&secret);
    if let Err(error) = write_whole(&path, text.as_bytes(), PRIVATE) {
        telemetry.life.state_not_kept(&path, &error);
    }
    secret
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    match URL_SAFE_NO_PAD.decode(text.trim()) {
        // Another version may make longer ones.
        Ok(secret) if secret.len() >= LENGTH => Ok(Some(secret)),
        _ => Err("it holds no secret".to_owned()),
    }
}

fn make() -> Vec<u8> {
    let mut secret = vec![0; LENGTH];
    // A system without randomness cannot sign anything; better no start than a secret that can be guessed.
    getrandom::fill(&mut secret).expect("the system gives random bytes");
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(dir: Option<&Path>) -> Vec<u8> {
        let text = "[upstream.app]\nservers = [\"http://127.0.0.1:9\"]\n[[route]]\npath = \"/\"\nupstream = \"app\"\n";
        let none = |_: &str| None;
        let loaded = crate::config::parse(text, "proxy.toml", &none, &|_| {
            Err(io::ErrorKind::NotFound.into())
        });
        find(&loaded.unwrap().config, dir, &Telemetry::default())
    }

    #[test]
    fn a_secret_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = find_in(Some(dir.path()));
        assert_eq!(first.len(), LENGTH);
        assert_eq!(find_in(Some(dir.path())), first);
        std::fs::write(dir.path().join(FILE), "short").unwrap();
        let second = find_in(Some(dir.path()));
        assert_ne!(second, first);
        assert_eq!(find_in(Some(dir.path())), second);
    }

    #[test]
    fn without_a_folder_it_is_random() {
        assert_ne!(find_in(None), find_in(None));
    }
}
