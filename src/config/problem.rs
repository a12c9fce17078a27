//! What is wrong with a file, where, and the mend.

use std::fmt;

use serde::Serialize;

/// One thing to mend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Whether the file is refused for it.
    pub severity: Severity,
    /// The file as it was named.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Dotted path (`route.3.path`); `syntax` where the TOML itself is broken, `file` where it cannot be read.
    pub key: String,
    /// What is wrong; never a secret.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// See [`Problem::severity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is accepted.
    Warning,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem {
            file, line, column, ..
        } = self;
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{file}:{line}:{column}: {severity}: {}: ", self.key)?;
        write!(f, "{}; {}", self.message, self.hint)
    }
}

/// What `check --json` prints: `{"ok":…,"problems":[…]}`.
pub fn report(outcome: &Result<super::Loaded, Vec<Problem>>) -> serde_json::Value {
    let problems = match outcome {
        Ok(loaded) => &loaded.warnings,
        Err(problems) => problems,
    };
    serde_json::json!({ "ok": outcome.is_ok(), "problems": problems })
}

/// What a parser of one value says against it: a predicate ("is no duration") and the mend.
///
/// The value itself is put before the predicate by whoever reports, since it may be a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub what: String,
    pub mend: String,
}

impl Wrong {
    pub fn new(what: impl Into<String>, mend: impl Into<String>) -> Self {
        let (what, mend) = (what.into(), mend.into());
        Wrong { what, mend }
    }
}
