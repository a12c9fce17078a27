//! `crossfade explain`: asks the running sidecar, or judges a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use hyper::Method;
use serde_json::Value;

use super::client::{Client, encode};
use super::outcome::{Failure, Outcome, Remote, print};
use super::table::cell;
use crate::admin::{self, Question};
use crate::app::reload;
use crate::rollout::Stages;
use crate::router::{InForce, RouteTable};

#[derive(Args)]
pub struct Explain {
    /// Path, with or without a query.
    #[arg(long, value_name = "PATH")]
    path: String,
    /// The user, or the unit of the sticky cookie.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// The page's origin.
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// HTTP method.
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: Method,
    /// A header field; may be given several times.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// Judges this file instead of asking the running sidecar; what admins set is unknown then.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

pub async fn run(explain: Explain) -> Outcome {
    if !explain.path.starts_with('/') {
        return Err(Failure::Usage("error: --path begins with `/`".to_owned()));
    }
    let wants_json = explain.remote.json;
    let (text, json) = match explain.config.clone() {
        Some(file) => {
            let json = judge(&file, explain)?;
            (json.to_string(), json)
        }
        None => {
            let path = query(&explain);
            let answer = Client::new(explain.remote)?.get(&path).await?;
            (answer.text, answer.json)
        }
    };
    match wants_json {
        true => print(&text),
        false => print(&describe(&json)),
    }
    Ok(())
}

fn query(explain: &Explain) -> String {
    let mut path = format!(
        "/v1/explain?path={}&method={}",
        encode(&explain.path),
        encode(explain.method.as_str())
    );
    let user = explain.user.iter().map(|user| ("user", user.clone()));
    let origin = explain.origin.iter().map(|o| ("origin", o.clone()));
    let headers = explain.headers.iter();
    let headers = headers.map(|(name, value)| ("header", format!("{name}: {value}")));
    for (name, value) in user.chain(origin).chain(headers) {
        path.push_str(&format!("&{name}={}", encode(&value)));
    }
    path
}

fn judge(file: &Path, explain: Explain) -> Result<Value, Failure> {
    let read = reload::read(file).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::No(lines.join("\n"))
    })?;
    let config = read.loaded.config;
    let secret = config.server.secret.clone();
    let in_force = InForce {
        generation: 0,
        routes: RouteTable::new(&config.routes),
        config: Arc::new(config),
    };
    let question = Question {
        method: Some(explain.method),
        path: explain.path,
        user: explain.user,
        origin: explain.origin,
        headers: explain.headers,
    };
    let secret = secret.as_ref().map(|secret| secret.0.as_bytes());
    Ok(admin::explain(&question, &in_force, &Stages::new(), secret))
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    admin::parse_header(text).ok_or_else(|| "write `Name: value`".to_owned())
}

fn describe(judgement: &Value) -> String {
    let mut lines = vec![
        ("route", cell(&judgement["route"])),
        ("action", cell(&judgement["action"])),
        ("path", cell(&judgement["canonical_path"])),
    ];
    for (name, value) in judgement["params"].as_object().into_iter().flatten() {
        lines.push(("param", format!("{name} = {}", cell(value))));
    }
    if let Some(cors) = judgement["policies"]["cors"].as_str() {
        lines.push(("cors", cors.to_owned()));
    }
    if let Some(allowed) = judgement["origin_allowed"].as_bool() {
        let word = if allowed { "allowed" } else { "refused" };
        lines.push(("origin", word.to_owned()));
    }
    for reading in judgement["readings"].as_array().into_iter().flatten() {
        let (path, route) = (cell(&reading["path"]), cell(&reading["route"]));
        let auth = cell(&reading["policies"]["auth"]);
        lines.push(("read as", format!("{path} (route {route}, auth {auth})")));
    }
    let rollout = &judgement["rollout"];
    if rollout.is_object() {
        lines.push(("rollout", cell(&rollout["name"])));
        lines.push(("unit", cell(&rollout["unit"])));
        lines.push(("bucket", cell(&rollout["bucket"])));
        lines.push(("percent", cell(&rollout["percent"])));
        lines.push(("transport", cell(&rollout["transport"])));
        lines.push(("reason", cell(&rollout["reason"])));
    }
    if let Some(why) = judgement["why"].as_str() {
        lines.push(("why", why.to_owned()));
    }
    let lines: Vec<String> = lines
        .into_iter()
        .map(|(name, value)| format!("{name:<10} {value}"))
        .collect();
    lines.join("\n")
}
