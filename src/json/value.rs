//! One value of a text.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserializer, Error, Visitor};

use super::{Node, Tree, Unread, number};

/// One value of a [`Tree`].
#[derive(Clone, Copy)]
pub struct Value<'a> {
    text: &'a [u8],
    nodes: &'a [Node],
    at: usize,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A number.
    Number,
    /// A text.
    Text,
    /// An array.
    List,
    /// An object.
    Object,
}

/// A plain value, spelled in one way only: equal where the values are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// In its one spelling: digits and an exponent.
    Number(String),
    /// UTF-8, in which a surrogate may stand alone.
    Text(Vec<u8>),
}

/// The members of an object by name; of two with one name the last.
pub struct Members<'a> {
    list: Vec<(Value<'a>, Value<'a>)>,
    by_name: HashMap<Cow<'a, [u8]>, usize>,
}

impl<'a> Value<'a> {
    pub(super) fn new(text: &'a [u8], nodes: &'a [Node], at: usize) -> Self {
        Value { text, nodes, at }
    }

    /// As it was written.
    pub fn text(self) -> &'a [u8] {
        let (start, end) = self.span();
        self.text.get(start..end).unwrap_or_default()
    }

    /// Where it stands in the whole text.
    pub fn span(self) -> (usize, usize) {
        let node = self.nodes.get(self.at);
        node.map_or((0, 0), |node| (node.start as usize, node.end as usize))
    }

    /// What it is.
    pub fn form(self) -> Form {
        match self.text().first() {
            Some(b'{') => Form::Object,
            Some(b'[') => Form::List,
            Some(b'"') => Form::Text,
            Some(b't' | b'f') => Form::Bool,
            Some(b'n') | None => Form::Null,
            Some(_) => Form::Number,
        }
    }

    /// What an array holds; of an object names and values in turn.
    pub fn items(self) -> impl Iterator<Item = Value<'a>> + Clone {
        let next = |at: usize| {
            self.nodes
                .get(at)
                .map_or(usize::MAX, |node| node.next as usize)
        };
        let end = next(self.at);
        let begin = Some(self.at + 1).filter(|at| *at < end);
        std::iter::successors(begin, move |at| Some(next(*at)).filter(|at| *at < end))
            .map(move |at| Value { at, ..self })
    }

    /// Names and values of an object as they stand, also those that a later one of the same name replaces.
    pub fn pairs(self) -> impl Iterator<Item = (Value<'a>, Value<'a>)> + Clone {
        let names = self.items().step_by(2);
        names.zip(self.items().skip(1).step_by(2))
    }

    /// The members of an object.
    pub fn members(self) -> Members<'a> {
        let mut list: Vec<(Value<'a>, Value<'a>)> = Vec::new();
        let mut by_name = HashMap::new();
        for pair in self.pairs() {
            let at = *by_name.entry(pair.0.plain()).or_insert(list.len());
            match list.get_mut(at) {
                Some(before) => *before = pair,
                None => list.push(pair),
            }
        }
        Members { list, by_name }
    }

    /// A member of an object, or an element of an array, by a token of a JSON Pointer.
    pub fn get(self, token: &str) -> Option<Value<'a>> {
        match self.form() {
            Form::Object => {
                let named = |(name, _): &(Value<'a>, Value<'a>)| name.is_text(token.as_bytes());
                self.pairs().filter(named).last().map(|(_, value)| value)
            }
            Form::List => self.items().nth(index(token)?),
            _ => None,
        }
    }

    /// What stands at the tokens of a JSON Pointer.
    pub fn pointer(self, tokens: &[String]) -> Option<Value<'a>> {
        let mut tokens = tokens.iter();
        tokens.try_fold(self, |at, token| at.get(token))
    }

    /// As [`Value::pointer`], all of those whose members bear the same names.
    pub fn every(self, tokens: &[String]) -> Vec<Value<'a>> {
        let step = |found: Vec<Value<'a>>, token: &String| {
            let mut next = Vec::new();
            for value in found {
                match value.form() {
                    Form::Object => {
                        let named = value
                            .pairs()
                            .filter(|(name, _)| name.is_text(token.as_bytes()));
                        next.extend(named.map(|(_, value)| value));
                    }
                    _ => next.extend(value.get(token)),
                }
            }
            next
        };
        tokens.iter().fold(vec![self], step)
    }

    /// A text, or a member's name, without quotes and escapes.
    pub fn plain(self) -> Cow<'a, [u8]> {
        let text = self.text();
        let inner = text
            .get(1..text.len().saturating_sub(1))
            .unwrap_or_default();
        match memchr::memchr(b'\\', inner) {
            None => Cow::Borrowed(inner),
            Some(_) => Cow::Owned(unescaped(text)),
        }
    }

    /// Whether it is this text, or a member of this name.
    fn is_text(self, wanted: &[u8]) -> bool {
        self.text().first() == Some(&b'"') && *self.plain() == *wanted
    }

    /// A plain value; `None` for arrays and objects.
    pub fn scalar(self) -> Option<Scalar> {
        Some(match self.form() {
            Form::Null => Scalar::Null,
            Form::Bool => Scalar::Bool(self.text() == b"true"),
            Form::Number => Scalar::Number(number::canonical(self.number())),
            Form::Text => Scalar::Text(self.plain().into_owned()),
            Form::List | Form::Object => return None,
        })
    }

    /// A number's text.
    pub(super) fn number(self) -> &'a str {
        std::str::from_utf8(self.text()).unwrap_or_default()
    }

    /// Whether it holds what programs read in different ways: an unpaired surrogate, a number beyond a double.
    pub fn is_odd(self) -> bool {
        let end = self
            .nodes
            .get(self.at)
            .map_or(self.at, |node| node.next as usize);
        let mut inner = (self.at..end).map(|at| Value { at, ..self });
        inner.any(|value| match value.form() {
            Form::Text => std::str::from_utf8(&value.plain()).is_err(),
            Form::Number => !value.number().parse().is_ok_and(f64::is_finite),
            _ => false,
        })
    }

    /// As a value of `serde_json`; `null` in place of what that cannot hold exactly, what stands twice, and what is nested
    /// deeper than `room`.
    pub fn exact(self, room: usize) -> serde_json::Value {
        use serde_json::Value as Json;
        match self.form() {
            Form::List if room > 0 => self.items().map(|item| item.exact(room - 1)).collect(),
            Form::Object if room > 0 => {
                let mut members = serde_json::Map::new();
                for (name, value) in self.pairs() {
                    let name = String::from_utf8_lossy(&name.plain()).into_owned();
                    let is_twice = members.contains_key(&name);
                    let value = match is_twice || name.contains(char::REPLACEMENT_CHARACTER) {
                        true => Json::Null,
                        false => value.exact(room - 1),
                    };
                    members.insert(name, value);
                }
                Json::Object(members)
            }
            Form::List | Form::Object | Form::Null => Json::Null,
            Form::Bool => Json::Bool(self.text() == b"true"),
            Form::Text => match String::from_utf8(self.plain().into_owned()) {
                Ok(text) => Json::String(text),
                Err(_) => Json::Null,
            },
            Form::Number => {
                let text = self.number();
                let whole = text.parse::<u64>().map(Json::from);
                let whole = whole.or_else(|_| text.parse::<i64>().map(Json::from));
                let read =
                    whole.unwrap_or_else(|_| text.parse::<f64>().map_or(Json::Null, Json::from));
                match number::equal(&read.to_string(), text) {
                    true => read,
                    false => Json::Null,
                }
            }
        }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.text()))
    }
}

