use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde_json::{Value as Json, json};

use crate::config::parser::problem::Wrong;
use crate::config::parser::scalar;
use crate::config::parser::table::Table;
use crate::config::parser::tree::{Node, NodeForm};
use crate::config::parser::units;

/// `kind = "api_key"`: keys that programs send as `X-Api-Key` or `Authorization: Bearer`. `crossfade key new`
/// makes one, and the line for the file, which holds the key's hash alone. Keys have 128 random bits or more,
/// so a plain hash protects them: there is nothing to guess.
pub(crate) struct ApiKeys {
    /// Lines, one for each key: `ID sha256:HEX user=NAME`, and where they are wanted `tenant=NAME`, `roles=A,B` and `expires=2027-01-31` (from that day's beginning in UTC the key is no longer good; or a time, `2027-01-31T12:00:00Z`). `sha256sum` of the key's whole text is HEX; `ID` is unique, of letters, digits and `-`, and of a key `cfk_ID_SECRET` it is the middle.
    pub(crate) keys: Vec<ApiKey>,
    /// A file with such lines, one for each key; empty ones and those that begin with `#` are passed over. It is read again when it changes. Default: none; `keys` or `file` is needed.
    pub(crate) file: Vec<ApiKey>,
}

/// One API key; of the key itself only its hash is known.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Under which it is found.
    pub(crate) id: String,
    /// SHA-256 of the whole key as it is sent.
    pub(crate) hash: [u8; 32],
    /// The user that it identifies.
    pub(crate) user: String,
    /// Their tenant.
    pub(crate) tenant: Option<String>,
    /// Their roles.
    pub(crate) roles: Vec<String>,
    /// Unix seconds from which on it is no longer good.
    pub(crate) expires: Option<u64>,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The line that stands for it in the file.
impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = units::hex(&self.hash);
        write!(f, "{} sha256:{hash} user={}", self.id, self.user)?;
        if let Some(tenant) = &self.tenant {
            write!(f, " tenant={tenant}")?;
        }
        if !self.roles.is_empty() {
            write!(f, " roles={}", self.roles.join(","))?;
        }
        if let Some(expires) = self.expires {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(expires);
            write!(f, " expires={}", humantime::format_rfc3339_seconds(time))?;
        }
        Ok(())
    }
}

impl ApiKeys {
    /// Those of the list, and those of the file.
    pub(super) fn all(self) -> Vec<ApiKey> {
        self.keys.into_iter().chain(self.file).collect()
    }
}

impl ApiKey {
    /// Reads such a line.
    ///
    /// # Errors
    /// What is wrong with it and the fix, in words that repeat nothing of it: it may be a key.
    pub(crate) fn parse(line: &str) -> Result<ApiKey, String> {
        understand(line).map_err(|Wrong { what, fix }| format!("{what}; {fix}"))
    }
}

pub(super) fn read(table: &Table<'_>) -> ApiKeys {
    let is_said = table.says_any(&["keys", "file"]);
    if !is_said {
        let what = "is missing, and so is `file`: there is no key";
        let fix = "make one by `crossfade key new`, and write its line here or into a file";
        let path = table.path("keys");
        table.desk.absent(table.place, &path, what, fix);
    }
    let mut keys = ApiKeys {
        keys: Vec::new(),
        file: Vec::new(),
    };
    let mut taken = BTreeMap::new();
    let ((), is_good) = table.desk.judged(|| {
        for (line, node) in listed(table) {
            let subject = "holds a line that".to_owned();
            keys.keys
                .extend(judge(table, node, subject, line, &mut taken));
        }
        for (subject, line, node) in filed(table) {
            keys.file
                .extend(judge(table, node, subject, &line, &mut taken));
        }
    });
    if taken.is_empty() && is_said && is_good {
        let what = "holds no key: every client is refused";
        let key = if table.says("file") { "file" } else { "keys" };
        table.warning(key, what, "make one by `crossfade key new`");
    }
    keys
}

/// The strings of `keys`; they are read by hand because no problem may quote them.
fn listed<'a>(table: &Table<'a>) -> Vec<(&'a str, &'a Node)> {
    let node = table.node("keys");
    table.note("keys", node, json!([]));
    let Some(node) = node else {
        return Vec::new();
    };
    let NodeForm::List(items) = &node.form else {
        let fix = "write each line as a string of a list";
        table.error("keys", "is no list of strings", fix);
        return Vec::new();
    };
    let line = |item: &'a Node| match &item.form {
        NodeForm::Text(text) => Some((text.text.as_str(), item)),
        _ => {
            scalar::refuse_kind(table.desk, item, "a string");
            None
        }
    };
    items.iter().filter_map(line).collect()
}

