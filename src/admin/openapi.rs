//! The OpenAPI document, made of what the endpoints say of themselves and of the types of their bodies.

use std::collections::BTreeMap;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::endpoint::{Description, Endpoint, Refusal};
use super::response::ProblemDocument;
use super::schema::shorten;

/// Of everything but the three open paths.
const GUARDED: &[Refusal] = &[
    (
        401,
        "admin.token is set, and the bearer token is missing or wrong",
    ),
    (403, "A page of another origin asks"),
    (
        421,
        "Host is no IP literal, not localhost and not in admin.hosts",
    ),
];

/// Of everything with a body.
const BODY: &[Refusal] = &[
    (408, "The body took more than 10 s"),
    (413, "The body is larger than 4 MiB"),
];

/// The document, OpenAPI 3.1.
pub(crate) fn document(endpoints: &[Endpoint]) -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let settings = settings.with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.with_transform(shorten).into_generator();
    let mut paths = json!({});
    for endpoint in endpoints {
        let method = endpoint.method.as_str().to_lowercase();
        paths[endpoint.path][method] = operation(endpoint, &mut schemas);
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "crossfade admin API",
            "version": "1",
            "description": "Changes take If-Match. Nothing with an effect is a GET; where GET is, HEAD is too. \
                            Errors are problem documents (RFC 9457).",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:9900" }],
        "security": [{ "token": [] }, {}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "admin.token" },
            },
            "schemas": schemas.take_definitions(true),
        },
    });
    match document {
        Value::Object(document) => document,
        _ => Map::new(),
    }
}

fn operation(endpoint: &Endpoint, schemas: &mut SchemaGenerator) -> Value {
    let description = &endpoint.description;
    let mut operation = json!({
        "operationId": description.id,
        "summary": description.summary,
    });
    if endpoint.is_open {
        operation["security"] = json!([]);
    }
    let parameters = parameters(endpoint);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = (description.body)() {
        operation["requestBody"] = json!({
            "required": body.required,
            "content": { body.media_type: { "schema": body.schema } },
        });
    }
    operation["responses"] = responses(endpoint, schemas);
    operation
}

fn parameters(endpoint: &Endpoint) -> Vec<Value> {
    let mut all = Vec::new();
    if has_name(endpoint) {
        all.push(json!({
            "name": "name",
            "in": "path",
            "required": true,
            "schema": { "type": "string", "minLength": 1 },
            "description": "NAME of [rollout.NAME]",
        }));
    }
    all.extend(endpoint.description.query.iter().map(|parameter| {
        json!({
            "name": parameter.name,
            "in": "query",
            "required": parameter.is_required,
            "schema": parameter.schema,
            "description": parameter.description,
        })
    }));
    all.extend(endpoint.description.if_match.map(|is_required| {
        json!({
            "name": "If-Match",
            "in": "header",
            "required": is_required,
            "schema": { "type": "string" },
            "description": "The generations that you saw, as `\"7\"` or `\"7\", \"8\"`; \
                            `*` for any (RFC 9110, 13.1.1)",
        })
    }));
    all
}

fn has_name(endpoint: &Endpoint) -> bool {
    endpoint.path.contains("{name}")
}

/// By status. What an endpoint says itself comes before what is said of all like it.
fn responses(endpoint: &Endpoint, schemas: &mut SchemaGenerator) -> Value {
    let description = &endpoint.description;
    let mut all = BTreeMap::new();
    let answers = (description.answers)(schemas).into_iter();
    for ((status, mut answer), meaning) in answers.zip(description.meanings) {
        answer["description"] = (*meaning).into();
        all.insert(status, answer);
    }
    let problem = schemas.subschema_for::<ProblemDocument>();
    for (status, meaning) in refusals(endpoint, description) {
        all.entry(status).or_insert_with(|| {
            json!({
                "description": meaning,
                "content": { "application/problem+json": { "schema": problem } },
            })
        });
    }
    let all = all.into_iter();
    Value::Object(
        all.map(|(status, answer)| (status.to_string(), answer))
            .collect(),
    )
}

fn refusals(endpoint: &Endpoint, description: &Description) -> Vec<Refusal> {
    let mut all = description.refusals.clone();
    if !description.query.is_empty() {
        all.push((
            422,
            "A parameter is unknown, missing, or not as its schema has it",
        ));
    }
    if has_name(endpoint) {
        all.push((404, "No such rollout"));
    }
    if let Some(is_required) = description.if_match {
        let stale = "None of the generations in If-Match is in force, or it is no list of them";
        all.push((412, stale));
        all.extend(is_required.then_some((428, "If-Match is missing")));
    }
    if let Some(body) = (description.body)() {
        all.push((400, body.malformed));
        all.extend(body.unprocessable.map(|meaning| (422, meaning)));
        all.extend(BODY);
    }
    if !endpoint.is_open {
        all.extend(GUARDED);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::endpoints::ENDPOINTS;
    use super::*;

    /// Every `$ref` of a document.
    fn references(value: &Value) -> Vec<&str> {
        match value {
            Value::Array(items) => items.iter().flat_map(references).collect(),
            Value::Object(members) => {
                let own = members.get("$ref").and_then(Value::as_str);
                let below = members.values().flat_map(references);
                own.into_iter().chain(below).collect()
            }
            _ => Vec::new(),
        }
    }

    #[test]
    fn document_is_whole() {
        let document = Value::Object(document(&ENDPOINTS));
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let found: Vec<&str> = references(&document);
        assert!(found.len() > ENDPOINTS.len());
        for reference in found {
            let name = reference.strip_prefix("#/components/schemas/").unwrap();
            assert!(schemas.contains_key(name), "{reference}");
        }
        // Two types under one name would be told apart by a number.
        let numbered = |name: &&String| name.ends_with(|c: char| c.is_ascii_digit());
        assert_eq!(schemas.keys().find(numbered), None);
    }

    #[test]
    fn every_endpoint_says_what_it_is_and_what_it_answers() {
        let mut ids = Vec::new();
        for endpoint in ENDPOINTS.iter() {
            let Description {
                id,
                summary,
                answers,
                meanings,
                ..
            } = &endpoint.description;
            assert!(!id.is_empty() && !summary.is_empty(), "{}", endpoint.path);
            let answers = answers(&mut SchemaGenerator::default());
            assert_eq!(answers.len(), meanings.len(), "{id}");
            ids.push(id);
        }
        ids.sort_unstable();
        let all = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }
}