impl Scalar {
    /// Reads a text; `None` where it is no plain value.
    pub fn read(text: &[u8]) -> Option<Scalar> {
        match Tree::read(text) {
            Ok(tree) => tree.root().scalar(),
            Err(Unread::NotJson | Unread::Deep) => None,
        }
    }

    /// Whether it is this text.
    pub fn is_text(&self, wanted: &str) -> bool {
        matches!(self, Scalar::Text(text) if text == wanted.as_bytes())
    }
}

impl<'a> Members<'a> {
    /// Each name with its value, in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = (Value<'a>, Value<'a>)> {
        self.list.iter().copied()
    }

    /// The value of the member with this name.
    pub fn get(&self, name: Value<'_>) -> Option<Value<'a>> {
        let at = self.by_name.get(&*name.plain())?;
        self.list.get(*at).map(|(_, value)| *value)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }
}

/// A place in an array: digits without a leading zero.
fn index(token: &str) -> Option<usize> {
    let is_plain = token.bytes().all(|byte| byte.is_ascii_digit());
    let is_padded = token.len() > 1 && token.starts_with('0');
    (is_plain && !is_padded)
        .then(|| token.parse().ok())
        .flatten()
}

/// A text without quotes and escapes. Where it is asked for bytes `serde_json` lets a surrogate stand alone.
fn unescaped(text: &[u8]) -> Vec<u8> {
    struct Bytes;
    impl Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    reader.deserialize_bytes(Bytes).unwrap_or_default()
}
