//! What `check --live` found, and where it is reported.

use std::borrow::Cow;
use std::path::Path;
use std::time::SystemTime;

use hyper::http::response::Parts;

use super::fetch::clock_ahead;
use crate::config::{ConfigValue, Problem, Severity};

/// Seconds that clocks may differ before it is reported, and before tokens suffer from it.
const DRIFT: u64 = 5;
const WRONG: u64 = 30;

/// What is wrong with what a key stands for.
pub(crate) struct Finding {
    severity: Severity,
    key: String,
    what: String,
    fix: Cow<'static, str>,
}

/// All that one try has found.
pub(crate) type Findings = Vec<Finding>;

impl Finding {
    /// What is wrong.
    #[cfg(test)]
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// As a problem of the file.
    pub(crate) fn at(self, values: &[ConfigValue], file: &Path) -> Problem {
        let (line, column) = place(values, &self.key);
        Problem {
            severity: self.severity,
            file: file.display().to_string(),
            line,
            column,
            key: self.key,
            message: self.what,
            hint: self.fix.into_owned(),
        }
    }
}

/// What cannot stay so.
pub(crate) fn error(key: String, what: String, fix: impl Into<Cow<'static, str>>) -> Finding {
    Finding {
        severity: Severity::Error,
        key,
        what,
        fix: fix.into(),
    }
}

/// What is well to know.
pub(crate) fn warning(key: String, what: String, fix: impl Into<Cow<'static, str>>) -> Finding {
    Finding {
        severity: Severity::Warning,
        ..error(key, what, fix)
    }
}

/// Whether their clock is ours; tokens live by both.
pub(crate) fn clock(key: &str, whose: &str, head: &Parts) -> Findings {
    let Some(ahead) = clock_ahead(head, SystemTime::now()) else {
        return Vec::new();
    };
    let direction = if ahead > 0 { "ahead" } else { "behind" };
    let by = ahead.unsigned_abs();
    let differ = format!("the clock of {whose} is {by} s {direction} of this machine's");
    let fix = "set both by NTP";
    match by {
        0..=DRIFT => Vec::new(),
        _ if by > WRONG => {
            let what = format!("{differ}: one of them is wrong, and tokens will be refused");
            vec![error(key.to_owned(), what, fix)]
        }
        _ => vec![warning(key.to_owned(), differ, fix)],
    }
}

/// Where a key stands; where it does not stand in the file, its table.
fn place(values: &[ConfigValue], key: &str) -> (usize, usize) {
    let position = |value: &ConfigValue| {
        let (line, column) = value.source.strip_prefix("file:")?.split_once(':')?;
        Some((line.parse().ok()?, column.parse().ok()?))
    };
    let table = key.rsplit_once('.').map_or("", |(table, _)| table);
    let is_in = |value: &&ConfigValue| {
        let rest = value.key.strip_prefix(table);
        rest.is_some_and(|rest| rest.starts_with('.'))
    };
    let exact = values.iter().filter(|value| value.key == key);
    let near = values.iter().filter(is_in);
    exact.chain(near).find_map(position).unwrap_or((1, 1))
}
