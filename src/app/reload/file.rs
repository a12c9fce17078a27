//! The configuration's file: read, judged and replaced whole.

use std::cell::RefCell;
use std::path::Path;
use std::{fs, io};

use super::file_watch::{FileStamps, print};
use crate::config::{self, Authority, Config, Loaded, Problem, Severity};
use crate::storage::replace_whole;

/// A valid file with its text.
#[derive(Clone)]
pub(crate) struct Read {
    /// As it stands in the file, secrets included.
    pub(crate) text: String,
    /// What it says.
    pub(crate) loaded: Loaded,
}

/// Reads and judges the file.
///
/// # Errors
/// All problems at once; a file without content is one: it is being written, or was lost.
pub(crate) fn read(path: &Path) -> Result<Read, Vec<Problem>> {
    read_noting(path, &mut FileStamps::new())
}

/// As [`read`], and notes how each file was just before it was read, also where that was in vain.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_noting(path: &Path, read: &mut FileStamps) -> Result<Read, Vec<Problem>> {
    read.insert(path.to_owned(), print(path));
    let text = fs::read_to_string(path).map_err(|error| vec![unreadable(path, &error)])?;
    judge(path, text, read)
}

pub(super) fn judge(
    path: &Path,
    text: String,
    read: &mut FileStamps,
) -> Result<Read, Vec<Problem>> {
    if text.trim().is_empty() {
        let fix = "write at least an `[upstream.NAME]` and a `[[route]]`; proxy.toml.example has every key";
        return Err(vec![whole_file(path, "is empty", fix)]);
    }
    let env = |name: &str| std::env::var(name).ok();
    let noted = RefCell::new(read);
    let include = |path: &Path| {
        noted.borrow_mut().insert(path.to_owned(), print(path));
        let text = String::from_utf8(fs::read(path)?);
        // With its bytes: where only a comment is no UTF-8, what matters can be read.
        text.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    };
    let loaded = config::parse(&text, &path.display().to_string(), &env, &include)?;
    Ok(Read { text, loaded })
}

/// Servers that are sockets on this machine, with their upstreams' names.
pub(super) fn sockets(config: &Config) -> Vec<(&str, &Authority)> {
    let upstreams = config.upstreams.values();
    let servers = upstreams.flat_map(|upstream| {
        let servers = upstream.servers.iter();
        servers.map(|server| (&*upstream.name, server))
    });
    servers
        .filter(|(_, server)| server.socket().is_some())
        .collect()
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::NotFound => whole_file(
            path,
            "there is no such file",
            "write it (proxy.toml.example has every key), or name another: `crossfade check FILE`, `crossfade run --config \
             FILE`",
        ),
        io::ErrorKind::IsADirectory => whole_file(
            path,
            "is a folder",
            "name the file in it, such as `proxy.toml`",
        ),
        io::ErrorKind::InvalidData => {
            whole_file(path, "is no text in UTF-8", "save it in that encoding")
        }
        _ => {
            let what = format!("cannot be read: {error}");
            whole_file(path, &what, "let the user read it that crossfade runs as")
        }
    }
}

pub(super) fn whole_file(path: &Path, message: &str, hint: &str) -> Problem {
    Problem {
        severity: Severity::Error,
        file: path.display().to_string(),
        line: 1,
        column: 1,
        key: "file".to_owned(),
        message: message.to_owned(),
        hint: hint.to_owned(),
    }
}

/// Replaces the file that a symlink may lead to, with the owner, the group and the permissions it has; where this user may not give
/// it to them, nothing is replaced.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let like = fs::metadata(&path)?;
    replace_whole(&path, text.as_bytes(), &like)
}
