//! One value of a text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error, Visitor};

use super::{DEPTH, Index, Unread, is_json, number, scan};

/// One value: its text, without white space around it.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a>(&'a [u8]);

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
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
pub(crate) struct Members<'a> {
    object: Value<'a>,
    /// By the name without quotes and escapes.
    index: Index,
    /// Some names may be there twice.
    has_twins: bool,
}

impl<'a> Value<'a> {
    /// Reads a text.
    ///
    /// # Errors
    /// [`Unread`].
    pub(crate) fn read(text: &'a [u8]) -> Result<Self, Unread> {
        match is_json(text) {
            true => Value::of_json(text).ok_or(Unread::Deep),
            false => Err(Unread::NotJson),
        }
    }

    /// Reads what is known to be JSON; `None` where it is nested too deep. Any other text makes some value.
    pub(crate) fn of_json(text: &'a [u8]) -> Option<Self> {
        let is_short = u32::try_from(text.len()).is_ok();
        (is_short && scan::is_within(text, DEPTH)).then(|| Value::at(text, 0))
    }

    /// Reads a text however deep it is, for looking things up: what is found is not to be compared. `None` where it is no JSON.
    pub(crate) fn read_deep(text: &'a [u8]) -> Option<Self> {
        is_json(text).then(|| Value::at(text, 0))
    }

    /// The next value at or behind this place of what is known to be JSON.
    pub(crate) fn at(text: &'a [u8], place: usize) -> Self {
        let begin = scan::skip_marks(text, place);
        let end = scan::end_of_value(text, begin);
        Value(text.get(begin..end).unwrap_or_default())
    }

    /// As it was written.
    pub(crate) fn text(self) -> &'a [u8] {
        self.0
    }

    /// Where it begins in the text that it stands in.
    pub(crate) fn place_in(self, whole: &[u8]) -> usize {
        self.0.as_ptr().addr() - whole.as_ptr().addr()
    }

    /// What stands at a place that [`Value::place_in`] has returned.
    pub(crate) fn inner_at(self, place: usize) -> Value<'a> {
        Value::at(self.0, place)
    }

    /// What it is.
    pub(crate) fn form(self) -> Form {
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
    pub(crate) fn items(self) -> impl Iterator<Item = Value<'a>> + Clone {
        let inner = match self.form() {
            Form::List | Form::Object => self.0.get(1..self.0.len() - 1),
            _ => None,
        };
        let (inner, mut at) = (inner.unwrap_or_default(), 0);
        std::iter::from_fn(move || {
            at = scan::skip_marks(inner, at);
            let begin = at;
            at = scan::end_of_value(inner, begin);
            inner
                .get(begin..at)
                .filter(|text| !text.is_empty())
                .map(Value)
        })
    }

    /// Names and values of an object as they stand, also those that a later one of the same name replaces.
    pub(crate) fn pairs(self) -> impl Iterator<Item = (Value<'a>, Value<'a>)> + Clone {
        let mut items = self.items();
        std::iter::from_fn(move || items.next().zip(items.next()))
    }

    /// The members of an object.
    pub(crate) fn members(self) -> Members<'a> {
        let names = self
            .pairs()
            .map(|(name, _)| (name.plain(), name.place_in(self.0)));
        let index = Index::new(names);
        let has_twins = index.twins().next().is_some();
        Members {
            object: self,
            index,
            has_twins,
        }
    }

    /// A member of an object, or an element of an array, by a token of a JSON Pointer.
    pub(crate) fn get(self, token: &str) -> Option<Value<'a>> {
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
    pub(crate) fn pointer(self, tokens: &[String]) -> Option<Value<'a>> {
        let mut tokens = tokens.iter();
        tokens.try_fold(self, |at, token| at.get(token))
    }

    /// As [`Value::pointer`], all of those whose members bear the same names.
    pub(crate) fn every(self, tokens: &[String]) -> Vec<Value<'a>> {
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
    pub(crate) fn plain(self) -> Cow<'a, [u8]> {
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
    pub(crate) fn scalar(self) -> Option<Scalar> {
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
    pub(crate) fn is_odd(self) -> bool {
        scan::words(self.0)
            .map(Value)
            .any(|value| match value.form() {
                Form::Text => std::str::from_utf8(&value.plain()).is_err(),
                Form::Number => !value.number().parse().is_ok_and(f64::is_finite),
                _ => false,
            })
    }

    /// As a value of `serde_json`; `null` in place of what that cannot hold exactly, what stands twice, and what is nested
    /// deeper than `room`.
    pub(crate) fn exact(self, room: usize) -> serde_json::Value {
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
    pub(crate) fn read(text: &[u8]) -> Option<Scalar> {
        Value::read(text).ok()?.scalar()
    }

    /// Whether a value is this one.
    pub(crate) fn is(&self, value: Value<'_>) -> bool {
        match (self, value.form()) {
            (Scalar::Null, Form::Null) => true,
            (Scalar::Bool(wanted), Form::Bool) => *wanted == (value.text() == b"true"),
            (Scalar::Number(wanted), Form::Number) => number::is(value.number(), wanted),
            (Scalar::Text(wanted), Form::Text) => *value.plain() == **wanted,
            _ => false,
        }
    }

    /// Whether it is this text.
    pub(crate) fn is_text(&self, wanted: &str) -> bool {
        matches!(self, Scalar::Text(text) if text == wanted.as_bytes())
    }
}

impl<'a> Members<'a> {
    /// Each name with its value, in the order of the text.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Value<'a>, Value<'a>)> {
        let counts = |pair: &(Value<'a>, Value<'a>)| !self.has_twins || self.is_last(*pair);
        self.object.pairs().filter(counts)
    }

    /// The value of the member with this name.
    pub(crate) fn get(&self, name: Value<'_>) -> Option<Value<'a>> {
        self.find(name).map(|(_, value)| value)
    }

    /// Whether no later member has the name of this one.
    pub(crate) fn is_last(&self, (name, _): (Value<'a>, Value<'a>)) -> bool {
        let last = self.find(name);
        last.is_some_and(|(last, _)| last.0.as_ptr() == name.0.as_ptr())
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        match self.has_twins {
            true => self.iter().count(),
            false => self.index.count(),
        }
    }

    fn find(&self, name: Value<'_>) -> Option<(Value<'a>, Value<'a>)> {
        let plain = name.plain();
        let named = |place| {
            let name = self.object.inner_at(place);
            (name.plain() == plain).then_some((place, name))
        };
        let (place, name) = self.index.find(&plain).find_map(named)?;
        let value = self.object.inner_at(place + name.0.len());
        Some((name, value))
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
