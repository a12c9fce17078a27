//! Reading one value of the tree, whatever key it stands under.

use std::ops::RangeInclusive;

use super::diagnostics::Diagnostics;
use super::placeholder::Text;
use super::problem::Wrong;
use super::tree::{Node, NodeForm};
use super::units;

/// Reads a node as a string.
pub(crate) fn text<T>(
    desk: &Diagnostics<'_>,
    node: &Node,
    parse: impl Fn(&str) -> Result<T, Wrong>,
) -> Option<T> {
    let NodeForm::Text(text) = &node.form else {
        // A number where `"5s"` was meant: the parser knows the fix.
        let bare = node.json().to_string();
        match (&node.form, parse(&bare)) {
            (NodeForm::Integer(_) | NodeForm::Number(_), Err(Wrong { what, fix })) => {
                desk.error(node.span.start, &node.key, format!("`{bare}` {what}"), fix);
            }
            _ => refuse_kind(desk, node, "a string"),
        }
        return None;
    };
    let refuse = |wrong: Wrong| {
        let Wrong { what, fix } = match text.origin {
            Some(_) => wrong.discreet(),
            None => wrong,
        };
        let what = format!("{} {what}", written(node));
        desk.error(node.span.start, &node.key, what, fix);
    };
    parse(&text.text).map_err(refuse).ok()
}

/// A value as problems may show it: what stands in the file, never what a placeholder brought.
pub(crate) fn written(node: &Node) -> String {
    match &node.form {
        NodeForm::Text(Text {
            raw,
            origin: Some(_),
            ..
        }) => format!("the value of {}", units::quote(raw)),
        NodeForm::Text(Text { raw, .. }) => units::quote(raw),
        _ => units::quote(&node.json().to_string()),
    }
}

/// Reads a node as a list of strings.
pub(crate) fn texts<T>(
    desk: &Diagnostics<'_>,
    node: &Node,
    parse: impl Fn(&str) -> Result<T, Wrong>,
) -> Vec<T> {
    let NodeForm::List(items) = &node.form else {
        refuse_kind(desk, node, "a list of strings");
        return Vec::new();
    };
    items
        .iter()
        .filter_map(|item| text(desk, item, &parse))
        .collect()
}

/// Reports a value of another kind than the key wants.
pub(crate) fn refuse_kind(desk: &Diagnostics<'_>, node: &Node, wanted: &str) {
    let key = node.key.rsplit('.').next().unwrap_or_default();
    let list_of_tables = format!("write `[[{key}]]`: each has a header in double brackets");
    let fix = match (&node.form, wanted) {
        (NodeForm::Failed, _) => return,
        (NodeForm::Switch(_), "a string") if switched(key).is_some() => {
            let (wanted, fix) = switched(key).unwrap_or_default();
            let what = format!("must be {wanted}, not {}", node.kind());
            desk.error(node.span.start, &node.key, what, fix);
            return;
        }
        (NodeForm::Text(_), "a list of strings") => "put it in brackets",
        (_, "a list of strings") => "write one such as `[\"a\", \"b\"]`",
        (NodeForm::List(_) | NodeForm::Table(_), "a string") => "write one value in quotes",
        (_, "a string") => "put it in quotes",
        (_, "a boolean") => "write `true` or `false`",
        (_, "a whole number") => "write digits alone, such as `10`",
        (_, "a number") => "write it without quotes, such as `12.5`",
        (_, "a list of tables") => &list_of_tables,
        _ => "write `{key = value}`, or give it a header of its own",
    };
    let what = match &node.form {
        NodeForm::Text(text) if text.alone => format!("{} must be {wanted}", written(node)),
        _ => format!("must be {wanted}, not {}", node.kind()),
    };
    desk.error(node.span.start, &node.key, what, fix);
}

/// What belongs in place of `true` or `false`, and how to write it, for keys that look like switches.
fn switched(key: &str) -> Option<(&'static str, &'static str)> {
    Some(match key {
        "rollout" => (
            "the name of a `[rollout.NAME]`",
            "write it in quotes, or leave `rollout` out: then every client gets WebSocket",
        ),
        "auth" => (
            "the name of an `[auth.NAME]`, or a list of them",
            "write it in quotes, or leave `auth` out: then every client comes in",
        ),
        "cors" => (
            "the name of a `[cors.NAME]`",
            "write it in quotes, or leave `cors` out: then `[cors.default]` holds where there is one",
        ),
        "rate_limit" => (
            "the name of a `[rate_limit.NAME]`",
            "write it in quotes, or leave `rate_limit` out: then `[rate_limit.default]` holds where there is one",
        ),
        "upstream" => ("the name of an `[upstream.NAME]`", "write it in quotes"),
        "source" => (
            "the way the backend is read",
            "write `\"sse\"` or `{kind = \"poll\"}`, or leave `source` out: then all passes through",
        ),
        "share" => (
            "one of `public`, `user`, `connection`, `authenticated`",
            "write it in quotes, or leave `share` out: then each user has an upstream request of its own",
        ),
        _ => return None,
    })
}

/// Reads a node as a whole number.
pub(crate) fn integer(
    desk: &Diagnostics<'_>,
    node: &Node,
    range: &RangeInclusive<usize>,
) -> Option<usize> {
    let number = match &node.form {
        NodeForm::Integer(number) => Some(*number),
        NodeForm::Text(text) if text.alone => text.text.trim().parse().ok(),
        _ => None,
    };
    let Some(number) = number else {
        refuse_kind(desk, node, "a whole number");
        return None;
    };
    let fitting = usize::try_from(number).ok().filter(|n| range.contains(n));
    if fitting.is_none() {
        let fix = format!("write {} to {}", range.start(), range.end());
        desk.error(node.span.start, &node.key, "is out of range", fix);
    }
    fitting
}

/// Reads a node as a number.
pub(crate) fn number(
    desk: &Diagnostics<'_>,
    node: &Node,
    range: &RangeInclusive<f64>,
) -> Option<f64> {
    let number = match &node.form {
        NodeForm::Integer(number) => Some(*number as f64),
        NodeForm::Number(number) => Some(*number),
        NodeForm::Text(text) if text.alone => text.text.trim().parse().ok(),
        _ => None,
    };
    let Some(number) = number else {
        refuse_kind(desk, node, "a number");
        return None;
    };
    if !range.contains(&number) {
        let fix = format!("write {} to {}", range.start(), range.end());
        desk.error(node.span.start, &node.key, "is out of range", fix);
        return None;
    }
    Some(number)
}

/// Reads a node as a boolean.
pub(crate) fn switch(desk: &Diagnostics<'_>, node: &Node) -> Option<bool> {
    let on = match &node.form {
        NodeForm::Switch(on) => Some(*on),
        NodeForm::Text(text) if text.alone => text.text.trim().parse().ok(),
        _ => None,
    };
    if on.is_none() {
        refuse_kind(desk, node, "a boolean");
    }
    on
}
