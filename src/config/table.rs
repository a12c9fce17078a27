//! One table of the file while it is read.
//!
//! Every key is asked for by name, exactly where its value is used; a key that nobody asked for is
//! unknown. So the readers are the one list of keys there is.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::desk::Desk;
use super::placeholder::{Origin, Text};
use super::problem::Wrong;
use super::tree::{Entry, Form, Node};
use super::units;
use super::{Secret, Value};

/// See the page's head.
pub(super) struct Table<'a> {
    pub desk: &'a Desk<'a>,
    /// Dotted path; empty for the whole file.
    pub key: String,
    /// Where its header stands.
    pub place: usize,
    entries: Option<&'a BTreeMap<String, Entry>>,
    asked: RefCell<Vec<&'static str>>,
    is_left: Cell<bool>,
}

impl<'a> Table<'a> {
    /// Reads a node as a table; `None` (reported) where it is something else.
    pub fn read<T>(
        desk: &'a Desk<'a>,
        node: &'a Node,
        read: impl FnOnce(&Table<'a>) -> T,
    ) -> Option<T> {
        let Form::Table(entries) = &node.form else {
            refuse_kind(desk, node, "a table");
            return None;
        };
        let table = Table {
            desk,
            key: node.key.clone(),
            place: node.span.start,
            entries: Some(entries),
            asked: RefCell::default(),
            is_left: Cell::default(),
        };
        let value = read(&table);
        table.name_unknown();
        Some(value)
    }

    /// The dotted path of one of its keys.
    pub fn path(&self, key: &str) -> String {
        match self.key.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    /// Whether the file says anything about a key.
    pub fn says(&self, key: &str) -> bool {
        self.peek(key).is_some()
    }

    /// A mistake in the value of a key, or in its absence.
    pub fn error(&self, key: &str, what: impl Into<String>, mend: impl Into<String>) {
        self.desk
            .error(self.place_of(key), &self.path(key), what, mend);
    }

    /// As [`Table::error`], for what refuses nothing.
    pub fn warning(&self, key: &str, what: impl Into<String>, mend: impl Into<String>) {
        self.desk
            .warning(self.place_of(key), &self.path(key), what, mend);
    }

    /// The raw value of a key, for readers of values with several shapes.
    pub fn node(&self, key: &'static str) -> Option<&'a Node> {
        self.asked.borrow_mut().push(key);
        Some(&self.peek(key)?.node)
    }

    /// Notes the value of a key that was read by hand.
    pub fn note(&self, key: &str, node: Option<&Node>, default: Json) {
        self.record(key, node, node.map_or(default, Node::json));
    }

    /// A string.
    pub fn text<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let node = self.node(key);
        self.note(key, node, Json::Null);
        text(self.desk, node?, parse)
    }

    /// A string that must be there.
    pub fn required<T>(
        &self,
        key: &'static str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        self.demand(key, example);
        self.text(key, parse)
    }

    /// Reports the absence of a key.
    pub fn demand(&self, key: &str, example: &str) {
        if !self.says(key) {
            let mend = format!("write one, such as `{key} = {example}`");
            self.desk
                .absent(self.place, &self.path(key), "is missing", mend);
        }
    }

    /// A string with a default that is written like it.
    pub fn text_or<T: Default>(
        &self,
        key: &'static str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> T {
        let node = self.node(key);
        self.note(key, node, json!(default));
        node.and_then(|node| text(self.desk, node, &parse))
            .or_else(|| parse(default).ok())
            .unwrap_or_default()
    }

    /// What a name stands for, among `[kind.NAME]`.
    pub fn reference<T>(
        &self,
        key: &'static str,
        kind: &str,
        all: &BTreeMap<String, Arc<T>>,
    ) -> Option<Arc<T>> {
        let name = self.text(key, |name| Ok(name.to_owned()))?;
        let found = all.get(&name).cloned();
        let node = self.peek(key).map(|entry| &entry.node);
        if let (
            None,
            Some(Node {
                form: Form::Text(text),
                ..
            }),
        ) = (&found, node)
        {
            let what = format!("{} names no `[{kind}.NAME]`", shown(text));
            let mend = match units::closest(&name, all.keys().map(String::as_str)) {
                Some(known) => format!("did you mean \"{known}\"?"),
                None => format!("write that `[{kind}.NAME]`, or name another"),
            };
            self.desk
                .absent(self.place_of(key), &self.path(key), what, mend);
        }
        found
    }

    /// A table of strings, by name.
    pub fn pairs<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> BTreeMap<String, T> {
        let node = self.node(key);
        self.note(key, node, json!({}));
        let Some(node) = node else {
            return BTreeMap::new();
        };
        let Form::Table(entries) = &node.form else {
            refuse_kind(self.desk, node, "a table");
            return BTreeMap::new();
        };
        let one = |(name, entry): (&String, &Entry)| {
            Some((name.clone(), text(self.desk, &entry.node, &parse)?))
        };
        entries.iter().filter_map(one).collect()
    }

    /// Reports a list that holds nothing.
    pub fn refuse_empty(&self, key: &str, example: &str) {
        let form = self.peek(key).map(|entry| &entry.node.form);
        if matches!(form, Some(Form::List(items)) if items.is_empty()) {
            self.error(
                key,
                "is an empty list",
                format!("write one such as {example}"),
            );
        }
    }

    /// A list of strings; an empty one where the key is absent.
    pub fn texts<T>(&self, key: &'static str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Vec<T> {
        let node = self.node(key);
        self.note(key, node, json!([]));
        node.map_or(Vec::new(), |node| texts(self.desk, node, parse))
    }

    /// A string above: `"250ms"`, `"5s"`, `"7d"`; never zero.
    pub fn duration(&self, key: &'static str, default: &str) -> Duration {
        self.text_or(key, default, units::duration)
    }

    /// As [`Table::duration`], and zero means at once.
    pub fn window(&self, key: &'static str, default: &str) -> Duration {
        self.text_or(key, default, units::window)
    }

    /// `"64KiB"`, `"1MiB"`; never zero.
    pub fn size(&self, key: &'static str, default: &str) -> usize {
        self.text_or(key, default, units::size)
    }

    /// A whole number.
    pub fn integer(
        &self,
        key: &'static str,
        default: usize,
        range: RangeInclusive<usize>,
    ) -> usize {
        self.counted(key, json!(default), range).unwrap_or(default)
    }

    /// A whole number that may be absent.
    pub fn optional_integer(
        &self,
        key: &'static str,
        range: RangeInclusive<usize>,
    ) -> Option<usize> {
        self.counted(key, Json::Null, range)
    }

    /// A number.
    pub fn number(&self, key: &'static str, default: f64, range: RangeInclusive<f64>) -> f64 {
        let node = self.node(key);
        let read = node.and_then(|node| number(self.desk, node, &range));
        // Whole numbers are shown without a fraction, as they are written.
        let shown = match read.unwrap_or(default) {
            whole if whole.fract() == 0.0 => json!(whole as i64),
            other => json!(other),
        };
        self.record(key, node, shown);
        read.unwrap_or(default)
    }

    /// A boolean.
    pub fn switch(&self, key: &'static str, default: bool) -> bool {
        let node = self.node(key);
        let read = node.and_then(|node| switch(self.desk, node));
        self.record(key, node, json!(read.unwrap_or(default)));
        read.unwrap_or(default)
    }

    /// One of some words; the first is the default.
    pub fn word<T: Clone, const N: usize>(&self, key: &'static str, words: [(&str, T); N]) -> T {
        let node = self.node(key);
        self.note(key, node, json!(words[0].0));
        node.and_then(|node| text(self.desk, node, |text| units::word(text, &words)))
            .unwrap_or_else(|| words[0].1.clone())
    }

    /// A string that is shown nowhere.
    pub fn secret(&self, key: &'static str) -> Option<Secret> {
        let node = self.node(key);
        let shown = node.map_or(Json::Null, |_| json!("***"));
        self.record(key, node, shown);
        let node = node?;
        let Form::Text(text) = &node.form else {
            refuse_kind(self.desk, node, "a string");
            return None;
        };
        // `${NAME:-default}` is as literal as the default.
        if !text.alone || text.raw.contains(":-") {
            self.desk.hide(node.span.clone());
        }
        let mend = "write one, or a placeholder such as `${file:/run/secrets/NAME}`";
        match text.text.as_str() {
            "" => self.error(key, "is an empty secret", mend),
            "***" => self.error(
                key,
                "is what stands in place of a secret where one is shown",
                mend,
            ),
            _ => return Some(Secret(text.text.clone())),
        }
        None
    }

    /// A table of its own, read as an empty one where it is absent.
    pub fn table<T>(&self, key: &'static str, read: impl Fn(&Table<'a>) -> T) -> T {
        let node = self.node(key);
        node.and_then(|node| Table::read(self.desk, node, &read))
            .unwrap_or_else(|| read(&self.empty(key)))
    }

    /// A table that stands for one the file does not have.
    pub fn empty(&self, key: &str) -> Table<'a> {
        Table {
            desk: self.desk,
            key: self.path(key),
            place: self.place_of(key),
            entries: None,
            asked: RefCell::default(),
            is_left: Cell::default(),
        }
    }