/// The lines of `file`, each with how problems name it.
fn filed<'a>(table: &Table<'a>) -> Vec<(String, String, &'a Node)> {
    let node = table.node("file");
    table.note("file", node, Json::Null);
    let Some(node) = node else {
        return Vec::new();
    };
    let NodeForm::Text(path) = &node.form else {
        scalar::refuse_kind(table.desk, node, "a string");
        return Vec::new();
    };
    let written = scalar::written(node);
    let path = table.desk.world.folder.join(&path.text);
    let text = match (table.desk.world.read)(&path) {
        Ok(text) => text,
        Err(error) => {
            let what = format!("{written} cannot be read: {error}");
            table.error("file", what, "create it, or let this user read it");
            return Vec::new();
        }
    };
    let is_key = |line: &str| !line.is_empty() && !line.starts_with('#');
    let lines = (1..).zip(text.trim_start_matches('\u{feff}').lines());
    lines
        .map(|(number, line)| (number, line.trim()))
        .filter(|(_, line)| is_key(line))
        .map(|(number, line)| (format!("{written}, line {number},"), line.to_owned(), node))
        .collect()
}

/// A line and its place among the others.
fn judge(
    table: &Table<'_>,
    node: &Node,
    subject: String,
    line: &str,
    taken: &mut BTreeMap<String, String>,
) -> Option<ApiKey> {
    let (place, path) = (node.span.start, &node.key);
    let key = match understand(line) {
        Ok(key) => key,
        Err(Wrong { what, fix }) => {
            table
                .desk
                .error(place, path, format!("{subject} {what}"), fix);
            return None;
        }
    };
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    if key.expires.is_some_and(|expires| expires <= now.as_secs()) {
        let what = format!("{subject} has expired: the key opens nothing");
        table
            .desk
            .warning(place, path, what, "remove it, or give it another `expires`");
    }
    let own = match path.ends_with(".file") {
        true => subject.trim_end_matches(',').to_owned(),
        false => format!("the one in line {}", table.desk.position(place).0),
    };
    if let Some(first) = taken.insert(key.id.clone(), own) {
        let what = format!("{subject} has the id of another one: {first}");
        table
            .desk
            .error(place, path, what, "give each key its own id");
    }
    Some(key)
}

/// `ID sha256:HEX user=NAME [tenant=T] [roles=A,B] [expires=DATE]`; in words of its own alone.
fn understand(line: &str) -> Result<ApiKey, Wrong> {
    const FORM: &str = "write `ID sha256:HEX user=NAME`; `crossfade key new` makes such a line";
    const HASH: &str =
        "hash it: `printf %s KEY | sha256sum`, or make another one by `crossfade key new`";
    let mut words = line.split_ascii_whitespace();
    let (Some(id), Some(hash)) = (words.next(), words.next()) else {
        let is_bare = line.split_ascii_whitespace().count() == 1;
        return Err(match is_bare {
            true => Wrong::new("is no hashed key, and perhaps a key itself", HASH),
            false => Wrong::new("is empty", FORM),
        });
    };
    let Some(hash) = hash.strip_prefix("sha256:") else {
        return Err(Wrong::new("holds no hash, and perhaps a key itself", HASH));
    };
    let is_of_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if id.len() > 64 || !id.bytes().all(is_of_id) {
        let fix =
            "write up to 64 letters, digits and `-`; of a key `cfk_ID_SECRET` it is the middle";
        return Err(Wrong::new("has no id in front", fix));
    }
    let hash = from_hex(hash).ok_or(Wrong::new("holds a hash that is not 64 hex digits", HASH))?;
    let mut key = ApiKey {
        id: id.to_owned(),
        hash,
        user: String::new(),
        tenant: None,
        roles: Vec::new(),
        expires: None,
    };
    let mut names = Vec::new();
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        if names.contains(&name) {
            return Err(Wrong::new("says something twice", "write each part once"));
        }
        names.push(name);
        match name {
            _ if value.is_empty() => return Err(Wrong::new("has a part without a value", FORM)),
            "user" => key.user = value.to_owned(),
            "tenant" => key.tenant = Some(value.to_owned()),
            "roles" => key.roles = value.split(',').map(str::to_owned).collect(),
            "expires" => key.expires = Some(instant(value)?),
            _ => {
                let fix = "behind the hash stand `user=`, `tenant=`, `roles=` and `expires=` alone";
                return Err(Wrong::new("has a part that is not known", fix));
            }
        }
    }
    if key.user.is_empty() {
        return Err(Wrong::new(
            "names no user",
            "write `user=NAME` behind the hash",
        ));
    }
    if key.roles.iter().any(String::is_empty) {
        return Err(Wrong::new("has an empty role", "write `roles=A,B`"));
    }
    Ok(key)
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(digits).collect();
    bytes?.try_into().ok().filter(|_| text.len() == 64)
}

