//! What is wrong with a file, where, and the fix.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// One thing to fix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "FileProblem")]
pub struct Problem {
    /// Whether the file is refused for it.
    pub(crate) severity: Severity,
    /// The file as it was named.
    pub(crate) file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Dotted path (`route.3.path`); `syntax` where the TOML itself is broken, `file` where it cannot be read.
    pub(crate) key: String,
    /// What is wrong; never a secret.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: String,
}

/// Whether the file can be used with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Severity {
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

/// What a parser of one value says against it: a predicate ("is no duration") and the fix.
///
/// The reporter puts the value before the predicate, since it may be a secret. Words that were
/// made for this value may repeat a part of it, so they are owned, and fixed words are not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) what: Cow<'static, str>,
    pub(crate) fix: Cow<'static, str>,
}

impl Wrong {
    pub(crate) fn new(
        what: impl Into<Cow<'static, str>>,
        fix: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (what, fix) = (what.into(), fix.into());
        Wrong { what, fix }
    }

    /// The same in words that repeat nothing of the value.
    pub(crate) fn discreet(self) -> Self {
        match (&self.what, &self.fix) {
            (Cow::Borrowed(_), Cow::Borrowed(_)) => self,
            (Cow::Borrowed(what), _) => Wrong::new(*what, "compare it with docs/configuration.md"),
            _ => Wrong::new("does not fit here", "compare it with docs/configuration.md"),
        }
    }
}
