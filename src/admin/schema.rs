//! What the schemas of the OpenAPI document need beside what is derived from the types.

use schemars::Schema;
use schemars::transform::transform_subschemas;
use serde_json::{Value, json};

/// The `oneOf` of an object of which exactly one of these members is there and not null.
pub(crate) fn exactly_one(names: &[&str]) -> Value {
    let one = |name: &&str| {
        let mut schema = present(name);
        for other in names.iter().filter(|other| *other != name) {
            schema["properties"][*other] = json!({ "type": "null" });
        }
        schema
    };
    names.iter().map(one).collect()
}

/// The `anyOf` of an object of which one of these members, or more, is there and not null.
pub(crate) fn at_least_one(names: &[&str]) -> Value {
    names.iter().map(|name| present(name)).collect()
}

fn present(name: &str) -> Value {
    json!({ "required": [name], "properties": { name: { "not": { "type": "null" } } } })
}

/// Words become an `enum`, and what each means a part of the description. A format that is not one of OpenAPI goes.
pub(crate) fn shorten(schema: &mut Schema) {
    transform_subschemas(&mut shorten, schema);
    if schema.get("format").is_some_and(|format| format == "uint") {
        schema.remove("format");
    }
    let Some(words) = schema.get("oneOf").and_then(Value::as_array) else {
        return;
    };
    let Some(names) = words
        .iter()
        .map(|word| word.get("const").cloned())
        .collect()
    else {
        return;
    };
    let meanings = words.iter().filter_map(|word| {
        let (name, meaning) = (word["const"].as_str()?, word["description"].as_str()?);
        Some(format!("\n- `{name}`: {meaning}"))
    });
    let meanings: String = meanings.collect();
    let before = schema.get("description").and_then(Value::as_str);
    let description = before.unwrap_or_default().to_owned() + &meanings;
    schema.remove("oneOf");
    schema.insert("type".to_owned(), "string".into());
    schema.insert("enum".to_owned(), Value::Array(names));
    schema.insert("description".to_owned(), description.trim().into());
}