/// Unix seconds of a day's beginning, or of a time; both in UTC.
fn instant(text: &str) -> Result<u64, Wrong> {
    let time = match text.len() {
        10 => humantime::parse_rfc3339(&format!("{text}T00:00:00Z")),
        _ => humantime::parse_rfc3339(text),
    };
    let since = time
        .ok()
        .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.map(|since| since.as_secs()).ok_or_else(|| {
        Wrong::new(
            "expires at no time that is known",
            "write `expires=2027-01-31`, or `expires=2027-01-31T12:00:00Z`, in UTC",
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn told(line: &str) -> String {
        understand(line).expect_err(line).what.into_owned()
    }

    #[test]
    fn a_line_is_an_id_a_hash_and_a_user() {
        let line = format!("k-1  sha256:{HEX}\tuser=ci tenant=t1 roles=a,b expires=2027-01-31");
        let key = understand(&line).unwrap();
        assert_eq!((key.id.as_str(), key.user.as_str()), ("k-1", "ci"));
        assert_eq!(key.tenant.as_deref(), Some("t1"));
        assert_eq!(key.roles, ["a", "b"]);
        assert_eq!(key.expires, Some(1_801_353_600));
        assert_eq!(key.hash[..2], [0x9f, 0x86]);
        let upper = format!("k sha256:{} user=ci", HEX.to_uppercase());
        assert_eq!(understand(&upper).unwrap().hash, key.hash);
        let noon = format!("k sha256:{HEX} user=ci expires=2027-01-31T12:00:00Z");
        assert_eq!(understand(&noon).unwrap().expires, Some(1_801_396_800));
    }

    #[test]
    fn a_broken_line_is_told_without_a_word_of_it() {
        for (line, what) in [
            (String::new(), "is empty"),
            ("cfk_canary_canary".into(), "perhaps a key itself"),
            ("cfk_canary_canary user=ci".into(), "perhaps a key itself"),
            ("k sha256:canary user=ci".into(), "not 64 hex digits"),
            (
                format!("k sha256:{} user=ci", &HEX[1..]),
                "not 64 hex digits",
            ),
            (format!("k sha256:{HEX}0 user=ci"), "not 64 hex digits"),
            (format!("k_canary sha256:{HEX} user=ci"), "no id"),
            (format!("k sha256:{HEX}"), "names no user"),
            (format!("k sha256:{HEX} user="), "without a value"),
            (format!("k sha256:{HEX} canary"), "without a value"),
            (format!("k sha256:{HEX} user=ci canary=1"), "not known"),
            (format!("k sha256:{HEX} user=ci user=canary"), "twice"),
            (
                format!("k sha256:{HEX} user=ci roles=canary,"),
                "empty role",
            ),
            (format!("k sha256:{HEX} user=ci expires=canary"), "no time"),
            (
                format!("k sha256:{HEX} user=ci expires=2027-13-01"),
                "no time",
            ),
            (format!("k sha256:{HEX} user=ci expires=ééééé"), "no time"),
        ] {
            let told = told(&line);
            assert!(told.contains(what) && !told.contains("canary"), "{told}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_a_key_or_a_problem(line in "\\PC*") {
            let _ = understand(&line);
        }

        #[test]
        fn what_is_written_is_read_again(
            id in "[A-Za-z0-9-]{1,64}", hash: [u8; 32], user in "[!-~]{1,9}",
            tenant in proptest::option::of("[!-~é]{1,9}"),
            roles in proptest::collection::vec("[a-z=]{1,5}", 0..3),
            expires in proptest::option::of(0_u64..4_000_000_000),
        ) {
            let key = ApiKey { id, hash, user, tenant, roles, expires };
            prop_assert_eq!(ApiKey::parse(&key.to_string()), Ok(key));
        }
    }
}
