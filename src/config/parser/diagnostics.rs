//! Where everything that is read from one file is noted: problems, values, secrets, files.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use super::placeholder::Env;
use super::problem::{Problem, Severity};
use super::value::ConfigValue;

/// One reading of one file.
pub(crate) struct Diagnostics<'a> {
    /// The file as it was named.
    pub(crate) file: &'a str,
    /// Its text.
    pub(crate) text: &'a str,
    /// Where placeholders are filled in from.
    pub(crate) world: Env<'a>,
    /// Where each line starts.
    lines: Vec<usize>,
    notes: RefCell<Notes>,
}

/// What was noted.
#[derive(Default)]
pub(crate) struct Notes {
    /// In no order yet.
    pub(crate) problems: Vec<Problem>,
    /// In reading order.
    pub(crate) values: Vec<ConfigValue>,
    /// Literal secrets, bytes of the file.
    pub(crate) secrets: Vec<Range<usize>>,
    /// Lines whose syntax is broken: what stands behind the first one cannot be judged.
    broken: BTreeSet<usize>,
    /// A table stands twice, so what the file says is not known whole.
    is_torn: bool,
    /// Dotted paths of what the file holds and could not be read: a reference to it is no mistake.
    spoiled: BTreeSet<String>,
}

impl<'a> Diagnostics<'a> {
    /// A desk with nothing on it.
    pub(crate) fn new(file: &'a str, text: &'a str, world: Env<'a>) -> Self {
        let newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        Diagnostics {
            file,
            text,
            world,
            lines: std::iter::once(0).chain(newlines).collect(),
            notes: RefCell::default(),
        }
    }

    /// Looks at every value that was noted so far.
    pub(crate) fn each_value(&self, mut look: impl FnMut(&ConfigValue)) {
        self.notes.borrow().values.iter().for_each(&mut look);
    }

    /// Everything that was noted.
    pub(crate) fn clear(self) -> Notes {
        self.notes.into_inner()
    }

    /// A mistake at a byte of the file.
    pub(crate) fn error(
        &self,
        place: usize,
        key: &str,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) {
        if !self.is_behind_break(place) {
            self.report(Severity::Error, place, key, what.into(), fix.into());
        }
    }

    /// A mistake that is made by what the file does *not* say: counts only in a file whose syntax is whole.
    pub(crate) fn absent(
        &self,
        place: usize,
        key: &str,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) {
        if self.is_whole() {
            self.report(Severity::Error, place, key, what.into(), fix.into());
        }
    }

    /// Whether what the file does not say is known.
    pub(crate) fn is_whole(&self) -> bool {
        let notes = self.notes.borrow();
        notes.broken.is_empty() && !notes.is_torn
    }

    /// A key, or a table, that stands twice: the rest can be judged.
    pub(crate) fn twice(&self, place: usize, what: String) {
        let start = self.text.get(..place).and_then(|text| text.rfind('\n'));
        let line = self.text.get(start.map_or(0, |at| at + 1)..);
        if line.is_some_and(|line| line.trim_start().starts_with('[')) {
            self.notes.borrow_mut().is_torn = true;
        }
        let fix = "keep one of them".to_owned();
        self.report(Severity::Error, place, "syntax", what, fix);
    }

    /// Something is there, and it was reported that it cannot be read.
    pub(crate) fn spoil(&self, path: String) {
        self.notes.borrow_mut().spoiled.insert(path);
    }

    /// Whether `[kind.NAME]` may be there.
    pub(crate) fn is_spoiled(&self, kind: &str, name: &str) -> bool {
        let spoiled = &self.notes.borrow().spoiled;
        spoiled.contains(kind) || spoiled.contains(&format!("{kind}.{name}"))
    }

    /// Something to know that refuses nothing.
    pub(crate) fn warning(
        &self,
        place: usize,
        key: &str,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) {
        if !self.is_behind_break(place) {
            self.report(Severity::Warning, place, key, what.into(), fix.into());
        }
    }

    /// Broken TOML; the first complaint about a line is the one that helps.
    pub(crate) fn syntax(&self, place: usize, what: &str) {
        let line = self.position(place).0;
        let (what, fix) = in_plain_words(what);
        let message = |problem: &Problem| problem.key == "syntax" && problem.message == what;
        let mut notes = self.notes.borrow_mut();
        let is_first = notes.broken.insert(line);
        // Behind a list without its end every line looks like an item without its comma.
        let follows = what == LIST_END && notes.problems.iter().any(message);
        drop(notes);
        if is_first && !follows {
            let fix = format!("{fix}; the rest is checked afterwards");
            self.report(Severity::Error, place, "syntax", what.to_owned(), fix);
        }
    }

    /// Whether the file is refused already.
    pub(crate) fn has_errors(&self) -> bool {
        let is_error = |problem: &Problem| problem.severity == Severity::Error;
        self.notes.borrow().problems.iter().any(is_error)
    }

    /// What is read, and whether that was without a mistake: what follows from it need not be one too.
    pub(crate) fn judged<T>(&self, read: impl FnOnce() -> T) -> (T, bool) {
        let errors = || {
            let is_error = |problem: &&Problem| problem.severity == Severity::Error;
            self.notes.borrow().problems.iter().filter(is_error).count()
        };
        let before = errors();
        let read = read();
        (read, errors() == before)
    }

    /// The value of a key.
    pub(crate) fn note(&self, value: ConfigValue) {
        self.notes.borrow_mut().values.push(value);
    }

    /// A literal secret.
    pub(crate) fn hide(&self, span: Range<usize>) {
        self.notes.borrow_mut().secrets.push(span);
    }

    /// Line and column (in characters) of a byte, from 1.
    pub(crate) fn position(&self, place: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= place);
        let start = self.lines.get(line.saturating_sub(1)).copied();
        let before = self.text.get(start.unwrap_or(0)..place).unwrap_or_default();
        // A byte order mark takes no column.
        let column = before.trim_start_matches('\u{feff}').chars().count() + 1;
        (line, column)
    }

    fn is_behind_break(&self, place: usize) -> bool {
        let first = self.notes.borrow().broken.first().copied();
        first.is_some_and(|line| self.position(place).0 >= line)
    }

    fn report(&self, severity: Severity, place: usize, key: &str, message: String, hint: String) {
        let (line, column) = self.position(place);
        self.notes.borrow_mut().problems.push(Problem {
            severity,
            file: self.file.to_owned(),
            line,
            column,
            key: key.to_owned(),
            message,
            hint,
        });
    }
}

/// What is said of a list that has no end, or lacks a comma.
const LIST_END: &str = "a `,` or the closing `]` of a list is missing before this";

/// The parser's word for a mistake that is often made, as an operator would say it, and the fix.
fn in_plain_words(what: &str) -> (&str, &str) {
    let (what, _) = what.split_once(", expected").unwrap_or((what, ""));
    match what {
        "unclosed table" => ("the header has no closing `]`", "write `]` at its end"),
        "unclosed array table" => ("the header has no closing `]]`", "write `]]` at its end"),
        "missing comma between array elements" => (LIST_END, "write it"),
        "unclosed array" => (LIST_END, "write it"),
        "string values must be quoted" => (
            "text stands without quotes",
            "write it in double quotes, such as `\"text\"`",
        ),
        "invalid basic string" => (
            "the text is no whole string",
            "write `\"` at its end, and a `\\` in it twice",
        ),
        "key with no value" => (
            "a key has no value",
            "write `=` and the value behind it, such as `key = \"value\"`",
        ),
        what => (what, "fix this first"),
    }
}
