//! Asking a table for a key of some type: the value, or a default that is written as in the file.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::problem::Wrong;
use super::table::Table;
use super::tree::{KeyEntry, Node, NodeForm};
use super::{scalar, units};
use crate::config::parser::secret::Secret;

impl Table<'_> {
    /// A string.
    pub(crate) fn text<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let node = self.node(key);
        self.note(key, node, Json::Null);
        scalar::text(self.desk, node?, parse)
    }

    /// A string that must be there.
    pub(crate) fn required<T>(
        &self,
        key: &'static str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        self.demand(key, example);
        self.text(key, parse)
    }

    /// Reports the absence of a key.
    pub(crate) fn demand(&self, key: &str, example: &str) {
        if !self.says(key) {
            let fix = format!("write one, such as `{key} = {example}`");
            self.desk
                .absent(self.place, &self.path(key), "is missing", fix);
        }
    }

    /// A string with a default that is written like it.
    pub(crate) fn text_or<T: Default>(
        &self,
        key: &'static str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> T {
        let node = self.node(key);
        self.note(key, node, json!(default));
        node.and_then(|node| scalar::text(self.desk, node, &parse))
            .or_else(|| parse(default).ok())
            .unwrap_or_default()
    }

    /// What a name stands for, among `[kind.NAME]`.
    pub(crate) fn reference<T>(
        &self,
        key: &'static str,
        kind: &str,
        all: &BTreeMap<String, Arc<T>>,
    ) -> Option<Arc<T>> {
        let node = self.node(key);
        self.note(key, node, Json::Null);
        self.referred(node?, kind, all)
    }

    /// What one name stands for, or each of a list; an empty list where the key is absent.
    pub(crate) fn references<T>(
        &self,
        key: &'static str,
        kind: &str,
        all: &BTreeMap<String, Arc<T>>,
    ) -> Vec<Arc<T>> {
        let node = self.node(key);
        self.note(key, node, Json::Null);
        self.refuse_empty(key, "\"NAME\"");
        let Some(node) = node else {
            return Vec::new();
        };
        let items = match &node.form {
            NodeForm::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let found = items
            .iter()
            .filter_map(|item| self.referred(item, kind, all));
        let mut distinct = Vec::<Arc<T>>::new();
        for found in found {
            match distinct.iter().any(|before| Arc::ptr_eq(before, &found)) {
                true => self.error(key, "names one of them twice", "name each once"),
                false => distinct.push(found),
            }
        }
        distinct
    }

    fn referred<T>(
        &self,
        node: &Node,
        kind: &str,
        all: &BTreeMap<String, Arc<T>>,
    ) -> Option<Arc<T>> {
        let name = scalar::text(self.desk, node, |name| Ok(name.to_owned()))?;
        let found = all.get(&name).cloned();
        if found.is_none() && !self.desk.is_spoiled(kind, &name) {
            let what = format!("{} names no `[{kind}.NAME]`", scalar::written(node));
            let fix = match units::closest(&name, all.keys().map(String::as_str)) {
                Some(known) => format!("did you mean \"{known}\"?"),
                None => format!("write that `[{kind}.NAME]`, or name another"),
            };
            self.desk.absent(node.span.start, &node.key, what, fix);
        }
        found
    }

    /// A table of strings, by name.
    pub(crate) fn pairs<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> BTreeMap<String, T> {
        let node = self.node(key);
        self.note(key, node, json!({}));
        let Some(node) = node else {
            return BTreeMap::new();
        };
        let NodeForm::Table(entries) = &node.form else {
            scalar::refuse_kind(self.desk, node, "a table");
            return BTreeMap::new();
        };
        let one = |(name, entry): (&String, &KeyEntry)| {
            Some((name.clone(), scalar::text(self.desk, &entry.node, &parse)?))
        };
        entries.iter().filter_map(one).collect()
    }

    /// Reports a list that holds nothing.
    pub(crate) fn refuse_empty(&self, key: &str, example: &str) {
        let form = self.peek(key).map(|entry| &entry.node.form);
        if matches!(form, Some(NodeForm::List(items)) if items.is_empty()) {
            self.error(
                key,
                "is an empty list",
                format!("write one such as {example}"),
            );
        }
    }

    /// A list of strings; an empty one where the key is absent.
    pub(crate) fn texts<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Vec<T> {
        let node = self.node(key);
        self.note(key, node, json!([]));
        node.map_or(Vec::new(), |node| scalar::texts(self.desk, node, parse))
    }

    /// A list of strings with a default that is written like it.
    pub(crate) fn texts_or<T>(
        &self,
        key: &'static str,
        default: &[&str],
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Vec<T> {
        let node = self.node(key);
        self.note(key, node, json!(default));
        match node {
            Some(node) => scalar::texts(self.desk, node, parse),
            None => default.iter().filter_map(|text| parse(text).ok()).collect(),
        }
    }

    /// A string above: `"250ms"`, `"5s"`, `"7d"`; never zero.
    pub(crate) fn duration(&self, key: &'static str, default: &str) -> Duration {
        self.text_or(key, default, units::duration)
    }

    /// As [`Table::duration`], and zero means at once.
    pub(crate) fn window(&self, key: &'static str, default: &str) -> Duration {
        self.text_or(key, default, units::window)
    }

    /// `"64KiB"`, `"1MiB"`; never zero.
    pub(crate) fn size(&self, key: &'static str, default: &str) -> usize {
        self.text_or(key, default, units::size)
    }

    /// A whole number.
    pub(crate) fn integer(
        &self,
        key: &'static str,
        default: usize,
        range: RangeInclusive<usize>,
    ) -> usize {
        self.counted(key, json!(default), range).unwrap_or(default)
    }

    /// A whole number that may be absent.
    pub(crate) fn optional_integer(
        &self,
        key: &'static str,
        range: RangeInclusive<usize>,
    ) -> Option<usize> {
        self.counted(key, Json::Null, range)
    }

    /// A number.
    pub(crate) fn number(
        &self,
        key: &'static str,
        default: f64,
        range: RangeInclusive<f64>,
    ) -> f64 {
        let node = self.node(key);
        let read = node.and_then(|node| scalar::number(self.desk, node, &range));
        // Whole numbers are shown without a fraction, as they are written.
        let shown = match read.unwrap_or(default) {
            whole if whole.fract() == 0.0 => json!(whole as i64),
            other => json!(other),
        };
        self.record(key, node, shown);
        read.unwrap_or(default)
    }

    /// A boolean.
    pub(crate) fn switch(&self, key: &'static str, default: bool) -> bool {
        let node = self.node(key);
        let read = node.and_then(|node| scalar::switch(self.desk, node));
        self.record(key, node, json!(read.unwrap_or(default)));
        read.unwrap_or(default)
    }

    /// One of some words; the first is the default.
    pub(crate) fn word<T: Clone, const N: usize>(
        &self,
        key: &'static str,
        words: [(&str, T); N],
    ) -> T {
        let node = self.node(key);
        self.note(key, node, json!(words[0].0));
        node.and_then(|node| scalar::text(self.desk, node, |text| units::word(text, &words)))
            .unwrap_or_else(|| words[0].1.clone())
    }

    /// `percent`, in thousandths.
    pub(crate) fn percent(&self, default: f64) -> u32 {
        let percent = self.number("percent", default, 0.0..=100.0);
        units::thousandths(percent).unwrap_or_else(|Wrong { what, fix }| {
            self.error("percent", what, fix);
            0
        })
    }

    /// A string that is shown nowhere.
    pub(crate) fn secret(&self, key: &'static str) -> Option<Secret> {
        let node = self.node(key);
        let shown = node.map_or(Json::Null, |_| json!("***"));
        self.record(key, node, shown);
        let node = node?;
        let NodeForm::Text(text) = &node.form else {
            scalar::refuse_kind(self.desk, node, "a string");
            return None;
        };
        // `${NAME:-default}` is as literal as the default.
        if !text.alone || text.raw.contains(":-") {
            self.desk.hide(node.span.clone());
        }
        let fix = "write one, or a placeholder such as `${file:/run/secrets/NAME}`";
        match text.text.as_str() {
            "" => self.error(key, "is an empty secret", fix),
            "***" => self.error(
                key,
                "is what stands in place of a secret where one is shown",
                fix,
            ),
            _ => return Some(Secret(text.text.clone())),
        }
        None
    }

    fn counted(
        &self,
        key: &'static str,
        default: Json,
        range: RangeInclusive<usize>,
    ) -> Option<usize> {
        let node = self.node(key);
        let read = node.and_then(|node| scalar::integer(self.desk, node, &range));
        self.record(key, node, read.map_or(default, |read| json!(read)));
        read
    }
}
