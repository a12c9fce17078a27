//! `crossfade explain`: asks the running sidecar, or judges a file.

mod namespace;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use hyper::Method;
use serde_json::Value;

use super::client::{ApiClient, encode};
use super::outcome::{AdminOptions, Failure, Outcome, print};
use super::table::{cell, labelled};
use crate::admin;
use crate::app::reload;
use crate::proxy::explain::{ExplainRequest, NamespaceQuestion, World, explain, explain_namespace};
use crate::rollout::Stages;
use crate::router::{InForce, RouteTable};

#[derive(Args)]
pub(crate) struct Explain {
    /// Path, with or without a query.
    #[arg(long, value_name = "PATH", required_unless_present = "namespace")]
    path: Option<String>,
    /// In place of a path: a namespace of Socket.IO that a client joins.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["path", "method"])]
    namespace: Option<String>,
    /// An event that the client sends there.
    #[arg(
        long,
        value_name = "NAME",
        requires = "namespace",
        conflicts_with = "path"
    )]
    event: Option<String>,
    /// Its arguments, a JSON array; without them what they would fill stays `{name}`.
    #[arg(long, value_name = "JSON", requires = "event", value_parser = parse_args)]
    args: Option<Value>,
    /// A user that was let in; also the unit of the sticky cookie.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// A role of that user; may be given several times.
    #[arg(long = "role", value_name = "ROLE", requires = "user")]
    roles: Vec<String>,
    /// A claim of that user; may be given several times. A value that is JSON is what it says, any other is text.
    #[arg(long = "claim", value_name = "K=V", requires = "user", value_parser = parse_claim)]
    claims: Vec<(String, Value)>,
    /// The page's origin.
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// HTTP method.
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: Method,
    /// A header field; may be given several times.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// A WebSocket handshake, as an `Upgrade` header makes it one too.
    #[arg(long)]
    websocket: bool,
    /// Judges this file instead of asking the running sidecar; what admins set is unknown then.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    remote: AdminOptions,
}

pub(crate) async fn run(explain: Explain) -> Outcome {
    for (name, subject) in [("path", &explain.path), ("namespace", &explain.namespace)] {
        if subject
            .as_ref()
            .is_some_and(|subject| !subject.starts_with('/'))
        {
            return Err(Failure::Usage(format!("error: --{name} begins with `/`")));
        }
    }
    let is_namespace = explain.namespace.is_some();
    let wants_json = explain.remote.json;
    let (text, json) = match explain.config.clone() {
        Some(file) => {
            let json = judge(&file, explain)?;
            (json.to_string(), json)
        }
        None => {
            let path = query(&explain);
            let answer = ApiClient::new(explain.remote)?.get(&path).await?;
            (answer.text, answer.json)
        }
    };
    match wants_json {
        true => print(&text),
        false if is_namespace => print(&namespace::describe(&json)),
        false => print(&describe(&json)),
    }
    Ok(())
}

fn query(explain: &Explain) -> String {
    let mut path = match (&explain.namespace, &explain.path) {
        (Some(namespace), _) => format!("/v1/explain?namespace={}", encode(namespace)),
        (None, path) => format!(
            "/v1/explain?path={}&method={}",
            encode(path.as_deref().unwrap_or_default()),
            encode(explain.method.as_str())
        ),
    };
    let event = explain.event.iter().map(|event| ("event", event.clone()));
    let args = explain.args.iter().map(|args| ("args", args.to_string()));
    let user = explain.user.iter().map(|user| ("user", user.clone()));
    let roles = explain.roles.iter().map(|role| ("role", role.clone()));
    let claims = explain.claims.iter();
    let claims = claims.map(|(name, value)| ("claim", format!("{name}={value}")));
    let origin = explain.origin.iter().map(|o| ("origin", o.clone()));
    let headers = explain.headers.iter();
    let headers = headers.map(|(name, value)| ("header", format!("{name}: {value}")));
    let websocket = explain.websocket.then(|| ("websocket", "true".to_owned()));
    let all = user.chain(roles).chain(claims).chain(origin).chain(headers);
    for (name, value) in all.chain(websocket).chain(event).chain(args) {
        path.push_str(&format!("&{name}={}", encode(&value)));
    }
    path
}

