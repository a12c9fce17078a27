//! `/v1/explain`: which route, which policies, which side of the rollout, and why. Nothing is sent anywhere.

use std::net::IpAddr;

use hyper::Method;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use serde_json::{Map, Value, json};

use super::Admin;
use super::answer::{self, Answer, Fault};
use super::read::Asked;
use crate::config::Route;
use crate::http::host::Host;
use crate::http::path;
use crate::policy::cors;
use crate::rollout::{self, Candidate, Stages, percent_number, unit};
use crate::router::{InForce, Reading};

/// A request that nobody sent.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// GET where none is given.
    pub method: Option<Method>,
    /// Path, with or without a query.
    pub path: String,
    /// The user, or the unit of the sticky cookie.
    pub user: Option<String>,
    /// The `Origin` field.
    pub origin: Option<String>,
    /// Header fields: name in lower case, value.
    pub headers: Vec<(String, String)>,
}

/// `GET /v1/explain?path=&user=&origin=&method=&header=`.
pub fn answer(asked: &Asked, admin: &Admin) -> Result<Answer, Fault> {
    asked.only(&["path", "user", "origin", "method", "header"])?;
    let path = asked.one("path")?.filter(|path| path.starts_with('/'));
    let path = path.ok_or_else(|| Fault::unprocessable("`path` is needed and begins with `/`"))?;
    let method = asked.one("method")?.map(|method| method.parse());
    let method = method.transpose();
    let headers: Option<Vec<_>> = asked.all("header").map(parse_header).collect();
    let question = Question {
        method: method.map_err(|_| Fault::unprocessable("`method` is no HTTP method"))?,
        path: path.to_owned(),
        user: asked.one("user")?.map(str::to_owned),
        origin: asked.one("origin")?.map(str::to_owned),
        headers: headers.ok_or_else(|| Fault::unprocessable("`header` is `Name: value`"))?,
    };
    let (in_force, stages) = (admin.shared.in_force.load(), admin.shared.stages.load());
    Ok(answer::json(&explain(
        &question,
        &in_force,
        &stages,
        Some(admin.shared.secret(&in_force.config)),
    )))
}

/// `Name: value`, the name in lower case.
pub fn parse_header(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(':')?;
    let name = name.trim().to_ascii_lowercase();
    (!name.is_empty()).then(|| (name, value.trim().to_owned()))
}

/// Judges the question. `secret` verifies the sticky cookie among its headers.
pub fn explain(
    question: &Question,
    in_force: &InForce,
    stages: &Stages,
    secret: Option<&[u8]>,
) -> Value {
    let method = question.method.clone().unwrap_or(Method::GET);
    let raw = question.path.split(['?', '#']).next().unwrap_or_default();
    let canonical = match path::canonical(raw) {
        Ok(canonical) => canonical,
        Err(fault) => return nowhere(None, fault.detail()),
    };
    let path = canonical.as_ref();
    let host = header(question, "host").unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let host = host.to_ascii_lowercase();
    let Some(found) = in_force.routes.find(&host, &method, path) else {
        return nowhere(Some(path), "no route fits this path, host and method");
    };
    let (readings, why) = explain_readings(in_force, &host, &method, path, &found.route);
    let params: Map<String, Value> = found
        .params
        .into_iter()
        .map(|(name, value)| (name, value.into()))
        .collect();
    let action = match found.bridged {
        true => "bridge",
        false => "passthrough",
    };
    let rollout = found
        .bridged
        .then(|| explain_rollout(&found.route, question, stages, secret));
    let mut document = json!({
        "route": found.route.name,
        "action": action,
        "canonical_path": path,
        "params": params,
        "policies": {
            "cors": found.route.cors.as_ref().map(|cors| &cors.name),
            "auth": found.route.auth.first().map(|auth| &auth.name),
            "rate_limit": found.route.rate_limit.as_ref().map(|limit| &limit.name),
        },
        "rollout": rollout,
    });
    if let Some(why) = why {
        document["readings"] = readings.into();
        document["why"] = why.into();
    }
    if question.origin.is_some() {
        document["origin_allowed"] = allows_origin(question, in_force, &found.route).into();
    }
    document
}

