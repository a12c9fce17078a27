//! `crossfade check --live`: whether what runs is what the file takes it for.
//!
//! Every request is without credentials, and a GET, but where a public poll is none. Of what comes back no value is ever printed.

use std::collections::BTreeSet;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hyper::header::{ACCEPT, ACCESS_CONTROL_ALLOW_ORIGIN, HOST, HeaderValue, ORIGIN};
use hyper::{Method, Request, Uri};

use super::super::client::{ApiClient, admin_of};
use super::super::outcome::AdminOptions;
use super::fetch::{Fetcher, alone};
use super::finding::{Finding, Findings, clock, error, warning};
use super::sources;
use crate::config::{
    Auth, AuthKind, Authority, Config, Cors, CorsMode, Forward, Jwt, KeySource, Loaded,
    OriginPattern, Problem, Trust, Upstream,
};
use crate::error::Obstacle;
use crate::http::body::{Body, empty};
use crate::policy::auth::credential::Inputs;
use crate::policy::auth::forward::{self, AuthResponse, Context};
use crate::policy::auth::jwt::Keys;

/// The running sidecar answers at once, or is not asked.
const PATIENCE: Duration = Duration::from_secs(5);

/// Requests at once: what is tried may be in use.
const AT_ONCE: usize = 4;

/// Tries everything; every problem is reported at the key that it belongs to.
pub(crate) async fn problems(loaded: &Loaded, file: &Path) -> Vec<Problem> {
    let config = &loaded.config;
    let fetcher = &Fetcher::new();
    let mut tries: Vec<Pin<Box<dyn Future<Output = Findings> + '_>>> = Vec::new();
    for upstream in config.upstreams.values() {
        for server in &upstream.servers {
            tries.push(Box::pin(reach(fetcher, upstream, server)));
        }
    }
    for auth in config.auths.values() {
        match &auth.kind {
            AuthKind::Forward(forward) => {
                tries.push(Box::pin(ask(fetcher, config, auth, forward)));
            }
            AuthKind::Jwt(jwt) => {
                if let KeySource::Url(url) = &jwt.key {
                    tries.push(Box::pin(fetch_keys(fetcher, auth, jwt, url)));
                }
            }
            AuthKind::ApiKey(_) => {}
        }
    }
    for (cors, upstream, path) in policies(config) {
        tries.push(Box::pin(cross(fetcher, cors, upstream, path)));
    }
    for route in config.routes.iter().filter(|route| sources::is_open(route)) {
        tries.push(Box::pin(sources::ask(fetcher, route)));
    }
    tries.push(Box::pin(look_at_topics(config)));
    let found: Vec<Findings> = stream::iter(tries).buffered(AT_ONCE).collect().await;
    let placed = |finding: Finding| finding.at(&loaded.values, file);
    found.into_iter().flatten().map(placed).collect()
}

/// Whether a server answers, and as a server that is checked has to.
async fn reach(fetcher: &Fetcher, upstream: &Upstream, server: &Authority) -> Findings {
    let key = format!("upstream.{}.servers", upstream.name);
    let health = upstream.health.as_ref();
    let path = health.map_or("/", |health| &health.path);
    let request = get(path, host(upstream, server), "*/*");
    let url = server.url();
    let head = match fetcher.reach(&alone(upstream, server), request).await {
        Ok(head) => head,
        Err(why) => {
            let what = format!("{url} cannot be reached: {}", why.detail);
            return vec![error(key, what, way_out(why.obstacle))];
        }
    };
    let mut findings = clock(&key, &url, &head);
    let is_well = head.status.is_success() || head.status.is_redirection();
    if health.is_some() && !is_well {
        let status = head.status.as_u16();
        let key = format!("upstream.{}.health.path", upstream.name);
        let what = format!("{url} answers {status} there: it would get no requests");
        let fix = "name a path that a server which is well answers with 2xx";
        findings.push(error(key, what, fix));
    }
    findings
}

fn way_out(obstacle: Option<Obstacle>) -> &'static str {
    match obstacle {
        None => "start it, or fix its address",
        Some(Obstacle::NoAddress) => "write a name that name servers or the hosts file know",
        Some(Obstacle::Expired) => "renew the server's certificate",
        Some(Obstacle::NotYetValid) => "set the clock of this machine, or wait",
        Some(Obstacle::UnknownIssuer) => {
            "name the PEM file of the authority, or of the server's own certificate, by `tls.ca` of this upstream"
        }
        Some(Obstacle::WrongName) => {
            "name a host that the certificate is for by `tls.server_name` of this upstream, or renew the certificate"
        }
        Some(Obstacle::Handshake) => {
            "let the server speak TLS 1.2 or 1.3, or write `http://` where it speaks none"
        }
    }
}

