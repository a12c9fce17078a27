//! An `Origin` and a preflight's lists: whatever they say, only an origin of the set is granted anything, as exactly its own bytes.

#![no_main]

use std::time::Duration;

use crossfade::config::{Cors, CorsMode, OriginPattern};
use crossfade::http::host::Host;
use crossfade::policy::cors::{CorsDecision, CorsRefused, judge, preflight_method, rule};
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;

const METHODS: [Method; 4] = [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST];
const EXACT: [&[u8]; 2] = [b"https://app.example.com", b"http://localhost:3000"];

// The first byte: method, cookie. The lines: `Access-Control-Request-Method`, `-Headers`, and each other one an `Origin`.
fuzz_target!(|input: (u8, &[u8])| {
    let (bits, lines) = input;
    let names = [
        "access-control-request-method",
        "access-control-request-headers",
    ];
    let names = names.into_iter().chain(std::iter::repeat("origin"));
    let mut headers = HeaderMap::new();
    for (name, line) in names.zip(lines.split(|byte| *byte == b'\n').take(8)) {
        // An empty line leaves the field out; one blank is an empty field.
        if let (false, Ok(value)) = (line.is_empty(), HeaderValue::from_bytes(line)) {
            headers.append(name, value);
        }
    }
    if bits & 0x80 != 0 {
        headers.insert("cookie", HeaderValue::from_static("session=1"));
    }
    let method = &METHODS[usize::from(bits % 4)];
    let host = Host::parse(&HeaderValue::from_static("api.example.net")).expect("a host");
    let cors = policy();

    let mut origins = headers.get_all("origin").iter();
    let origin = origins.next().filter(|_| origins.next().is_none());
    let is_in_the_set = origin.is_some_and(|origin| is_listed(origin.as_bytes()));
    let answer = match rule(method, &headers, &host, None, Some(&cors)) {
        Ok(CorsDecision::Passes(marks)) => {
            let mut answer = HeaderMap::new();
            answer.insert("access-control-allow-origin", HeaderValue::from_static("*"));
            marks.put(&mut answer);
            answer
        }
        Ok(CorsDecision::Preflight(answer)) => {
            assert_eq!(method, Method::OPTIONS);
            answer
        }
        Err(CorsRefused { marks, .. }) => {
            assert!(!is_in_the_set);
            let mut answer = HeaderMap::new();
            marks.put(&mut answer);
            answer
        }
    };
    assert_eq!(answer.get_all("vary").iter().count(), 1);
    match answer.get("access-control-allow-origin") {
        Some(granted) => assert!(is_in_the_set && Some(granted) == origin),
        None => assert!(answer.keys().all(|name| name == "vary")),
    }
    // Nothing of a preflight's question is said again.
    for (name, said) in [
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-allow-headers", "authorization"),
    ] {
        assert!(answer.get(name).is_none_or(|value| value == said));
    }
    if preflight_method(method, &headers).is_some() {
        assert_eq!(method, Method::OPTIONS);
    }
    let is_own = origin.is_some_and(|origin| {
        let own: [&[u8]; 4] = [
            b"http://api.example.net",
            b"https://api.example.net",
            b"http://api.example.net:80",
            b"https://api.example.net:443",
        ];
        own.contains(&origin.as_bytes())
    });
    let is_bare = bits & 0x80 == 0 && !headers.contains_key("origin");
    let is_let_in = judge(&headers, &host, None, Some(&cors)).is_ok();
    assert!(!is_let_in || is_in_the_set || is_own || is_bare);
});

fn is_listed(origin: &[u8]) -> bool {
    let wild = origin.strip_prefix(b"https://");
    let wild = wild.and_then(|rest| rest.strip_suffix(b".stage.example.com"));
    let is_label =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let is_one_label =
        wild.is_some_and(|label| !label.is_empty() && label.iter().all(|byte| is_label(*byte)));
    EXACT.contains(&origin) || is_one_label
}

fn policy() -> Cors {
    let exact = |scheme: &str, host: &str, port| OriginPattern::Exact {
        scheme: scheme.into(),
        host: host.into(),
        port,
    };
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
        methods: vec![Method::GET, Method::PUT],
        headers: vec!["authorization".into()],
        expose: vec!["etag".into()],
        max_age: Duration::from_secs(600),
        mode: CorsMode::Enforce,
    }
}
