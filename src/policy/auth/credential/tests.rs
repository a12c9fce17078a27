use std::time::Duration;

use hyper::header::COOKIE;
use proptest::prelude::*;

use super::*;
use crate::config::{
    Balance, Budget, CredentialSource as From, IdentityHeaders, Jwt, KeySource, Secret, Trust,
    Upstream,
};

mod inputs;
mod upward;

fn auth(name: &str, kind: AuthKind, from: &[From]) -> Arc<Auth> {
    Arc::new(Auth {
        name: name.into(),
        kind,
        from: from.to_vec(),
        csrf: None,
        identity: IdentityHeaders::default(),
    })
}

fn jwt(from: &[From]) -> Arc<Auth> {
    let jwt = Jwt {
        issuer: None,
        audience: None,
        algorithms: Vec::new(),
        key: KeySource::Secret(Secret("s".into())),
        leeway: Duration::ZERO,
        user: "sub".into(),
        tenant: "tenant".into(),
        roles: "roles".into(),
    };
    auth("jwt", AuthKind::Jwt(jwt), from)
}

fn keys(from: &[From]) -> Arc<Auth> {
    auth("keys", AuthKind::ApiKey(Vec::new()), from)
}

fn forward(from: &[From], cookies: Option<&[&str]>, headers: &[&'static str]) -> Arc<Auth> {
    let upstream = Upstream {
        name: "app".into(),
        servers: Vec::new(),
        host: None,
        connect_timeout: Duration::ZERO,
        response_timeout: Duration::ZERO,
        idle_timeout: Duration::ZERO,
        keepalive: 0,
        http2: false,
        tls: Trust::default(),
        balance: Balance::default(),
        health: None,
        connection_auth: Default::default(),
        budget: Budget::default(),
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let forward = Forward {
        upstream: Arc::new(upstream),
        path: "/me".into(),
        cookies: cookies.map(names),
        headers: (headers.iter())
            .map(|name| HeaderName::from_static(name))
            .collect(),
        user: "id".into(),
        tenant: None,
        roles: None,
        cache: Duration::ZERO,
        recheck: Duration::ZERO,
        stale_if_error: Duration::ZERO,
    };
    auth("session", AuthKind::Forward(forward), from)
}

/// Lines `name: value`; the bytes of a value are those of Latin-1.
fn headers(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        let value: Vec<u8> = value.chars().map(|c| u8::try_from(c).unwrap()).collect();
        let name = name.parse::<HeaderName>().unwrap();
        headers.append(name, HeaderValue::from_bytes(&value).unwrap());
    }
    headers
}

/// A credential as a test reads it: where it stood, and what it is.
fn seen(found: &Found) -> String {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let credential = match &found.credential {
        Credential::Token(token) => token.clone(),
        Credential::Ticket(ticket) => format!("ticket {ticket}"),
        Credential::Inputs(inputs) => {
            let fields = inputs.fields.iter();
            let fields = fields.map(|(name, value)| format!("{name}: {}", text(value)));
            let cookie = inputs.cookie.iter();
            let cookie = cookie.map(|cookie| format!("cookie: {}", text(cookie)));
            cookie.chain(fields).collect::<Vec<_>>().join(" | ")
        }
    };
    format!("{} {:?} {credential}", found.auth.name, found.place)
}

fn look_in(auths: &[Arc<Auth>], lines: &[&str], extras: &Extras) -> String {
    match find(auths, &headers(lines), extras) {
        Ok(Some(found)) => seen(&found),
        Ok(None) => "none".into(),
        Err(denied) => denied.detail().into_owned(),
    }
}

fn look_at(auth: &Arc<Auth>, lines: &[&str]) -> String {
    look_in(std::slice::from_ref(auth), lines, &Extras::default())
}

/// A credential in every place.
fn everywhere() -> Extras {
    Extras {
        subprotocol: Some("of-subprotocol".into()),
        message: Some("of-message".into()),
        query: vec![("token".into(), "of-query".into())],
        ticket: Some("of-ticket".into()),
    }
}

const LINES: [&str; 2] = ["authorization: Bearer of-header", "cookie: token=of-cookie"];

#[test]
fn the_first_place_that_holds_one_decides() {
    let places = [
        (From::Header, "jwt Header of-header"),
        (From::Cookie("token".into()), "jwt Cookie of-cookie"),
        (From::Subprotocol, "jwt Subprotocol of-subprotocol"),
        (From::Message, "jwt Message of-message"),
        (From::Query("token".into()), "jwt Query of-query"),
        (From::Ticket, "jwt Ticket ticket of-ticket"),
    ];
    for first in 0..places.len() {
        let mut order: Vec<From> = places.iter().map(|(place, _)| place.clone()).collect();
        order.rotate_left(first);
        let found = look_in(&[jwt(&order)], &LINES, &everywhere());
        assert_eq!(found, places[first].1);
        // Where that is empty, the next.
        let found = look_in(&[jwt(&order)], &LINES[..0], &Extras::default());
        assert_eq!(found, "none");
    }
    let order = [From::Subprotocol, From::Query("token".into()), From::Header];
    let found = look_in(&[jwt(&order)], &LINES, &Extras::default());
    assert_eq!(found, "jwt Header of-header");
    assert_eq!(look_in(&[], &LINES, &everywhere()), "none");
    assert_eq!(look_in(&[jwt(&[])], &LINES, &everywhere()), "none");
}

#[test]
fn the_first_policy_that_finds_one_decides() {
    let session = forward(&[], Some(&["session"]), &[]);
    let both = [jwt(&[From::Header]), session.clone()];
    let nothing = Extras::default();
    let found = |auths: &[Arc<Auth>], lines: &[&str]| look_in(auths, lines, &nothing);
    let lines = ["authorization: Bearer t", "cookie: session=s"];
    assert_eq!(found(&both, &lines), "jwt Header t");
    assert_eq!(
        found(&both, &lines[1..]),
        "session Cookie cookie: session=s"
    );
    let other_way = [session, jwt(&[From::Header])];
    assert_eq!(
        found(&other_way, &lines),
        "session Cookie cookie: session=s"
    );
    assert_eq!(found(&other_way, &lines[..1]), "jwt Header t");
    // One that is broken is not passed over for the next.
    let broken = ["authorization: Bearer", "cookie: session=s"];
    assert_eq!(
        found(&both, &broken),
        "Authorization holds no token behind Bearer"
    );
}

#[test]
fn authorization_is_one_line_with_one_token() {
    let policy = jwt(&[From::Header]);
    let no_token = "Authorization holds no token behind Bearer";
    for (line, expected) in [
        ("Bearer t", "jwt Header t"),
        ("bearer t", "jwt Header t"),
        ("BEARER   t", "jwt Header t"),
        ("Bearer", no_token),
        ("Bearer ", no_token),
        ("Bearer a b", no_token),
        ("Bearer a,b", no_token),
        ("Bearer a, Bearer b", no_token),
        ("Bearer a\tb", no_token),
        ("Bearer \ta", no_token),
        ("Basic YTpi", "none"),
        ("BearerX t", "none"),
        ("Token t", "none"),
        ("t", "none"),
        ("", "none"),
        ("Bearer é", "a credential holds bytes beyond ASCII"),
    ] {
        let line = format!("authorization: {line}");
        assert_eq!(look_at(&policy, &[&line]), expected, "{line}");
    }
    let twice = "authorization is there more than once";
    let same = ["authorization: Bearer t"; 2];
    assert_eq!(look_at(&policy, &same), twice);
    let basic_first = ["authorization: Basic YTpi", "authorization: Bearer t"];
    assert_eq!(look_at(&policy, &basic_first), twice);
    let policy = jwt(&[From::Header, From::Cookie("token".into())]);
    let beside = ["authorization: Basic YTpi", "cookie: token=t"];
    assert_eq!(
        look_at(&policy, &beside),
        "jwt Cookie t",
        "Basic belongs to another scheme"
    );
}

#[test]
fn an_api_key_comes_by_its_own_header_or_as_a_token() {
    let policy = keys(&[From::Header]);
    for (lines, expected) in [
        (&["x-api-key: cfk_a_b"][..], "keys Header cfk_a_b"),
        (&["authorization: Bearer cfk_a_b"], "keys Header cfk_a_b"),
        (
            &["authorization: Bearer t", "x-api-key: cfk_a_b"],
            "keys Header cfk_a_b",
        ),
        (
            &["x-api-key: cfk_a_b", "x-api-key: cfk_a_b"],
            "x-api-key is there more than once",
        ),
        (&["x-api-key: é"], "a credential holds bytes beyond ASCII"),
        (&["x-api-key: "], "the token is empty"),
        (&["authorization: Basic YTpi"], "none"),
        (&["x_api_key: cfk_a_b"], "none"),
    ] {
        assert_eq!(look_at(&policy, lines), expected, "{lines:?}");
    }
    // A token's policy does not look there.
    assert_eq!(
        look_at(&jwt(&[From::Header]), &["x-api-key: cfk_a_b"]),
        "none"
    );
}

#[test]
fn a_cookie_counts_once() {
    let policy = jwt(&[From::Cookie("token".into())]);
    let twice = "a cookie is there twice with different values";
    for (lines, expected) in [
        (&["cookie: a=1; token=t; b=2"][..], "jwt Cookie t"),
        (&["cookie: a=1", "cookie: token=t"], "jwt Cookie t"),
        (&["cookie: token=t; token=t"], "jwt Cookie t"),
        (&["cookie: token=t; token=u"], twice),
        (&["cookie: token=t", "cookie: token=u"], twice),
        (&["cookie: token=t; token="], twice),
        // A backend that takes spaces for nothing sees two, and so does one that reads Latin-1.
        (&["cookie: token =u; token=t"], twice),
        (&["cookie: token=t; é=1; token=u"], twice),
        (&["cookie: token=t", "cookie: token=u; é=1"], twice),
        (&["cookie: é=1; token=t"], "jwt Cookie t"),
        (
            &["cookie: token=é"],
            "a credential holds bytes beyond ASCII",
        ),
        (&["cookie: token=a=b"], "jwt Cookie a=b"),
        (&["cookie: token="], "none"),
        (&["cookie: token"], "none"),
        (&["cookie: Token=t"], "none"),
        (&["cookie: xtoken=t; token2=t"], "none"),
        (&["cookie: =token=t"], "none"),
        (&["cookie: ;;; ;"], "none"),
        (&[], "none"),
    ] {
        assert_eq!(look_at(&policy, lines), expected, "{lines:?}");
    }
    let long = format!("cookie: token={}", "t".repeat(LONGEST_TOKEN + 1));
    assert_eq!(look_at(&policy, &[&long]), "the token is longer than 8 KiB");
}

#[test]
fn our_own_cookies_admit_no_user() {
    let own = ["cookie: crossfade_unit=x; a=1"];
    let policy = jwt(&[From::Cookie("crossfade_unit".into())]);
    assert_eq!(look_at(&policy, &own), "none");
    let policy = forward(&[], None, &[]);
    assert_eq!(look_at(&policy, &own), "session Cookie cookie: a=1");
    assert_eq!(look_at(&policy, &["cookie: crossfade_unit=x"]), "none");
    let policy = forward(&[], Some(&["crossfade_unit"]), &[]);
    assert_eq!(look_at(&policy, &own), "none");
}

#[test]
fn a_parameter_counts_once_as_it_was_decoded() {
    let policy = [jwt(&[From::Query("token".into())])];
    let query = |pairs: &[(&str, &str)]| {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let extras = Extras {
            query: pairs.iter().map(pair).collect(),
            ..Extras::default()
        };
        look_in(&policy, &[], &extras)
    };
    assert_eq!(
        query(&[("other", "o"), ("token", "a b%20")]),
        "jwt Query a b%20"
    );
    assert_eq!(query(&[("token", "")]), "none");
    assert_eq!(query(&[("Token", "t")]), "none");
    let twice = "a query parameter with a token is there twice";
    assert_eq!(query(&[("token", "t"), ("token", "t")]), twice);
    assert_eq!(query(&[("token", ""), ("token", "t")]), twice);
}

#[test]
fn a_message_is_waited_for_only_where_one_counts() {
    let (with, without) = (jwt(&[From::Header, From::Message]), keys(&[From::Header]));
    assert!(awaits_message(&[without.clone(), with]));
    assert!(!awaits_message(&[without]));
    assert!(!awaits_message(&[]));
}

#[test]
fn credentials_that_differ_anywhere_have_another_digest() {
    let inputs = |cookie: Option<&'static str>, fields: &[(&'static str, &'static str)]| {
        Credential::Inputs(Inputs {
            cookie: cookie.map(HeaderValue::from_static),
            fields: (fields.iter())
                .map(|(name, value)| {
                    let name = HeaderName::from_static(name);
                    (name, HeaderValue::from_static(value))
                })
                .collect(),
        })
    };
    let all = [
        Credential::Token("t".into()),
        Credential::Token("u".into()),
        Credential::Token("ticket".into()),
        Credential::Ticket("t".into()),
        Credential::Ticket("u".into()),
        inputs(Some("t"), &[]),
        inputs(Some("a=1"), &[]),
        inputs(Some("a=1"), &[("authorization", "b")]),
        inputs(None, &[("authorization", "b")]),
        inputs(None, &[("authorization", "a=1b")]),
        inputs(None, &[("x-a", "b"), ("x-c", "d")]),
        inputs(None, &[("x-a", "d"), ("x-c", "b")]),
    ];
    for (at, one) in all.iter().enumerate() {
        for (other_at, other) in all.iter().enumerate() {
            assert_eq!(
                one.digest() == other.digest(),
                at == other_at,
                "{at} {other_at}"
            );
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_found_or_refused(
        authorization in proptest::collection::vec(32u8..=255, 0..40),
        cookie in "[a-z=; \"]{0,60}",
        query in "\\PC{0,20}",
    ) {
        let mut headers = HeaderMap::new();
        for (name, bytes) in [(AUTHORIZATION, &authorization[..]), (COOKIE, cookie.as_bytes())] {
            if let Ok(value) = HeaderValue::from_bytes(bytes) {
                headers.append(name, value);
            }
        }
        let extras = Extras { query: vec![("token".into(), query)], ..Extras::default() };
        let from = [From::Header, From::Cookie("a".into()), From::Query("token".into())];
        for auth in [jwt(&from), keys(&from), forward(&from, Some(&["a"]), &["authorization"])] {
            let _ = find(&[auth], &headers, &extras);
        }
    }
}
