//! `crossfade key …`.

use clap::{Args, Subcommand};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::outcome::{Failure, Outcome, print};
use crate::config::ApiKey;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes an API key: prints the key, and the line for the file, which holds its hash alone.
    #[command(
        after_help = "The first line on stdout is the key, the second one is for `keys` or `file` of an [auth.NAME] with kind = \"api_key\".

Example:
  crossfade key new --name ci
  crossfade key new --name partner --roles reader,writer --expires 2027-01-31"
    )]
    New(New),
}

#[derive(Args)]
pub(crate) struct New {
    /// Whose it is: the user that routes and backends know.
    #[arg(long, value_name = "NAME", default_value = "client")]
    name: String,
    /// Their tenant.
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Their roles.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    roles: Vec<String>,
    /// The day, or the time, from which on it opens nothing: 2027-01-31, or 2027-01-31T12:00:00Z.
    #[arg(long, value_name = "DATE")]
    expires: Option<String>,
    /// Prints {"key","line"} on stdout.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: Command) -> Outcome {
    let Command::New(new) = command;
    let Made { key, line } = Made::new(&new)?;
    if new.json {
        print(&json!({ "key": key, "line": line }).to_string());
        return Ok(());
    }
    print(&format!("{key}\n{line}"));
    eprintln!(
        "The first line is the key, and is shown this once: give it to the client, which sends it as `X-Api-Key: KEY` or \
         `Authorization: Bearer KEY`.
The second line is for the file: an item of `keys`, or a line of the `file`, of an [auth.NAME] with kind = \"api_key\"."
    );
    Ok(())
}

/// A key and its line.
struct Made {
    key: String,
    line: String,
}

impl Made {
    fn new(new: &New) -> Result<Self, Failure> {
        let id = letters(12)?;
        // 43 of 62 letters: 256 bits.
        let key = format!("cfk_{id}_{}", letters(43)?);
        let made = ApiKey {
            id,
            hash: Sha256::digest(&key).into(),
            user: new.name.clone(),
            tenant: new.tenant.clone(),
            roles: new.roles.clone(),
            expires: None,
        };
        let mut line = made.to_string();
        if let Some(expires) = &new.expires {
            line += &format!(" expires={expires}");
        }
        let read = ApiKey::parse(&line).ok();
        let is_as_asked = read.is_some_and(|read| {
            let expires = read.expires;
            expires.is_some() == new.expires.is_some() && read == ApiKey { expires, ..made }
        });
        match is_as_asked {
            true => Ok(Made { key, line }),
            false => Err(Failure::Usage(
                "error: --name, --tenant and --roles are words without spaces; --expires is a day (2027-01-31) or a time \
                 (2027-01-31T12:00:00Z), in UTC"
                    .to_owned(),
            )),
        }
    }
}

/// Random letters and digits, each as likely as any other; they may stand in headers, URLs and shells.
fn letters(count: usize) -> Result<String, Failure> {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut letters = String::new();
    let mut chance = [0; 64];
    while letters.len() < count {
        getrandom::fill(&mut chance).map_err(|error| {
            Failure::No(format!("error: the system gives no random bytes: {error}"))
        })?;
        // What is beyond the last whole multiple of 62 would make some letters likelier.
        let fair = chance.iter().filter(|byte| **byte < 62 * 4);
        let drawn = fair.filter_map(|byte| ALPHABET.get(usize::from(byte % 62)));
        letters.extend(
            drawn
                .take(count - letters.len())
                .map(|byte| char::from(*byte)),
        );
    }
    Ok(letters)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{self, AuthKind};

    fn new(name: &str, tenant: Option<&str>, roles: &[&str], expires: Option<&str>) -> New {
        New {
            name: name.into(),
            tenant: tenant.map(str::to_owned),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            expires: expires.map(str::to_owned),
            json: false,
        }
    }

    #[test]
    fn what_is_printed_is_what_the_file_takes() {
        let asked = new(
            "ci",
            Some("acme"),
            &["reader", "writer"],
            Some("2999-01-31"),
        );
        let Made { key, line } = Made::new(&asked).expect("a key");
        let text = format!(
            "[auth.keys]\nkind = \"api_key\"\nkeys = [\"{line}\"]\nfile = \"/keys\"\n\
             [upstream.app]\nservers = [\"http://a\"]\n\
             [[route]]\npath = \"/{{*path}}\"\nupstream = \"app\"\nauth = \"keys\"\n"
        );
        let second = Made::new(&new("client", None, &[], None)).expect("a key");
        let read = |path: &Path| match path.to_str() {
            Some("/keys") => Ok(format!("# ours\n{}\n", second.line)),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        };
        let loaded = config::parse(&text, "proxy.toml", &|_| None, &read).expect("valid");
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        assert!(!format!("{loaded:?}").contains(&key));
        let AuthKind::ApiKey(keys) = &loaded.config.auths["keys"].kind else {
            panic!("keys")
        };
        let [first, other] = &keys[..] else {
            panic!("two keys")
        };
        assert_eq!(first.hash, <[u8; 32]>::from(Sha256::digest(&key)));
        assert_eq!(other.hash, <[u8; 32]>::from(Sha256::digest(&second.key)));
        assert!(key.starts_with(&format!("cfk_{}_", first.id)));
        assert_eq!(first.roles, ["reader", "writer"]);
        assert_eq!((other.user.as_str(), other.expires), ("client", None));
    }

    #[test]
    fn a_key_is_random_and_made_of_letters_and_digits() {
        let made: std::collections::HashSet<_> = (0..100).map(|_| letters(43).unwrap()).collect();
        assert_eq!(made.len(), 100);
        let all: String = made.into_iter().collect();
        assert!(all.len() == 4_300 && all.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!((b'A'..=b'Z').all(|letter| all.contains(char::from(letter))));
    }

    #[test]
    fn what_would_be_read_otherwise_is_wrong_usage() {
        for broken in [
            new("", None, &[], None),
            new("a b", None, &[], None),
            new("a roles=admin", None, &[], None),
            new("a", Some("t roles=admin"), &[], None),
            new("a", None, &["x y"], None),
            new("a", None, &[""], None),
            new("a", None, &[], Some("tomorrow")),
            new("a", None, &[], Some("2027-01-31 roles=admin")),
            new("a expires=2027-01-31", None, &[], None),
        ] {
            assert!(matches!(Made::new(&broken), Err(Failure::Usage(_))));
        }
    }
}
