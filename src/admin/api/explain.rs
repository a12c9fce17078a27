//! `/v1/explain`: which route, which policies, which side of the rollout, and why. Nothing is sent anywhere.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::admin::endpoint::{Call, Parameter};
use crate::admin::response::Fault;
use crate::admin::typed::Json;
use crate::proxy::explain::{
    ExplainRequest, Explanation, NamespaceExplanation, NamespaceQuestion, World, explain,
    explain_namespace,
};

/// What was asked about.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Explained {
    /// A request.
    Request(Box<Explanation>),
    /// A namespace of Socket.IO.
    Namespace(Box<NamespaceExplanation>),
}

/// What the query may hold.
pub(crate) fn parameters() -> Vec<Parameter> {
    let all = [
        (
            "path",
            "The path that is asked for, with or without a query; or else `namespace`",
            json!({ "type": "string", "pattern": "^/" }),
        ),
        (
            "method",
            "Any method that a request may have",
            json!({ "type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", "default": "GET" }),
        ),
        (
            "user",
            "A user that counts as accepted; also the unit of the sticky cookie",
            json!({ "type": "string" }),
        ),
        (
            "role",
            "A role of that user, any number of times",
            json!({ "type": "array", "items": { "type": "string" } }),
        ),
        (
            "claim",
            "`NAME=VALUE`, a claim of that user, any number of times; a value that is JSON is what it says, any other is text",
            json!({ "type": "array", "items": { "type": "string", "pattern": "^[^=]+=" } }),
        ),
        ("origin", "The `Origin` header", json!({ "type": "string" })),
        (
            "header",
            "`Name: value`, any number of times",
            json!({ "type": "array", "items": { "type": "string", "pattern": "^\\s*[^:\\s][^:]*:" } }),
        ),
        (
            "websocket",
            "It is a WebSocket handshake, also without an `Upgrade` header",
            json!({ "type": "boolean", "default": false }),
        ),
        (
            "namespace",
            "A namespace of Socket.IO that a client joins, in place of a path",
            json!({ "type": "string", "pattern": "^/" }),
        ),
        (
            "event",
            "An event that the client sends there",
            json!({ "type": "string" }),
        ),
        (
            "args",
            "The event's arguments, a JSON array; without it what they would fill stays `{name}`",
            json!({ "type": "string" }),
        ),
    ];
    let all = all
        .into_iter()
        .map(|(name, description, schema)| Parameter {
            name,
            is_required: false,
            description,
            schema,
        });
    all.collect()
}

/// Judges the request that the query describes.
pub(crate) async fn answer(call: Call) -> Result<Json<Explained>, Fault> {
    let Call { asked, admin, .. } = &call;
    let namespace = asked.one("namespace")?;
    let subject = match (asked.one("path")?, namespace) {
        (Some(subject), None) | (None, Some(subject)) => Some(subject),
        (Some(_), Some(_)) | (None, None) => None,
    };
    let subject = subject.filter(|subject| subject.starts_with('/'));
    let subject = subject.ok_or_else(|| {
        Fault::unprocessable("one of `path` and `namespace` is needed, and begins with `/`")
    })?;
    let event = asked.one("event")?;
    let args = asked.one("args")?;
    if (event.is_some() && namespace.is_none()) || (args.is_some() && event.is_none()) {
        let detail = "`event` is for a `namespace`, and `args` for an `event`";
        return Err(Fault::unprocessable(detail));
    }
    let method = asked.one("method")?.map(|method| method.parse());
    let method = method.transpose();
    let headers: Option<Vec<_>> = asked.all("header").map(parse_header).collect();
    let claims: Option<Vec<_>> = asked.all("claim").map(parse_claim).collect();
    let websocket = match asked.one("websocket")? {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Fault::unprocessable("`websocket` is true or false")),
    };
    let question = ExplainRequest {
        method: method.map_err(|_| Fault::unprocessable("`method` is no HTTP method"))?,
        path: subject.to_owned(),
        user: asked.one("user")?.map(str::to_owned),
        roles: asked.all("role").map(str::to_owned).collect(),
        claims: claims.ok_or_else(|| Fault::unprocessable("`claim` is `NAME=VALUE`"))?,
        origin: asked.one("origin")?.map(str::to_owned),
        headers: headers.ok_or_else(|| Fault::unprocessable("`header` is `Name: value`"))?,
        websocket,
    };
    let (in_force, stages) = (admin.shared.in_force.load(), admin.shared.stages.load());
    let world = World {
        in_force: &in_force,
        stages: &stages,
        shared: Some(&admin.shared),
    };
    if namespace.is_none() {
        let explanation = explain(&question, world);
        return Ok(Json(Explained::Request(Box::new(explanation))));
    }
    let args = args.map(parse_args);
    let args = args.map(|args| args.ok_or_else(|| Fault::unprocessable("`args` is no JSON array")));
    let question = NamespaceQuestion {
        namespace: subject.to_owned(),
        request: question,
        event: event.map(str::to_owned),
        args: args.transpose()?,
    };
    let explanation = explain_namespace(&question, world);
    Ok(Json(Explained::Namespace(Box::new(explanation))))
}

/// The arguments of an event, a JSON array.
pub(crate) fn parse_args(text: &str) -> Option<Vec<Value>> {
    serde_json::from_str(text).ok()
}

/// `Name: value`, the name in lower case.
pub(crate) fn parse_header(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(':')?;
    let name = name.trim().to_ascii_lowercase();
    (!name.is_empty()).then(|| (name, value.trim().to_owned()))
}

/// `NAME=VALUE`; a value that is JSON is what it says, any other is text.
pub(crate) fn parse_claim(text: &str) -> Option<(String, Value)> {
    let (name, value) = text.split_once('=')?;
    let parsed = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    (!name.is_empty()).then(|| (name.to_owned(), parsed))
}
