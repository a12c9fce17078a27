//! `/v1/explain`: which route, which policies, which side of the rollout, and why. Nothing is sent anywhere.

use serde_json::Value;

use crate::admin::Admin;
use crate::admin::request::Asked;
use crate::admin::response::{self, Answer, Fault};
use crate::proxy::explain::{Question, World, explain};

/// `GET /v1/explain?path=&method=&user=&role=&claim=&origin=&header=&websocket=`.
pub fn answer(asked: &Asked, admin: &Admin) -> Result<Answer, Fault> {
    asked.only(&[
        "path",
        "method",
        "user",
        "role",
        "claim",
        "origin",
        "header",
        "websocket",
    ])?;
    let path = asked.one("path")?.filter(|path| path.starts_with('/'));
    let path = path.ok_or_else(|| Fault::unprocessable("`path` is needed and begins with `/`"))?;
    let method = asked.one("method")?.map(|method| method.parse());
    let method = method.transpose();
    let headers: Option<Vec<_>> = asked.all("header").map(parse_header).collect();
    let claims: Option<Vec<_>> = asked.all("claim").map(parse_claim).collect();
    let websocket = match asked.one("websocket")? {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Fault::unprocessable("`websocket` is true or false")),
    };
    let question = Question {
        method: method.map_err(|_| Fault::unprocessable("`method` is no HTTP method"))?,
        path: path.to_owned(),
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
    Ok(response::json(&explain(&question, world)))
}

/// `Name: value`, the name in lower case.
pub fn parse_header(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(':')?;
    let name = name.trim().to_ascii_lowercase();
    (!name.is_empty()).then(|| (name, value.trim().to_owned()))
}

/// `NAME=VALUE`; a value that is JSON is what it says, any other is text.
pub fn parse_claim(text: &str) -> Option<(String, Value)> {
    let (name, value) = text.split_once('=')?;
    let parsed = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    (!name.is_empty()).then(|| (name.to_owned(), parsed))
}
