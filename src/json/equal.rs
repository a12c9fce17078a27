//! Whether two values are the same, whatever their spelling.

use super::number;
use super::value::{Form, Value};

/// Places that don't count: the tokens of each that lie ahead. A `*` stands for every member and every element.
pub(crate) type Ignored<'i> = Vec<&'i [String]>;

/// Whether this very place does not count.
pub(crate) fn is_ignored(ignored: &Ignored<'_>) -> bool {
    ignored.iter().any(|tokens| tokens.is_empty())
}

/// What does not count of one member or element.
pub(crate) fn inside<'i>(ignored: &Ignored<'i>, token: &[u8]) -> Ignored<'i> {
    let ahead = ignored.iter().filter_map(|tokens| tokens.split_first());
    ahead
        .filter(|(first, _)| *first == "*" || first.as_bytes() == token)
        .map(|(_, rest)| rest)
        .collect()
}

/// What does not count of the element at this place.
pub(crate) fn inside_list<'i>(ignored: &Ignored<'i>, index: usize) -> Ignored<'i> {
    match ignored.is_empty() {
        true => Ignored::new(),
        false => inside(ignored, index.to_string().as_bytes()),
    }
}

/// Whether two values are equal where it counts. Numbers are equal where they are the same decimal, members have no order.
/// An element of an array is ignored only where both arrays have it: inserting or removing one moves its neighbours.
pub(crate) fn equal(a: Value<'_>, b: Value<'_>, ignored: &Ignored<'_>) -> bool {
    if a.text() == b.text() || is_ignored(ignored) {
        return true;
    }
    match (a.form(), b.form()) {
        (Form::Number, Form::Number) => number::equal(a.number(), b.number()),
        (Form::Text, Form::Text) => a.plain() == b.plain(),
        (Form::List, Form::List) => equal_lists(a, b, ignored),
        (Form::Object, Form::Object) => equal_objects(a, b, ignored),
        _ => false,
    }
}

fn equal_lists(a: Value<'_>, b: Value<'_>, ignored: &Ignored<'_>) -> bool {
    let (mut a, mut b) = (a.items(), b.items());
    for index in 0.. {
        match (a.next(), b.next()) {
            (Some(a), Some(b)) if equal(a, b, &inside_list(ignored, index)) => {}
            (None, None) => return true,
            _ => return false,
        }
    }
    true
}

fn equal_objects(a: Value<'_>, b: Value<'_>, ignored: &Ignored<'_>) -> bool {
    let mut names = (a.items().step_by(2), b.items().step_by(2));
    let is_same_order = loop {
        match (names.0.next(), names.1.next()) {
            (Some(a), Some(b)) if a.text() == b.text() => {}
            (None, None) => break true,
            _ => break false,
        }
    };
    match is_same_order {
        true => equal_in_order(a, b, ignored),
        false => equal_by_name(a, b, ignored),
    }
}

/// The same names in the same order: each pair is looked at once, however often a name is there.
fn equal_in_order(a: Value<'_>, b: Value<'_>, ignored: &Ignored<'_>) -> bool {
    let mut members = None;
    for (pair, (_, is)) in a.pairs().zip(b.pairs()) {
        if equal(pair.1, is, &inside_member(ignored, pair.0)) {
            continue;
        }
        // One of the same name that follows is the one that counts.
        if members.get_or_insert_with(|| a.members()).is_last(pair) {
            return false;
        }
    }
    true
}

fn equal_by_name(a: Value<'_>, b: Value<'_>, ignored: &Ignored<'_>) -> bool {
    let (a, b) = (a.members(), b.members());
    if ignored.is_empty() && a.count() != b.count() {
        return false;
    }
    let in_b = a.iter().all(|(name, was)| {
        let ignored = inside_member(ignored, name);
        match b.get(name) {
            Some(is) => equal(was, is, &ignored),
            None => is_ignored(&ignored),
        }
    });
    let in_a = |(name, _): (Value<'_>, _)| {
        a.get(name).is_some() || is_ignored(&inside_member(ignored, name))
    };
    in_b && b.iter().all(in_a)
}

/// What does not count of this member.
pub(crate) fn inside_member<'i>(ignored: &Ignored<'i>, name: Value<'_>) -> Ignored<'i> {
    match ignored.is_empty() {
        true => Ignored::new(),
        false => inside(ignored, &name.plain()),
    }
}
