//! One table of the file while it is read.
//!
//! Every key is asked for by name, exactly where its value is used; a key that no reader asked for is
//! unknown. So the readers are the one list of keys there is.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::diagnostics::Diagnostics;
use super::placeholder::ValueOrigin;
use super::problem::Wrong;
use super::tree::{KeyEntry, Node, NodeForm};
use super::value::ConfigValue;
use super::{scalar, units};

/// See the page's head.
pub(crate) struct Table<'a> {
    pub(crate) desk: &'a Diagnostics<'a>,
    /// Dotted path; empty for the whole file.
    pub(crate) key: String,
    /// Where its header stands.
    pub(crate) place: usize,
    entries: Option<&'a BTreeMap<String, KeyEntry>>,
    asked: RefCell<Vec<&'static str>>,
    is_left: Cell<bool>,
}

impl<'a> Table<'a> {
    /// Reads a node as a table; `None` (reported) where it is something else.
    pub(crate) fn read<T>(
        desk: &'a Diagnostics<'a>,
        node: &'a Node,
        read: impl FnOnce(&Table<'a>) -> T,
    ) -> Option<T> {
        if !matches!(node.form, NodeForm::Table(_)) {
            scalar::refuse_kind(desk, node, "a table");
            return None;
        }
        let table = Table::of(desk, node);
        let value = read(&table);
        table.name_unknown();
        Some(value)
    }

    /// A node's keys, none where it is no table. Keys that no reader asks for are not reported.
    pub(crate) fn of(desk: &'a Diagnostics<'a>, node: &'a Node) -> Table<'a> {
        let entries = match &node.form {
            NodeForm::Table(entries) => Some(entries),
            _ => None,
        };
        Table {
            desk,
            key: node.key.clone(),
            place: node.span.start,
            entries,
            asked: RefCell::default(),
            is_left: Cell::default(),
        }
    }

    /// The dotted path of one of its keys.
    pub(crate) fn path(&self, key: &str) -> String {
        match self.key.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    /// Whether the file says anything about a key.
    pub(crate) fn says(&self, key: &str) -> bool {
        self.peek(key).is_some()
    }

    /// Whether the file says anything about any of some keys.
    pub(crate) fn says_any(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.says(key))
    }

    /// A mistake in the value of a key, or in its absence.
    pub(crate) fn error(&self, key: &str, what: impl Into<String>, fix: impl Into<String>) {
        self.desk
            .error(self.place_of(key), &self.path(key), what, fix);
    }

    /// As [`Table::error`], for what refuses nothing.
    pub(crate) fn warning(&self, key: &str, what: impl Into<String>, fix: impl Into<String>) {
        self.desk
            .warning(self.place_of(key), &self.path(key), what, fix);
    }

    /// The raw value of a key, for readers of values with several shapes.
    pub(crate) fn node(&self, key: &'static str) -> Option<&'a Node> {
        self.asked.borrow_mut().push(key);
        Some(&self.peek(key)?.node)
    }

    /// Notes the value of a key that was read by hand.
    pub(crate) fn note(&self, key: &str, node: Option<&Node>, default: Json) {
        self.record(key, node, node.map_or(default, Node::json));
    }

    /// A table of its own, read as an empty one where it is absent.
    pub(crate) fn table<T>(&self, key: &'static str, read: impl Fn(&Table<'a>) -> T) -> T {
        let node = self.node(key);
        node.and_then(|node| Table::read(self.desk, node, &read))
            .unwrap_or_else(|| read(&self.empty(key)))
    }

    /// A table that stands for one the file does not have.
    pub(crate) fn empty(&self, key: &str) -> Table<'a> {
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
    pub(crate) fn leave_unread(&self) {
        self.is_left.set(true);
    }

    /// A table of its own that may be absent.
    pub(crate) fn optional_table<T>(
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
    pub(crate) fn named<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Table<'a>, &str) -> T,
    ) -> BTreeMap<String, T> {
        let Some(node) = self.node(key) else {
            return BTreeMap::new();
        };
        let NodeForm::Table(entries) = &node.form else {
            self.error(
                key,
                "holds named tables alone",
                format!("write `[{key}.NAME]`"),
            );
            self.desk.spoil(key.to_owned());
            return BTreeMap::new();
        };
        let one = |(name, entry): (&String, &'a KeyEntry)| {
            if let Err(Wrong { what, fix }) = units::name(name) {
                let what = format!("{} {what}", units::quote(name));
                self.desk.error(entry.place, &entry.node.key, what, fix);
            }
            if !matches!(entry.node.form, NodeForm::Table(_)) {
                let what = format!("stands where the name of a `[{key}.NAME]` belongs");
                let fix = format!("write it below `[{key}.NAME]`");
                self.desk.error(entry.place, &entry.node.key, what, fix);
                self.desk.spoil(entry.node.key.clone());
                return None;
            }
            let value = Table::read(self.desk, &entry.node, |table| read(table, name))?;
            Some((name.clone(), value))
        };
        entries.iter().filter_map(one).collect()
    }

    /// `[[key]]`: every table of a list, with its index.
    pub(crate) fn tables<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Table<'a>, usize) -> Option<T>,
    ) -> Vec<T> {
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let NodeForm::List(items) = &node.form else {
            scalar::refuse_kind(self.desk, node, "a list of tables");
            return Vec::new();
        };
        let one = |(index, node)| Table::read(self.desk, node, |table| read(table, index))?;
        items.iter().enumerate().filter_map(one).collect()
    }

    /// Keys that belong to another kind of the same thing.
    pub(crate) fn refuse_elsewhere<const N: usize>(
        &self,
        keys: [&'static str; N],
        what: &str,
        fix: &str,
    ) {
        for (key, entry) in self.present(keys) {
            self.desk.error(entry.place, &self.path(key), what, fix);
        }
    }

    /// Keys of later versions that protect something: silence would be a false promise.
    pub(crate) fn refuse_later<const N: usize>(&self, keys: [&'static str; N], purpose: &str) {
        for (key, entry) in self.present(keys) {
            let what = format!("is not supported by this version: {purpose}");
            self.desk
                .error(entry.place, &self.path(key), what, "remove it");
        }
    }

    /// Keys of later versions that only tune.
    pub(crate) fn ignore_later<const N: usize>(&self, keys: [&'static str; N]) {
        for (key, entry) in self.present(keys) {
            let (what, fix) = (
                "has no effect in this version",
                "remove it, or leave it for later",
            );
            self.desk.warning(entry.place, &self.path(key), what, fix);
        }
    }

    /// Those of some known keys that the file has.
    fn present<const N: usize>(
        &self,
        keys: [&'static str; N],
    ) -> impl Iterator<Item = (&'static str, &'a KeyEntry)> {
        self.asked.borrow_mut().extend(keys);
        keys.into_iter()
            .filter_map(|key| Some((key, self.peek(key)?)))
    }

    /// Where the value of a key stands, or else the table.
    pub(crate) fn place_of(&self, key: &str) -> usize {
        self.peek(key)
            .map_or(self.place, |entry| entry.node.span.start)
    }

    /// A key, or one inside tables of its own (`replay.age`).
    pub(crate) fn peek(&self, key: &str) -> Option<&'a KeyEntry> {
        let (mut entries, mut key) = (self.entries?, key);
        while let Some((outer, inner)) = key.split_once('.') {
            let NodeForm::Table(within) = &entries.get(outer)?.node.form else {
                return None;
            };
            (entries, key) = (within, inner);
        }
        entries.get(key)
    }

    /// Notes a value as it is to be shown.
    pub(crate) fn record(&self, key: &str, node: Option<&Node>, value: Json) {
        let origin = node.and_then(Node::origin);
        let source = match (node, origin) {
            (_, Some(ValueOrigin::Env(name))) => format!("env:{name}"),
            (_, Some(ValueOrigin::File(path))) => format!("secret-file:{}", path.display()),
            (Some(node), None) => {
                let (line, column) = self.desk.position(node.span.start);
                format!("file:{line}:{column}")
            }
            (None, None) => "default".to_owned(),
        };
        // What a `${file:…}` brings is taken for a secret, unless it turned out to be a number or a switch.
        let is_secret = matches!(origin, Some(ValueOrigin::File(_)));
        let value = match value {
            Json::Bool(_) | Json::Number(_) | Json::Null => value,
            _ if is_secret => json!("***"),
            _ => value,
        };
        let key = self.path(key);
        self.desk.note(ConfigValue { key, value, source });
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
            let fix = match units::closest(name, asked.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => {
                    let known: BTreeSet<_> = asked.iter().copied().collect();
                    format!("its keys are {}", units::listed(known.into_iter()))
                }
            };
            self.desk.error(entry.place, &entry.node.key, what, fix);
        }
    }
}
