//! What a client presents, in whatever lines: at most one credential, whole, and none of crossfade's own cookies in it.

#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crossfade::config::{
    Auth, AuthKind, CredentialSource as From, Forward, IdentityHeaders, Upstream,
};
use crossfade::policy::auth::credential::{self, Credential, Extras, LONGEST_TOKEN};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

static POLICIES: LazyLock<[Arc<Auth>; 2]> = LazyLock::new(|| {
    let from = vec![
        From::Header,
        From::Cookie("t".into()),
        From::Subprotocol,
        From::Message,
        From::Query("t".into()),
        From::Ticket,
    ];
    let upstream = Upstream {
        name: "app".into(),
        servers: Vec::new(),
        host: None,
        connect_timeout: Duration::ZERO,
        response_timeout: Duration::ZERO,
        idle_timeout: Duration::ZERO,
        keepalive: 0,
        connection_auth: Default::default(),
        http2: false,
        tls: Default::default(),
        balance: Default::default(),
        health: None,
        budget: Default::default(),
    };
    let forward = Forward {
        upstream: Arc::new(upstream),
        path: "/me".into(),
        cookies: Some(vec!["s".into(), "crossfade_unit".into()]),
        headers: vec![AUTHORIZATION],
        user: "id".into(),
        tenant: None,
        roles: None,
        cache: Duration::ZERO,
        recheck: Duration::ZERO,
        stale_if_error: Duration::ZERO,
    };
    let auth = |name: &str, kind| {
        Arc::new(Auth {
            name: name.into(),
            kind,
            from: from.clone(),
            csrf: None,
            identity: IdentityHeaders::default(),
        })
    };
    [
        auth("keys", AuthKind::ApiKey(Vec::new())),
        auth("session", AuthKind::Forward(forward)),
    ]
});

// Each line begins with a letter that says what it is.
fuzz_target!(|input: &[u8]| {
    let (mut headers, mut extras) = (HeaderMap::new(), Extras::default());
    for line in input.split(|byte| *byte == b'\n') {
        let Some((kind, value)) = line.split_first() else {
            continue;
        };
        let text = || String::from_utf8_lossy(value).into_owned();
        let name = match kind {
            b'a' => AUTHORIZATION,
            b'c' => COOKIE,
            b'k' => HeaderName::from_static("x-api-key"),
            b's' => {
                extras.subprotocol = Some(text());
                continue;
            }
            b'm' => {
                extras.message = Some(text());
                continue;
            }
            b'i' => {
                extras.ticket = Some(text());
                continue;
            }
            _ => {
                extras.query.push(("t".into(), text()));
                continue;
            }
        };
        headers.extend(HeaderValue::from_bytes(value).map(|value| (name, value)));
    }
    for policies in [&POLICIES[..], &POLICIES[..1], &POLICIES[1..]] {
        let Ok(Some(found)) = credential::find(policies, &headers, &extras) else {
            continue;
        };
        let _ = (found.is_ambient(), found.credential.digest());
        match &found.credential {
            Credential::Token(token) => {
                assert!(!token.is_empty() && token.len() <= LONGEST_TOKEN);
            }
            Credential::Inputs(inputs) => {
                let cookie = inputs
                    .cookie
                    .as_ref()
                    .map_or(&b""[..], HeaderValue::as_bytes);
                let mut pairs = cookie.split(|byte| *byte == b';');
                assert!(!pairs.any(|pair| pair.trim_ascii().starts_with(b"crossfade_")));
                assert!(inputs.fields.len() <= 1);
            }
            Credential::Ticket(_) => {}
        }
    }
});
