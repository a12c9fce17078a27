//! The file as a tree with places, placeholders filled in: what the readers walk.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::json;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::diagnostics::Diagnostics;
use super::placeholder::{self, Text, ValueOrigin};
use super::problem::Wrong;

/// One value of the file.
#[derive(Debug)]
pub(crate) struct Node {
    /// Dotted path.
    pub(crate) key: String,
    /// Bytes of the file.
    pub(crate) span: Range<usize>,
    /// What it is.
    pub(crate) form: NodeForm,
}

/// See [`Node::form`].
#[derive(Debug)]
pub(crate) enum NodeForm {
    Text(Text),
    Integer(i64),
    Number(f64),
    Switch(bool),
    Date(String),
    List(Vec<Node>),
    Table(BTreeMap<String, KeyEntry>),
    /// Unreadable, and reported as such.
    Failed,
}

/// A key with its value.
#[derive(Debug)]
pub(crate) struct KeyEntry {
    /// Where the key stands.
    pub(crate) place: usize,
    /// Its value.
    pub(crate) node: Node,
}

impl Node {
    /// "a string", "a table" …
    pub(crate) fn kind(&self) -> &'static str {
        match self.form {
            NodeForm::Text(_) => "a string",
            NodeForm::Integer(_) => "a whole number",
            NodeForm::Number(_) => "a number with a fraction",
            NodeForm::Switch(_) => "a boolean",
            NodeForm::Date(_) => "a date",
            NodeForm::List(_) => "a list",
            NodeForm::Table(_) => "a table",
            NodeForm::Failed => "unreadable",
        }
    }

    /// A string, placeholders filled in.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.form {
            NodeForm::Text(text) => Some(&text.text),
            _ => None,
        }
    }

    /// The value as JSON, placeholders filled in.
    pub(crate) fn json(&self) -> serde_json::Value {
        match &self.form {
            NodeForm::Text(text) => json!(text.text),
            NodeForm::Integer(number) => json!(number),
            NodeForm::Number(number) => json!(number),
            NodeForm::Switch(on) => json!(on),
            NodeForm::Date(date) => json!(date),
            NodeForm::List(items) => items.iter().map(Node::json).collect(),
            NodeForm::Table(entries) => entries
                .iter()
                .map(|(key, entry)| (key.clone(), entry.node.json()))
                .collect(),
            NodeForm::Failed => serde_json::Value::Null,
        }
    }

    /// Where its first placeholder was filled in from.
    pub(crate) fn origin(&self) -> Option<&ValueOrigin> {
        match &self.form {
            NodeForm::Text(text) => text.origin.as_ref(),
            NodeForm::List(items) => items.iter().find_map(Node::origin),
            NodeForm::Table(entries) => entries.values().find_map(|entry| entry.node.origin()),
            _ => None,
        }
    }
}

/// Parses the text and fills in placeholders; a broken syntax yields what could be read around it.
pub(crate) fn grow(desk: &Diagnostics<'_>) -> Node {
    let (table, errors) = DeTable::parse_recoverable(desk.text);
    for error in errors {
        let place = error.span().map_or(0, |span| span.start);
        match error.message() {
            twice @ "duplicate key" => desk.twice(place, twice.to_owned()),
            other => desk.syntax(place, other),
        }
    }
    let form = entries(desk, "", table.get_ref());
    Node {
        key: String::new(),
        span: 0..0,
        form,
    }
}

fn entries(desk: &Diagnostics<'_>, path: &str, table: &DeTable<'_>) -> NodeForm {
    let entry = |(name, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
        let place = name.span().start;
        let name = name.get_ref().to_string();
        let key = match path {
            "" => name.clone(),
            _ => format!("{path}.{name}"),
        };
        let node = node(desk, key, value);
        (name, KeyEntry { place, node })
    };
    NodeForm::Table(table.iter().map(entry).collect())
}

fn node(desk: &Diagnostics<'_>, key: String, value: &Spanned<DeValue<'_>>) -> Node {
    let span = value.span();
    let failed = |wrong: Wrong| {
        let Wrong { what, fix } = wrong;
        desk.error(span.start, &key, what, fix);
        NodeForm::Failed
    };
    let form = match value.get_ref() {
        DeValue::String(raw) => match placeholder::expand(raw, desk.world) {
            Ok(text) => NodeForm::Text(text),
            Err(wrong) => failed(wrong),
        },
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => NodeForm::Integer(number),
            Err(_) => failed(Wrong::new("is too large a number", "write a smaller one")),
        },
        DeValue::Float(number) => match number.as_str().parse::<f64>() {
            Ok(number) if number.is_finite() => NodeForm::Number(number),
            _ => failed(Wrong::new("is no finite number", "write a plain number")),
        },
        DeValue::Boolean(on) => NodeForm::Switch(*on),
        DeValue::Datetime(date) => NodeForm::Date(date.to_string()),
        DeValue::Array(items) => {
            let item = |(index, item): (usize, &Spanned<DeValue<'_>>)| {
                let key = match item.get_ref() {
                    DeValue::Table(_) => format!("{key}.{index}"),
                    _ => key.clone(),
                };
                node(desk, key, item)
            };
            NodeForm::List(items.iter().enumerate().map(item).collect())
        }
        DeValue::Table(table) => entries(desk, &key, table),
    };
    Node { key, span, form }
}