/// Where the sidecar of this file runs already: whether topics of a route are probably one.
async fn look_at_topics(config: &Config) -> Findings {
    let admin = std::env::var("CROSSFADE_ADMIN").ok();
    let admin = admin.or_else(|| Some(admin_of(config)));
    let token = std::env::var("CROSSFADE_ADMIN_TOKEN").ok();
    let token = token.or_else(|| Some(config.admin.token.as_ref()?.0.clone()));
    let json = false;
    let asked = ApiClient::new(AdminOptions { admin, token, json });
    let Ok(client) = asked.map(|client| client.with_patience(PATIENCE)) else {
        return Vec::new();
    };
    // It need not run.
    let Ok(answer) = client.get("/v1/topics").await else {
        return Vec::new();
    };
    let hints = answer.json["hints"].as_array().into_iter().flatten();
    let found = hints.filter_map(|hint| {
        let (route, parameter) = (hint["route"].as_str()?, hint["parameter"].as_str()?);
        let route = config.routes.iter().find(|known| *known.name == *route)?;
        let what = format!(
            "{} topics of this route differ in the parameter `{parameter}` only",
            hint["topics"]
        );
        let fix = "where it changes nothing of the answer, name it here";
        Some(warning(
            format!("route.{}.ignore_query", route.index),
            what,
            fix,
        ))
    });
    found.collect()
}

/// Whether an authority refuses a client without credentials, in an answer that is understood.
async fn ask(fetcher: &Fetcher, config: &Config, auth: &Auth, forward: &Forward) -> Findings {
    let key = format!("auth.{}.path", auth.name);
    let refusal = "let it answer 401, with JSON or nothing, where no user is logged in";
    let request = match forward::request(forward, Inputs::default(), context(config, forward)) {
        Ok(request) => request,
        Err(why) => return vec![error(key, why.detail.into_owned(), "fix the path")],
    };
    let (head, body) = match fetcher.read(&forward.upstream, request).await {
        Ok(answer) => answer,
        Err(why) => {
            let what = format!("cannot be asked: {why}");
            return vec![error(key, what, "start the backend, or fix the path")];
        }
    };
    match forward::judge(&auth.name, forward, &head, &body) {
        AuthResponse::Unknown if head.status.is_redirection() => {
            let what = format!(
                "answers {} to a request without credentials, probably the way to a login form",
                head.status.as_u16()
            );
            vec![warning(key, what, refusal)]
        }
        AuthResponse::Unknown => Vec::new(),
        AuthResponse::Known(_) => {
            let what = format!(
                "names a user to a request without credentials: every client would be that user (`{}`)",
                forward.user
            );
            vec![error(key, what, refusal)]
        }
        AuthResponse::Beside(why) => {
            vec![warning(key, format!("refuses no request: {why}"), refusal)]
        }
        AuthResponse::Failed(why) => {
            let fix = "name a path where the backend says which user is logged in";
            vec![error(key, format!("cannot find out the user: {why}"), fix)]
        }
    }
}

/// Whether a key set is there, with a key that may be used.
async fn fetch_keys(fetcher: &Fetcher, auth: &Auth, jwt: &Jwt, url: &Uri) -> Findings {
    let key = format!("auth.{}.jwks_url", auth.name);
    let fix = "name the URL of a key set (RFC 7517) with keys for these `algorithms`";
    let upstream = key_server(&key, url);
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = get(path, url.authority().map_or("", |a| a.as_str()), "*/*");
    let (head, body) = match fetcher.read(&upstream, request).await {
        Ok(answer) => answer,
        Err(why) => return vec![error(key, format!("cannot be fetched: {why}"), fix)],
    };
    let mut findings = clock(&key, "the key server", &head);
    let fault = match head.status.as_u16() {
        200 => Keys::parse(&body, &jwt.algorithms).err(),
        status => Some(format!("it answers {status}")),
    };
    if let Some(why) = fault {
        let is_page = body.trim_ascii_start().starts_with(b"<");
        let page = if is_page { ", but a page" } else { "" };
        findings.push(error(key, format!("gives no keys: {why}{page}"), fix));
    }
    findings
}

