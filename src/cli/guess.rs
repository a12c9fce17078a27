//! Words that operators try, and the command that does it.

use clap::Command;

/// Commands of other programs, and ours.
pub(super) const WORDS: [(&str, &str); 23] = [
    ("start", "run"),
    ("serve", "run"),
    ("up", "run"),
    ("validate", "check"),
    ("verify", "check"),
    ("test", "check"),
    ("lint", "check"),
    ("configtest", "check"),
    ("restart", "upgrade"),
    ("stop", "drain"),
    ("quit", "drain"),
    ("shutdown", "drain"),
    ("down", "drain"),
    ("ping", "health"),
    ("info", "health"),
    ("status", "health"),
    ("ls", "sessions list"),
    ("clients", "sessions list"),
    ("kill", "sessions close"),
    ("off", "rollout kill"),
    ("on", "rollout resume"),
    ("rollback", "rollout kill"),
    ("keygen", "key new"),
];

/// The commands that a word may stand for, as they are written: those that have it as their own last word elsewhere, and
/// those that do what it means in other programs.
pub(super) fn meant_by(root: &Command, word: &str) -> Vec<String> {
    let mut meant = Vec::new();
    collect(root, root.get_name(), word, &mut meant);
    let words = WORDS.iter().filter(|(known, _)| *known == word);
    meant.extend(words.map(|(_, ours)| format!("{} {ours}", root.get_name())));
    meant
}

fn collect(command: &Command, path: &str, word: &str, meant: &mut Vec<String>) {
    for inner in command.get_subcommands() {
        let path = format!("{path} {}", inner.get_name());
        if inner.get_name() == word {
            meant.push(path.clone());
        }
        collect(inner, &path, word, meant);
    }
}