    /// Nothing can be said about the rest of its keys.
    pub fn leave_unread(&self) {
        self.is_left.set(true);
    }

    /// A table of its own that may be absent.
    pub fn optional_table<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Table<'a>) -> T,
    ) -> Option<T> {
        let Some(node) = self.node(key) else {
            self.record(key, None, Json::Null);
            return None;
        };
        Table::read(self.desk, node, read)
    }

    /// `[key.NAME]`: every table under a key, by name.
    pub fn named<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Table<'a>, &str) -> T,
    ) -> BTreeMap<String, T> {
        let Some(node) = self.node(key) else {
            return BTreeMap::new();
        };
        let Form::Table(entries) = &node.form else {
            refuse_kind(self.desk, node, &format!("named tables (`[{key}.NAME]`)"));
            return BTreeMap::new();
        };
        let one = |(name, entry): (&String, &'a Entry)| {
            if let Err(Wrong { what, mend }) = units::name(name) {
                let what = format!("{} {what}", units::quote(name));
                self.desk.error(entry.place, &entry.node.key, what, mend);
            }
            let value = Table::read(self.desk, &entry.node, |table| read(table, name))?;
            Some((name.clone(), value))
        };
        entries.iter().filter_map(one).collect()
    }

    /// `[[key]]`: every table of a list, with its index.
    pub fn tables<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Table<'a>, usize) -> Option<T>,
    ) -> Vec<T> {
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let Form::List(items) = &node.form else {
            refuse_kind(self.desk, node, &format!("a list of tables (`[[{key}]]`)"));
            return Vec::new();
        };
        let one = |(index, node)| Table::read(self.desk, node, |table| read(table, index))?;
        items.iter().enumerate().filter_map(one).collect()
    }

    /// Keys that belong to another kind of the same thing.
    pub fn refuse_elsewhere<const N: usize>(
        &self,
        keys: [&'static str; N],
        what: &str,
        mend: &str,
    ) {
        for (key, entry) in self.present(keys) {
            self.desk.error(entry.place, &self.path(key), what, mend);
        }
    }

    /// Keys of later versions that protect something: silence would be a false promise.
    pub fn refuse_later<const N: usize>(&self, keys: [&'static str; N], purpose: &str) {
        for (key, entry) in self.present(keys) {
            let what = format!("is not supported by this version: {purpose}");
            self.desk
                .error(entry.place, &self.path(key), what, "remove it");
        }
    }

    /// Keys of later versions that only tune.
    pub fn ignore_later<const N: usize>(&self, keys: [&'static str; N]) {
        for (key, entry) in self.present(keys) {
            let (what, mend) = (
                "has no effect in this version",
                "remove it, or leave it for later",
            );
            self.desk.warning(entry.place, &self.path(key), what, mend);
        }
    }

    /// Those of some known keys that the file has.
    fn present<const N: usize>(
        &self,
        keys: [&'static str; N],
    ) -> impl Iterator<Item = (&'static str, &'a Entry)> {
        self.asked.borrow_mut().extend(keys);
        keys.into_iter()
            .filter_map(|key| Some((key, self.peek(key)?)))
    }

    /// Where the value of a key stands, or else the table.
    pub fn place_of(&self, key: &str) -> usize {
        self.peek(key)
            .map_or(self.place, |entry| entry.node.span.start)
    }

    /// A key, or one inside a table of its own (`replay.age`).
    fn peek(&self, key: &str) -> Option<&'a Entry> {
        match key.split_once('.') {
            None => self.entries?.get(key),
            Some((outer, inner)) => match &self.entries?.get(outer)?.node.form {
                Form::Table(entries) => entries.get(inner),
                _ => None,
            },
        }
    }

    fn counted(
        &self,
        key: &'static str,
        default: Json,
        range: RangeInclusive<usize>,
    ) -> Option<usize> {
        let node = self.node(key);
        let read = node.and_then(|node| integer(self.desk, node, &range));
        self.record(key, node, read.map_or(default, |read| json!(read)));
        read
    }

    /// Notes a value as it is to be shown.
    pub fn record(&self, key: &str, node: Option<&Node>, value: Json) {
        let origin = node.and_then(Node::origin);
        let source = match (node, origin) {
            (_, Some(Origin::Env(name))) => format!("env:{name}"),
            (_, Some(Origin::File(path))) => format!("secret-file:{}", path.display()),
            (Some(node), None) => {
                let (line, column) = self.desk.position(node.span.start);
                format!("file:{line}:{column}")
            }
            (None, None) => "default".to_owned(),
        };
        // What a `${file:…}` brings is taken for a secret, unless it turned out to be a number or a switch.
        let is_secret = matches!(origin, Some(Origin::File(_)));
        let value = match value {
            Json::Bool(_) | Json::Number(_) | Json::Null => value,
            _ if is_secret => json!("***"),
            _ => value,
        };
        let key = self.path(key);
        self.desk.note(Value { key, value, source });
    }

    fn name_unknown(&self) {
        if self.is_left.get() {
            return;
        }
        let asked = self.asked.borrow();
        for (name, entry) in self.entries.into_iter().flatten() {
            if asked.contains(&name.as_str()) {
                continue;
            }
            let what = "is no key of this table";
            let mend = match units::closest(name, asked.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => {
                    let known: BTreeSet<_> = asked.iter().copied().collect();
                    format!("its keys are {}", units::listed(known.into_iter()))
                }
            };
            self.desk.error(entry.place, &entry.node.key, what, mend);
        }
    }
}

/// Reads a node as a string.
pub(super) fn text<T>(
    desk: &Desk<'_>,
    node: &Node,
    parse: impl Fn(&str) -> Result<T, Wrong>,
) -> Option<T> {
    let Form::Text(text) = &node.form else {
        // A number where `"5s"` was meant: the parser knows the mend.
        let bare = node.json().to_string();
        match (&node.form, parse(&bare)) {
            (Form::Integer(_) | Form::Number(_), Err(Wrong { what, mend })) => {
                desk.error(node.span.start, &node.key, format!("`{bare}` {what}"), mend);
            }
            _ => refuse_kind(desk, node, "a string"),
        }
        return None;
    };
    let refuse = |wrong: Wrong| {
        let Wrong { what, mend } = match text.origin {
            Some(_) => wrong.discreet(),
            None => wrong,
        };
        let what = format!("{} {what}", shown(text));
        desk.error(node.span.start, &node.key, what, mend);
    };
    parse(&text.text).map_err(refuse).ok()
}

/// A string as problems may show it.
fn shown(text: &Text) -> String {
    match text.origin {
        Some(_) => format!("the value of {}", units::quote(&text.raw)),
        None => units::quote(&text.raw),
    }
}

/// Reads a node as a list of strings.
pub(super) fn texts<T>(
    desk: &Desk<'_>,
    node: &Node,
    parse: impl Fn(&str) -> Result<T, Wrong>,
) -> Vec<T> {
    let Form::List(items) = &node.form else {
        refuse_kind(desk, node, "a list of strings");
        return Vec::new();
    };
    items
        .iter()
        .filter_map(|item| text(desk, item, &parse))
        .collect()
}

/// Reports a value of another kind than the key wants.
pub(super) fn refuse_kind(desk: &Desk<'_>, node: &Node, wanted: &str) {
    let mend = match (&node.form, wanted) {
        (Form::Failed, _) => return,
        (Form::Text(_), "a list of strings") => "put it in brackets",
        (_, "a list of strings") => "write one such as `[\"a\", \"b\"]`",
        (Form::List(_) | Form::Table(_), "a string") => "write one value in quotes",
        (_, "a string") => "put it in quotes",
        (_, "a boolean") => "write `true` or `false`",
        (_, "a whole number") => "write digits alone, such as `10`",
        (_, "a number") => "write it without quotes, such as `12.5`",
        _ => "write `{key = value}`, or give it a table of its own",
    };
    let what = match &node.form {
        Form::Text(text) if text.alone => format!("{} must be {wanted}", shown(text)),
        _ => format!("must be {wanted}, not {}", node.kind()),
    };
    desk.error(node.span.start, &node.key, what, mend);
}

fn integer(desk: &Desk<'_>, node: &Node, range: &RangeInclusive<usize>) -> Option<usize> {
    let number = match &node.form {
        Form::Integer(number) => Some(*number),
        Form::Text(text) if text.alone => text.text.trim().parse().ok(),
        _ => None,
    };
    let Some(number) = number else {
        refuse_kind(desk, node, "a whole number");
        return None;
    };
    let fitting = usize::try_from(number).ok().filter(|n| range.contains(n));
    if fitting.is_none() {
        let (least, most) = (range.start(), range.end());
        let mend = match *most {
            usize::MAX => format!("write {least} or more"),
            _ => format!("write {least} to {most}"),
        };
        desk.error(node.span.start, &node.key, "is out of range", mend);
    }
    fitting
}

fn number(desk: &Desk<'_>, node: &Node, range: &RangeInclusive<f64>) -> Option<f64> {
    let number = match &node.form {
        Form::Integer(number) => Some(*number as f64),
        Form::Number(number) => Some(*number),
        Form::Text(text) if text.alone => text.text.trim().parse().ok(),
        _ => None,
    };
    let Some(number) = number else {
        refuse_kind(desk, node, "a number");
        return None;
    };
    if !range.contains(&number) {
        let mend = format!("write {} to {}", range.start(), range.end());
        desk.error(node.span.start, &node.key, "is out of range", mend);
        return None;
    }
    Some(number)
}

fn switch(desk: &Desk<'_>, node: &Node) -> Option<bool> {
    let on = match &node.form {
        Form::Switch(on) => Some(*on),
        Form::Text(text) if text.alone => text.text.trim().parse().ok(),
        _ => None,
    };
    if on.is_none() {
        refuse_kind(desk, node, "a boolean");
    }
    on
}
