//! What a client may send in place of a value, and that no path leaves its route by it.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{BindingScope, Template};

/// Templates of `subscribe`, `unsubscribe` and `call`, the query apart.
const TEMPLATES: [&str; 9] = [
    "/stream/{0}",
    "/stream/{0}/log",
    "/stream/{id}",
    "/api/tasks/{id}/cancel",
    "/{0}/end",
    "/files/{0}.json",
    "/files/.{0}",
    "/pair/{0}-{id}",
    "/api/tasks/{id}?by={0}&x=1",
];

const TEXTS: [&str; 40] = [
    "..",
    ".",
    "...",
    "%2e%2e",
    "%2E%2e",
    "%252e%252e",
    "..%2f",
    "..%5c",
    "%c0%ae%c0%ae",
    "/",
    "//",
    "/..",
    "../",
    "../../admin",
    "a/../b",
    "\\",
    "..\\",
    "\\\\evil",
    "?",
    "?admin=1",
    "&admin=1",
    "#",
    "#x",
    ";",
    ";jsessionid=1",
    "..;",
    "\0",
    "a\0b",
    "\r\n",
    "x\r\nHost: evil",
    "\t",
    "\u{85}",
    "//evil.test",
    "//evil.test/a",
    "@evil.test",
    "user:pass@evil.test",
    "http://evil.test/",
    "https:evil.test",
    "{0}",
    "{claims.admin}",
];

const OTHERS: [&str; 24] = [
    "",
    " ",
    "\u{2025}",
    "\u{ff0e}\u{ff0e}",
    "\u{2215}",
    "\u{ff0f}",
    "\u{202e}cod",
    "\u{feff}",
    "\u{7f}",
    "\u{1f980}",
    "caf\u{e9}",
    "e\u{301}",
    "\u{0}",
    "+",
    "%",
    "%%",
    "%zz",
    "%00",
    "%0d%0a",
    "null",
    "*",
    "|",
    "\"",
    "`id`",
];

const NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "1.5",
    "1e400",
    "-1e400",
    "1e-400",
    "18446744073709551616",
    "[1]",
    "[\"..\"]",
    "{\"toString\":\"..\"}",
    "{\"_placeholder\":true,\"num\":0}",
    "true",
];

/// More than 300: each text alone, behind and before a usual one, doubled, and very long.
fn hostile() -> Vec<Value> {
    let texts = TEXTS.into_iter().chain(OTHERS);
    let shaped = texts.flat_map(|text| {
        let long = text.repeat(600);
        let shapes = [
            text.to_owned(),
            format!("a{text}"),
            format!("{text}a"),
            format!("{text}{text}"),
            long,
        ];
        shapes.map(Value::from)
    });
    let plain = NUMBERS
        .into_iter()
        .filter_map(|text| serde_json::from_str(text).ok());
    shaped.chain(plain).chain([json!(null)]).collect()
}

/// The path that a template gives for two values, where it gives one.
fn path_of(template: &Template, number: &Value, field: &Value) -> Option<String> {
    // `{0}` and `{id}` of one template are different things, so that each is hostile.
    let by_name = [json!({"id": field})];
    let by_number = [number.clone()];
    let params = match field {
        Value::String(text) => vec![("id".to_owned(), text.clone())],
        _ => Vec::new(),
    };
    let is_numbered = template.as_str().contains("{0}");
    let scope = BindingScope {
        args: if is_numbered { &by_number } else { &by_name },
        params: &params,
        ..BindingScope::default()
    };
    template.path(&scope).ok()
}

/// The same number of segments, the same text around each value, and nothing that ends a path or begins a host.
fn stays(template: &str, path: &str) -> Result<(), String> {
    let part = |text: &str| {
        text.split('?')
            .next()
            .map(str::to_owned)
            .unwrap_or_default()
    };
    let query = |text: &str| text.split_once('?').map(|(_, query)| query.to_owned());
    let (wanted, given) = (part(template), part(path));
    let (wanted, given): (Vec<_>, Vec<_>) =
        (wanted.split('/').collect(), given.split('/').collect());
    if wanted.len() != given.len() {
        return Err(format!("{} segments", given.len()));
    }
    for (wanted, given) in wanted.into_iter().zip(given) {
        let (before, after) = match (wanted.find('{'), wanted.rfind('}')) {
            (Some(open), Some(close)) => (&wanted[..open], &wanted[close + 1..]),
            _ if wanted == given => continue,
            _ => return Err(format!("`{given}` for `{wanted}`")),
        };
        let is_framed = given.starts_with(before)
            && given.ends_with(after)
            && given.len() > before.len() + after.len();
        if !is_framed || matches!(given, "." | "..") {
            return Err(format!("`{given}` for `{wanted}`"));
        }
    }
    let pairs = |query: Option<String>| query.map_or(0, |query| query.split('&').count());
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic());
    let odd = path.contains(['#', '\\', ';', '@', '"', '<', '>', '{', '}']);
    let marks = path.matches('?').count() == template.matches('?').count();
    match is_plain && !odd && marks && pairs(query(path)) == pairs(query(template)) {
        true if path.starts_with("//") => Err("begins a host".to_owned()),
        true => Ok(()),
        false => Err("holds what separates".to_owned()),
    }
}

#[test]
fn hostile_argument_stays_on_the_templates_route() {
    let values = hostile();
    assert!(values.len() > 300, "{}", values.len());
    let mut filled = 0;
    for template in TEMPLATES.map(|text| Template::parse(text).expect("a template")) {
        for value in &values {
            for (number, field) in [(value, value), (value, &json!("7")), (&json!("7"), value)] {
                if let Some(path) = path_of(&template, number, field) {
                    filled += 1;
                    let stays = stays(template.as_str(), &path);
                    assert_eq!(stays, Ok(()), "{} {value}: {path}", template.as_str());
                }
            }
        }
    }
    assert!(filled > 3_000, "{filled}");
}

proptest! {
    #[test]
    fn any_argument_stays_on_the_templates_route(number: String, field in "[./%\\\\?#;@&a-f0-9]{0,12}") {
        for template in TEMPLATES.map(|text| Template::parse(text).expect("a template")) {
            if let Some(path) = path_of(&template, &json!(number), &json!(field)) {
                prop_assert_eq!(stays(template.as_str(), &path), Ok(()), "{}", path);
            }
        }
    }
}
