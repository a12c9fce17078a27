//! Rows bear the numbers of one table of requests and what becomes of them, so that a failure names
//! its row: 1 to 35 requests, 40 to 57 preflights, 60 to 68 handshakes.

use std::time::Duration;

use hyper::header::HeaderValue;
use hyper::{HeaderMap, Method};

use super::*;
use crate::config::OriginPattern;

mod handshakes;
mod preflights;
mod requests;

const APP: &str = "https://app.example.com";
const EVIL: &str = "https://evil.test";
const HOST: &str = "api.example.net";

/// Origins that look like `APP`, and are not.
const LOOKALIKES: &[(u8, &str)] = &[
    (10, "https://app.example.com.evil.test"),
    (11, "https://evilapp.example.com"),
    (12, "http://app.example.com"),
    (13, "https://app.example.com:8443"),
    (14, "https://app.example.com."),
    (15, "https://APP.example.com"),
    (16, "https://app.example.com/"),
    (17, "https://example.com"),
    (18, "https://a.b.stage.example.com"),
    (19, "https://x.stage.example.com.evil.test"),
    (20, "https://app.example.com@evil.test"),
    (21, "https://app.example.com#evil.test"),
    (22, "https://app.example.com, https://evil.test"),
    (23, "https://appxexample.com"),
    (24, "https://app.example.com%00.evil.test"),
    (25, "https://[::1]"),
    (25, "https://[::ffff:127.0.0.1]:3000"),
    (25, "http://[::1]:3000"),
    (18, "https://stage.example.com"),
    (18, "https://.stage.example.com"),
    (18, "https://evilstage.example.com"),
    (13, "https://app.example.com:443"),
    (13, "https://app.example.com:"),
    (13, "https://app.example.com:0443"),
    (13, "http://localhost"),
    (13, "http://localhost:30000"),
    (13, "http://localhost:03000"),
    (15, "https://äpp.example.com"),
    (15, "HTTPS://app.example.com"),
    (12, "ws://localhost:3000"),
    (12, "https:app.example.com"),
    (12, "app.example.com"),
    (22, "https://app.example.com https://evil.test"),
    (22, "https://app.example.com,"),
];

/// Two exact origins and one wildcard, with credentials.
fn policy() -> Cors {
    let exact = |scheme: &str, host: &str, port| OriginPattern::Exact {
        scheme: scheme.into(),
        host: host.into(),
        port,
    };
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    Cors {
        name: "web".into(),
        origins: vec![
            exact("https", "app.example.com", 443),
            exact("http", "localhost", 3000),
            OriginPattern::OneLabel {
                scheme: "https".into(),
                suffix: ".stage.example.com".into(),
                port: 443,
            },
        ],
        credentials: true,
        methods: vec![Method::GET, Method::POST, Method::PUT, Method::DELETE],
        headers: words(&["authorization", "content-type", "x-csrftoken"]),
        expose: words(&["etag", "x-request-id"]),
        max_age: Duration::from_secs(600),
        mode: CorsMode::Enforce,
    }
}

/// Every origin, for requests without a cookie.
fn anybody() -> Cors {
    Cors {
        name: "any".into(),
        origins: vec![OriginPattern::Any],
        credentials: false,
        headers: vec!["*".into(), "authorization".into()],
        ..policy()
    }
}

fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a field value");
        headers.append(*name, value);
    }
    headers
}

fn host(text: &str) -> Host {
    Host::parse(&text.parse().expect("a field value")).expect("a host")
}

/// What a client gets.
#[derive(Debug)]
enum Outcome {
    /// The backend's answer, or one of crossfade's own from a later check.
    Passed(HeaderMap),
    /// 204 from here.
    Preflight(HeaderMap),
    /// 403 from here.
    Refused(OriginRefused, HeaderMap),
}

/// A request under a policy; `answer` is what the backend would say.
fn ask(
    cors: Option<&Cors>,
    method: &Method,
    request: &[(&'static str, &str)],
    answer: &[(&'static str, &str)],
) -> Outcome {
    match rule(method, &fields(request), &host(HOST), None, cors) {
        Ok(CorsDecision::Passes(marks)) => {
            let mut headers = fields(answer);
            marks.put(&mut headers);
            let once = headers.clone();
            marks.put(&mut headers);
            assert_eq!(headers, once, "put twice is put once");
            Outcome::Passed(headers)
        }
        Ok(CorsDecision::Preflight(headers)) => Outcome::Preflight(headers),
        Err(CorsRefused { why, marks }) => {
            let mut headers = HeaderMap::new();
            marks.put(&mut headers);
            Outcome::Refused(why, headers)
        }
    }
}

/// All of CORS in an answer, and its `Vary`, each as one text; sorted by name.
fn cors_of(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut found: Vec<_> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("access-control-") || *name == "vary")
        .map(|name| {
            let lines: Vec<_> = headers
                .get_all(name)
                .iter()
                .map(|value| value.to_str().expect("plain text"))
                .collect();
            assert_eq!(lines.len(), 1, "{name} stands once: {lines:?}");
            (name.to_string(), lines.join("|"))
        })
        .collect();
    found.sort();
    found
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    pairs.iter().map(owned).collect()
}