fn judge(file: &Path, asked: Explain) -> Result<Value, Failure> {
    let read = reload::read(file).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::No(lines.join("\n"))
    })?;
    let config = read.loaded.config;
    let in_force = InForce {
        generation: 0,
        routes: RouteTable::new(&config.routes),
        config: Arc::new(config),
    };
    let question = ExplainRequest {
        method: Some(asked.method),
        path: asked.path.unwrap_or_default(),
        user: asked.user,
        roles: asked.roles,
        claims: asked.claims,
        origin: asked.origin,
        headers: asked.headers,
        websocket: asked.websocket,
    };
    let world = World {
        in_force: &in_force,
        stages: &Stages::new(),
        shared: None,
    };
    // A tree of strings and numbers with string keys always serialises.
    let Some(namespace) = asked.namespace else {
        return Ok(serde_json::to_value(explain(&question, world)).unwrap_or_default());
    };
    let question = NamespaceQuestion {
        request: question,
        namespace,
        event: asked.event,
        args: match asked.args {
            Some(Value::Array(args)) => Some(args),
            _ => None,
        },
    };
    Ok(serde_json::to_value(explain_namespace(&question, world)).unwrap_or_default())
}

fn parse_args(text: &str) -> Result<Value, String> {
    let args = admin::parse_args(text).ok_or_else(|| "write a JSON array".to_owned())?;
    Ok(args.into())
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    admin::parse_header(text).ok_or_else(|| "write `Name: value`".to_owned())
}

fn parse_claim(text: &str) -> Result<(String, Value), String> {
    admin::parse_claim(text).ok_or_else(|| "write `NAME=VALUE`".to_owned())
}

fn describe(judgement: &Value) -> String {
    let policies = &judgement["policies"];
    let mut lines = vec![
        ("route", cell(&judgement["route"])),
        ("action", cell(&judgement["action"])),
        ("path", cell(&judgement["canonical_path"])),
    ];
    for (name, value) in judgement["params"].as_object().into_iter().flatten() {
        lines.push(("param", format!("{name} = {}", cell(value))));
    }
    lines.extend([
        ("cors", words(&policies["cors"])),
        ("auth", words(&policies["auth"])),
        ("require", require(&policies["require"])),
        ("limits", words(&policies["rate_limit"])),
        ("share", words(&policies["share"])),
    ]);
    for reading in judgement["readings"].as_array().into_iter().flatten() {
        let (path, route) = (cell(&reading["path"]), cell(&reading["route"]));
        let auth = words(&reading["policies"]["auth"]);
        lines.push(("read as", format!("{path} (route {route}, auth {auth})")));
    }
    for namespace in judgement["namespaces"].as_array().into_iter().flatten() {
        let (name, auth) = (cell(&namespace["name"]), words(&namespace["auth"]));
        let rollout = &namespace["rollout"];
        let (by, side) = (words(&rollout["name"]), cell(&rollout["transport"]));
        let why = cell(&rollout["reason"]);
        let judged = format!("{name} (auth {auth}, rollout {by}: {side}, {why})");
        lines.push(("namespace", judged));
    }
    lines.push(("verdict", verdict(&judgement["verdict"])));
    lines.extend(rollout(&judgement["rollout"]));
    joined_lines(lines)
}

fn joined_lines(lines: Vec<(&str, String)>) -> String {
    let lines: Vec<String> = lines
        .into_iter()
        .map(|(name, value)| labelled(name, &value))
        .collect();
    lines.join("\n")
}

fn verdict(verdict: &Value) -> String {
    match &verdict["status"] {
        Value::Null => cell(&verdict["why"]),
        status => format!("{status} {}", cell(&verdict["why"])),
    }
}

/// Nothing where no rollout governs the place.
fn rollout(rollout: &Value) -> Vec<(&'static str, String)> {
    if !rollout.is_object() {
        return Vec::new();
    }
    vec![
        ("rollout", words(&rollout["name"])),
        ("unit", cell(&rollout["unit"])),
        ("bucket", bucket(rollout)),
        ("transport", cell(&rollout["transport"])),
        ("reason", cell(&rollout["reason"])),
    ]
}

/// `69.523 of 100, in below 25`: buckets are thousandths of a percent, and those below the percentage get WebSocket.
fn bucket(rollout: &Value) -> String {
    let limit = format!("in below {}", cell(&rollout["percent"]));
    match rollout["bucket"].as_u64() {
        Some(bucket) => format!("{}.{:03} of 100, {limit}", bucket / 1000, bucket % 1000),
        None => format!("none, {limit}"),
    }
}

