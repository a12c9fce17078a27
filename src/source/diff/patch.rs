//! JSON Patch (RFC 6902) between two documents.

use crate::json::{Form, Ignored, Value, equal, inside_list, inside_member, is_ignored};

/// The patch that turns `old` into `new`; one that replaces the root where that is shorter.
pub(crate) fn diff(old: Value<'_>, new: Value<'_>, ignored: &Ignored<'_>) -> Vec<u8> {
    let mut whole = Patch::new(usize::MAX);
    whole.operation("replace", None);
    let around = whole.text.len() + VALUE.len();
    let mut patch = Patch::new(around + new.text().len());
    patch.change(old, new, ignored);
    if patch.is_too_long() {
        // What was made is let go before a text as long as the document is.
        patch = Patch::new(usize::MAX);
        patch.operation("replace", Some(new));
    }
    patch.finish()
}

/// Before the value of an operation.
const VALUE: &[u8] = b",\"value\":";

struct Patch {
    text: Vec<u8>,
    /// Of what is looked at, as text in JSON.
    path: Vec<u8>,
    /// Beyond it nothing is added any more.
    limit: usize,
}

impl Patch {
    fn new(limit: usize) -> Self {
        Patch {
            text: vec![b'['],
            path: Vec::new(),
            limit,
        }
    }

    fn change(&mut self, old: Value<'_>, new: Value<'_>, ignored: &Ignored<'_>) {
        if is_ignored(ignored) || self.is_too_long() || old.text() == new.text() {
            return;
        }
        match (old.form(), new.form()) {
            (Form::Object, Form::Object) => self.change_members(old, new, ignored),
            (Form::List, Form::List) => self.change_items(old, new, ignored),
            _ if equal(old, new, ignored) => {}
            _ => self.operation("replace", Some(new)),
        }
    }

    fn change_members(&mut self, old: Value<'_>, new: Value<'_>, ignored: &Ignored<'_>) {
        let (old, new) = (old.members(), new.members());
        for (name, is) in new.iter() {
            let ignored = inside_member(ignored, name);
            let before = self.enter(|path| push_name(path, name.text()));
            match old.get(name) {
                Some(was) => self.change(was, is, &ignored),
                None if is_ignored(&ignored) => {}
                None => self.operation("add", Some(is)),
            }
            self.path.truncate(before);
        }
        for (name, _) in old.iter() {
            if new.get(name).is_none() && !is_ignored(&inside_member(ignored, name)) {
                let before = self.enter(|path| push_name(path, name.text()));
                self.operation("remove", None);
                self.path.truncate(before);
            }
        }
    }

    /// Elements are compared place by place, counted from the end behind what was inserted or removed.
    fn change_items(&mut self, old: Value<'_>, new: Value<'_>, ignored: &Ignored<'_>) {
        let (old, new): (Vec<_>, Vec<_>) = (old.items().collect(), new.items().collect());
        let fewer = old.len().min(new.len());
        let same =
            |was: Value<'_>, is: Value<'_>, index| equal(was, is, &inside_list(ignored, index));
        // What is ignored at one place only does not move with its element.
        let is_place = |token: &String| token.bytes().all(|byte| byte.is_ascii_digit());
        let moves = !ignored
            .iter()
            .any(|tokens| tokens.first().is_some_and(is_place));
        let (mut head, mut tail) = (fewer, 0);
        if old.len() != new.len() && moves {
            let pairs = old.iter().zip(&new).enumerate();
            head = pairs
                .take_while(|(index, (was, is))| same(**was, **is, *index))
                .count();
            let pairs = old.iter().rev().zip(new.iter().rev()).take(fewer - head);
            tail = pairs.take_while(|(was, is)| same(**was, **is, 0)).count();
            head = fewer - tail;
        }
        for (index, (was, is)) in old.iter().zip(&new).enumerate().take(head) {
            let before = self.enter(|path| push_index(path, index));
            self.change(*was, *is, &inside_list(ignored, index));
            self.path.truncate(before);
        }
        for (index, is) in new.iter().enumerate().take(new.len() - tail).skip(head) {
            let before = self.enter(|path| push_index(path, index));
            self.operation("add", Some(*is));
            self.path.truncate(before);
        }
        for _ in head..old.len() - tail {
            let before = self.enter(|path| push_index(path, head));
            self.operation("remove", None);
            self.path.truncate(before);
        }
    }

    /// Goes one step down; the length of the path before.
    fn enter(&mut self, step: impl FnOnce(&mut Vec<u8>)) -> usize {
        let before = self.path.len();
        self.path.push(b'/');
        step(&mut self.path);
        before
    }

    fn operation(&mut self, name: &str, value: Option<Value<'_>>) {
        if self.is_too_long() {
            return;
        }
        if self.text.len() > 1 {
            self.text.push(b',');
        }
        let parts: [&[u8]; 5] = [
            b"{\"op\":\"",
            name.as_bytes(),
            b"\",\"path\":\"",
            &self.path,
            b"\"",
        ];
        parts
            .iter()
            .for_each(|part| self.text.extend_from_slice(part));
        if let Some(value) = value {
            self.text.extend_from_slice(VALUE);
            self.text.extend_from_slice(value.text());
        }
        self.text.push(b'}');
    }

    fn is_too_long(&self) -> bool {
        self.text.len() > self.limit
    }

    fn finish(mut self) -> Vec<u8> {
        self.text.push(b']');
        self.text
    }
}

fn push_index(path: &mut Vec<u8>, index: usize) {
    path.extend_from_slice(index.to_string().as_bytes());
}

/// A name as a token of a JSON Pointer, both as texts in JSON: `~` and `/` are spelled otherwise, however they were.
fn push_name(path: &mut Vec<u8>, name: &[u8]) {
    let mut rest = name
        .get(1..name.len().saturating_sub(1))
        .unwrap_or_default();
    while let Some((first, behind)) = rest.split_first() {
        let (token, length): (&[u8], usize) = match first {
            b'~' => (b"~0", 1),
            b'/' => (b"~1", 1),
            b'\\' => match behind {
                [b'/', ..] => (b"~1", 2),
                [b'u', b'0', b'0', b'2', b'f' | b'F', ..] => (b"~1", 6),
                [b'u', b'0', b'0', b'7', b'e' | b'E', ..] => (b"~0", 6),
                _ => (rest.get(..2).unwrap_or(rest), 2),
            },
            _ => (std::slice::from_ref(first), 1),
        };
        path.extend_from_slice(token);
        rest = rest.get(length..).unwrap_or_default();
    }
}