/// Whether the backend's own CORS and the policy go together.
async fn cross(fetcher: &Fetcher, cors: &Cors, upstream: &Upstream, path: &str) -> Findings {
    let (Some(origin), Some(server)) = (cors.origins.first(), upstream.servers.first()) else {
        return Vec::new();
    };
    let origin = example(origin);
    let mut request = get(path, host(upstream, server), "*/*");
    let Ok(value) = HeaderValue::from_str(&origin) else {
        return Vec::new();
    };
    request.headers_mut().insert(ORIGIN, value);
    // An unreachable server is reported elsewhere.
    let Ok(head) = fetcher.send(upstream, request).await else {
        return Vec::new();
    };
    let key = format!("cors.{}.origins", cors.name);
    let of_upstream = format!("{path} of upstream `{}`", upstream.name);
    let own = head
        .headers
        .keys()
        .find(|name| name.as_str().starts_with("access-control-"));
    match (cors.mode, own) {
        (CorsMode::Enforce, Some(own)) => {
            let what = format!("{of_upstream} sends {own} of its own, which will be replaced");
            let fix = "take CORS out of the backend, or write `mode = \"passthrough\"`";
            vec![warning(key, what, fix)]
        }
        (CorsMode::Passthrough, _) if !head.headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) => {
            let what = format!("{of_upstream} allows nothing to {origin} by itself");
            let fix = "set up CORS in the backend, or write `mode = \"enforce\"`";
            vec![warning(key, what, fix)]
        }
        _ => Vec::new(),
    }
}

/// Every policy with every upstream and path that it stands before; a path with parameters is `/`.
fn policies(config: &Config) -> Vec<(&Cors, &Upstream, &str)> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for route in &config.routes {
        let Some(cors) = &route.cors else {
            continue;
        };
        let is_read = route.methods.is_empty() || route.methods.contains(&Method::GET);
        let path = match route.path.contains('{') || !is_read {
            true => "/",
            false => &route.path,
        };
        if cors.mode != CorsMode::Off && seen.insert((&cors.name, &route.upstream.name, path)) {
            found.push((&**cors, &*route.upstream, path));
        }
    }
    found
}

pub(crate) fn get(path: &str, host: &str, accept: &'static str) -> Request<Body> {
    let mut request = Request::new(empty());
    // What the file says is valid; elsewhere the answer tells.
    *request.uri_mut() = path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static(accept));
    if let Ok(host) = HeaderValue::from_str(host) {
        headers.insert(HOST, host);
    }
    request
}

pub(crate) fn host<'h>(upstream: &'h Upstream, server: &'h Authority) -> &'h str {
    let fixed = upstream.host.as_ref().and_then(|host| host.to_str().ok());
    fixed.unwrap_or(server.host_header())
}

/// As for a client at the public URL.
fn context(config: &Config, forward: &Forward) -> Context {
    let public = config.server.public_url.as_deref().unwrap_or_default();
    let is_https = public.starts_with("https:");
    let authority = public.split_once("://").map(|(_, authority)| authority);
    let server = forward.upstream.servers.first();
    let host = authority.or(server.map(|server| server.host_header()));
    let host = host.and_then(|host| HeaderValue::from_str(host).ok());
    Context {
        host: host.unwrap_or(HeaderValue::from_static("localhost")),
        proto: if is_https { "https" } else { "http" },
        remote: "127.0.0.1".to_owned(),
        way: Default::default(),
    }
}

/// An origin that the policy allows.
fn example(pattern: &OriginPattern) -> String {
    let (scheme, host, port) = match pattern {
        OriginPattern::Exact { scheme, host, port } => (scheme, host.clone(), port),
        OriginPattern::OneLabel {
            scheme,
            suffix,
            port,
        } => (scheme, format!("any{suffix}"), port),
        OriginPattern::Whole(origin) => return origin.clone(),
        OriginPattern::Any => return "https://any.example".to_owned(),
    };
    match (scheme.as_str(), port) {
        ("https", 443) | ("http", 80) => format!("{scheme}://{host}"),
        _ => format!("{scheme}://{host}:{port}"),
    }
}

fn key_server(name: &str, url: &Uri) -> Upstream {
    let is_https = url.scheme_str() == Some("https");
    let port = url.port_u16().unwrap_or(if is_https { 443 } else { 80 });
    let patience = std::time::Duration::from_secs(5);
    Upstream {
        name: name.to_owned(),
        servers: vec![Authority {
            address: format!("{}:{port}", url.host().unwrap_or_default()),
            is_https,
        }],
        host: None,
        connect_timeout: patience,
        response_timeout: patience,
        idle_timeout: patience,
        keepalive: 0,
        http2: false,
        tls: Trust::default(),
        balance: Default::default(),
        health: None,
        budget: Default::default(),
        connection_auth: Default::default(),
    }
}