/// Names of the file: one, a list, or a table of lists.
fn words(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Array(names) => names.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            let members = members.iter();
            let members = members.map(|(name, value)| match value {
                Value::Bool(_) => name.clone(),
                value => format!("{name} = {}", words(value)),
            });
            members.collect::<Vec<_>>().join("; ")
        }
        name => cell(name),
    }
}

fn require(require: &Value) -> String {
    let roles = require["roles"]
        .as_array()
        .filter(|roles| !roles.is_empty());
    let roles = roles.map(|roles| format!("role {}", joined(roles)));
    let claims = require["claims"].as_object().into_iter().flatten();
    let claims = claims.filter_map(|(name, values)| {
        Some(format!("claim {name} = {}", joined(values.as_array()?)))
    });
    let all: Vec<String> = roles.into_iter().chain(claims).collect();
    match all.is_empty() {
        true => "none".to_owned(),
        false => all.join("; "),
    }
}

fn joined(values: &[Value]) -> String {
    values.iter().map(cell).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_policy_and_the_bucket_are_shown() {
        let judgement = json!({
            "route": "board", "action": "bridge", "canonical_path": "/board/7", "params": {"id": "7"},
            "policies": {
                "cors": "web", "auth": ["session", "keys"],
                "require": {"roles": ["admin", "staff"], "claims": {"level": [3]}},
                "rate_limit": null, "share": {"public": true, "accept": ["private"]},
            },
            "verdict": {"status": 403, "code": "forbidden", "why": "origin: this origin is not allowed here"},
            "rollout": {
                "name": "web", "unit": "alice", "bucket": 69523, "percent": 25, "transport": "legacy",
                "reason": "bucket",
            },
        });
        let expected = "\
route      board
action     bridge
path       /board/7
param      id = 7
cors       web
auth       session, keys
require    role admin or staff; claim level = 3
limits     none
share      public; accept = private
verdict    403 origin: this origin is not allowed here
rollout    web
unit       alice
bucket     69.523 of 100, in below 25
transport  legacy
reason     bucket";
        assert_eq!(describe(&judgement), expected);
    }

    #[test]
    fn namespace_and_its_event_are_shown() {
        let told = json!({
            "namespace": "/rooms/7", "pattern": "/rooms/{room}", "params": {"room": "7"},
            "auth": "session", "require": {"roles": ["member"], "claims": {}}, "rate_limit": null,
            "rollout": null,
            "subscribe": [{"path": "/rooms/7", "route": "rooms", "verdict": {"status": null, "why": "passes: yes"}}],
            "greet": {"event": "hello", "body": {"room": "7"}},
            "verdict": {"status": null, "code": null, "why": "passes: the client joins"},
            "event": {
                "name": "cancel", "action": "call", "method": "POST", "path": "/tasks/{task_id}",
                "route": "tasks", "policies": {"auth": null, "require": null, "rate_limit": "each", "share": null},
                "require": {"roles": [], "claims": {"team": ["{team}"]}}, "filter": {}, "body": {"by": "{user}"},
                "reply": "cancelled", "error": null,
                "verdict": {"status": 403, "code": "forbidden", "why": "forbidden: no"},
            },
        });
        let expected = "\
namespace  /rooms/7
pattern    /rooms/{room}
param      room = 7
auth       session
require    role member
limits     none
subscribe  /rooms/7 (route rooms): passes: yes
greet      hello {\"room\":\"7\"}
verdict    passes: the client joins
event      cancel
action     call
path       POST /tasks/{task_id}
route      tasks
auth       none
require    none
limits     each
share      none
needs      claim team = {team}
body       {\"by\":\"{user}\"}
reply      cancelled
verdict    403 forbidden: no";
        assert_eq!(namespace::describe(&told), expected);
    }

    #[test]
    fn a_bucket_is_shown_in_three_decimals() {
        let shown = |bucket: Value| bucket_of(bucket, json!(12.5));
        assert_eq!(shown(json!(7)), "0.007 of 100, in below 12.5");
        assert_eq!(shown(json!(99_999)), "99.999 of 100, in below 12.5");
        assert_eq!(shown(json!(null)), "none, in below 12.5");
    }

    fn bucket_of(number: Value, percent: Value) -> String {
        bucket(&json!({ "bucket": number, "percent": percent }))
    }
}
