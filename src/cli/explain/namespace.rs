//! The answer about a namespace of Socket.IO, for a person.

use serde_json::Value;

use super::{joined_lines, require, rollout, verdict, words};
use crate::cli::table::cell;

pub(super) fn describe(told: &Value) -> String {
    let mut lines = vec![
        ("namespace", cell(&told["namespace"])),
        ("pattern", words(&told["pattern"])),
    ];
    lines.extend(params(&told["params"]));
    if !told["pattern"].is_null() {
        lines.extend([
            ("auth", words(&told["auth"])),
            ("require", require(&told["require"])),
            ("limits", words(&told["rate_limit"])),
        ]);
    }
    lines.extend(rollout(&told["rollout"]));
    for joined in told["subscribe"].as_array().into_iter().flatten() {
        let (path, route) = (cell(&joined["path"]), words(&joined["route"]));
        let line = format!("{path} (route {route}): {}", verdict(&joined["verdict"]));
        lines.push(("subscribe", line));
    }
    let greet = &told["greet"];
    if greet.is_object() {
        lines.push(("greet", with_body(&cell(&greet["event"]), &greet["body"])));
    }
    lines.push(("verdict", verdict(&told["verdict"])));
    if told["event"].is_object() {
        lines.extend(event(&told["event"]));
    }
    joined_lines(lines)
}

fn event(event: &Value) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("event", cell(&event["name"])),
        ("action", cell(&event["action"])),
    ];
    if let Some(path) = event["path"].as_str() {
        let method = event["method"].as_str().map(|method| format!("{method} "));
        let policies = &event["policies"];
        lines.extend([
            ("path", format!("{}{path}", method.unwrap_or_default())),
            ("route", words(&event["route"])),
            ("auth", words(&policies["auth"])),
            ("require", require(&policies["require"])),
            ("limits", words(&policies["rate_limit"])),
            ("share", words(&policies["share"])),
            ("needs", require(&event["require"])),
        ]);
    }
    for (field, value) in event["filter"].as_object().into_iter().flatten() {
        lines.push(("filter", format!("{field} = {}", cell(value))));
    }
    for (name, key) in [("body", "body"), ("reply", "reply"), ("error", "error")] {
        match &event[key] {
            Value::Null => {}
            Value::String(text) => lines.push((name, text.clone())),
            value => lines.push((name, value.to_string())),
        }
    }
    lines.push(("verdict", verdict(&event["verdict"])));
    lines
}

fn params(params: &Value) -> Vec<(&'static str, String)> {
    let params = params.as_object().into_iter().flatten();
    params
        .map(|(name, value)| ("param", format!("{name} = {}", cell(value))))
        .collect()
}

fn with_body(event: &str, body: &Value) -> String {
    match body {
        Value::Null => event.to_owned(),
        body => format!("{event} {body}"),
    }
}