/// The readings of a path that other policies guard, and what follows from them; nothing where there are none.
fn explain_readings(
    in_force: &InForce,
    host: &str,
    method: &Method,
    path: &str,
    found: &Route,
) -> (Vec<Value>, Option<&'static str>) {
    let routes = &in_force.routes;
    let Ok(readings) = routes.readings(host, method, path, found) else {
        let why = "400 `path`: a backend may read the path in more ways than are looked at";
        return (Vec::new(), Some(why));
    };
    if readings.is_empty() {
        return (Vec::new(), None);
    }
    let told = readings.iter().map(|Reading { path, route }| {
        let require = route.require.as_ref().map(|require| {
            let claims: Map<String, Value> = require
                .claims
                .iter()
                .cloned()
                .map(|(name, values)| (name, values.into()))
                .collect();
            json!({"roles": require.roles, "claims": claims})
        });
        let auth = route.auth.first().map(|auth| &auth.name);
        json!({"path": path, "route": route.name, "policies": {"auth": auth, "require": require}})
    });
    let why = match routes.read_otherwise(host, method, path, found) {
        Ok(_) => {
            "`encoded` of the route takes the path: a request has to satisfy the policies of every reading"
        }
        Err(_) => {
            "400 `path`: a backend may read the path as one that other policies guard; list its encodings in `encoded` \
             of the route, and a request that satisfies the policies of every reading passes"
        }
    };
    (told.collect(), Some(why))
}

/// Whether a WebSocket handshake with this `Origin` would be let in.
fn allows_origin(question: &Question, in_force: &InForce, route: &Route) -> bool {
    let fields = question.headers.iter();
    let mut headers: HeaderMap = fields
        .filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, value.parse().ok()?)))
        .collect();
    if let Some(origin) = question.origin.as_ref().and_then(|o| o.parse().ok()) {
        headers.insert(ORIGIN, origin);
    }
    let host = headers.get(HOST).cloned();
    let host = host.unwrap_or(HeaderValue::from_static("localhost"));
    let public_url = in_force.config.server.public_url.as_deref();
    Host::parse(&host)
        .is_some_and(|host| cors::judge(&headers, &host, public_url, route.cors.as_deref()).is_ok())
}

fn nowhere(path: Option<&str>, why: &str) -> Value {
    json!({
        "route": null,
        "action": "not_found",
        "canonical_path": path,
        "params": {},
        "policies": { "cors": null, "auth": null, "rate_limit": null },
        "rollout": null,
        "why": why,
    })
}

fn explain_rollout(
    route: &Route,
    question: &Question,
    stages: &Stages,
    secret: Option<&[u8]>,
) -> Value {
    let rollout = route.rollout.as_deref();
    let candidate = candidate(question, secret);
    let decision = rollout::decide(rollout, stages, &candidate);
    let percent = rollout.map_or(rollout::EVERYBODY, |rollout| {
        let stage = stages.get(&rollout.name);
        stage.map_or(rollout.percent, |stage| stage.effective_percent())
    });
    json!({
        "name": rollout.map(|rollout| &rollout.name),
        "unit": decision.unit,
        "bucket": decision.bucket,
        "percent": percent_number(percent),
        "transport": decision.transport.as_str(),
        "reason": decision.reason.as_str(),
    })
}

/// Who would ask: `user` stands for whatever names a person, so also for the unit of the sticky cookie.
fn candidate(question: &Question, secret: Option<&[u8]>) -> Candidate {
    let cookies = question.headers.iter().filter(|(name, _)| name == "cookie");
    let cookies: Vec<(String, String)> = cookies
        .flat_map(|(_, line)| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let sticky = cookies.iter().find(|(name, _)| name == unit::COOKIE);
    let sticky = sticky.and_then(|(_, value)| unit::verify(secret?, value));
    let forwarded = header(question, "x-forwarded-for");
    let forwarded = forwarded.and_then(|list| list.rsplit(',').next()?.trim().parse().ok());
    let ip: IpAddr = forwarded.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let fields = question.headers.iter().cloned();
    Candidate {
        cookie: question.user.clone().or(sticky),
        ip: ip.to_canonical().to_string(),
        user: question.user.clone(),
        tenant: None,
        overrides: fields.chain(cookies).collect(),
    }
}

fn header<'q>(question: &'q Question, name: &str) -> Option<&'q str> {
    let mut fields = question.headers.iter();
    let field = fields.find(|(n, _)| n == name);
    field.map(|(_, value)| value.as_str())
}
