//! `${NAME}`, `${NAME:-default}`, `${file:/path}` inside strings; `$${` stands for a plain `${`.

use std::io;
use std::path::{Path, PathBuf};

use super::problem::Wrong;

/// Access to what lies outside of the file: environment variables and other files.
#[derive(Clone, Copy)]
pub(crate) struct Env<'a> {
    /// An environment variable.
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
    /// A file's whole text.
    pub(crate) read: &'a dyn Fn(&Path) -> io::Result<String>,
    /// What relative paths start from.
    pub(crate) folder: &'a Path,
}

/// Where a part of a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValueOrigin {
    Env(String),
    File(PathBuf),
}

/// A string with its placeholders filled in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Text {
    /// As it stands in the file: what problems may quote.
    pub(crate) raw: String,
    /// Filled in: possibly a secret.
    pub(crate) text: String,
    /// Of the first placeholder whose value was not its own default.
    pub(crate) origin: Option<ValueOrigin>,
    /// One placeholder and nothing else: may stand for a number or a boolean.
    pub(crate) alone: bool,
}

/// Fills in every placeholder.
pub(crate) fn expand(raw: &str, world: Env<'_>) -> Result<Text, Wrong> {
    let (mut text, mut origin) = (String::new(), None);
    let mut rest = raw;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        let after = from.get(2..).unwrap_or_default();
        if let Some(before) = before.strip_suffix('$') {
            text.push_str(before);
            text.push_str("${");
            rest = after;
            continue;
        }
        let (inside, after) = after.split_once('}').ok_or_else(|| {
            Wrong::new(
                "has a `${` without its `}`",
                "close it, or write `$${` for a plain `${`",
            )
        })?;
        let (value, from) = resolve(inside, world)?;
        text.push_str(before);
        text.push_str(&value);
        origin = origin.or(from);
        rest = after;
    }
    text.push_str(rest);
    Ok(Text {
        raw: raw.to_owned(),
        text,
        origin,
        alone: is_alone(raw),
    })
}

fn resolve(inside: &str, world: Env<'_>) -> Result<(String, Option<ValueOrigin>), Wrong> {
    if let Some(path) = inside.strip_prefix("file:") {
        let path = world.folder.join(path);
        let text = (world.read)(&path).map_err(|error| {
            Wrong::new(
                format!("needs the file `{}`: {error}", path.display()),
                "create it, or let this user read it",
            )
        })?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        return Ok((text.to_owned(), Some(ValueOrigin::File(path))));
    }
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(Wrong::new(
            "has a placeholder that names no variable",
            "write `${NAME}`, `${NAME:-default}`, `${file:/path}`, or `$${` for a plain `${`",
        ));
    }
    // As in a shell, `:-` also stands in for a variable that is empty.
    let found = (world.env)(name).filter(|value| default.is_none() || !value.is_empty());
    match (found, default) {
        (Some(value), _) => Ok((value, Some(ValueOrigin::Env(name.to_owned())))),
        (None, Some(default)) => Ok((default.to_owned(), None)),
        (None, None) => Err(Wrong::new(
            format!("needs the environment variable `{name}`, which is not set"),
            format!("set it, or give a default: `${{{name}:-…}}`"),
        )),
    }
}

fn is_alone(raw: &str) -> bool {
    raw.strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|inside| !inside.contains('}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(raw: &str) -> Result<Text, Wrong> {
        let env = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let read = |path: &Path| match path.to_str() {
            Some("/run/s") => Ok("secret\n".to_owned()),
            Some("/etc/x/s") => Ok("beside\r\n".to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        let folder = Path::new("/etc/x");
        expand(
            raw,
            Env {
                env: &env,
                read: &read,
                folder,
            },
        )
    }

    fn text(raw: &str) -> String {
        fill(raw).expect(raw).text
    }

    #[test]
    fn fills_in_what_the_world_says() {
        assert_eq!(text("plain {id} $5"), "plain {id} $5");
        assert_eq!(text("x${A}y${A}"), "xoney".to_owned() + "one");
        assert_eq!(text("${NONE:-d:-e}"), "d:-e");
        assert_eq!(text("[${EMPTY}]"), "[]");
        assert_eq!(text("${EMPTY:-d}"), "d");
        assert_eq!(text("$${A} ${A}"), "${A} one");
        assert_eq!(text("${file:/run/s}"), "secret");
        assert_eq!(text("${file:s}"), "beside");
    }

    #[test]
    fn tells_where_it_came_from() {
        let alone = fill("${A}").expect("set");
        assert!(alone.alone);
        assert_eq!(alone.origin, Some(ValueOrigin::Env("A".to_owned())));
        let mixed = fill("${NONE:-x}${file:/run/s}").expect("there");
        assert!(!mixed.alone);
        assert_eq!(mixed.origin, Some(ValueOrigin::File("/run/s".into())));
        assert_eq!(fill("${NONE:-x}").expect("default").origin, None);
    }

    #[test]
    fn refuses_what_it_cannot_fill_in() {
        for raw in ["${NONE}", "${", "a${A", "${}", "${A B}", "${file:/none}"] {
            assert!(fill(raw).is_err(), "{raw}");
        }
    }
}
