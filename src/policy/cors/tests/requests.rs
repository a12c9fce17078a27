use proptest::prelude::*;

use super::*;

/// A backend that has a mind of its own about CORS.
const BACKEND: &[(&str, &str)] = &[
    ("access-control-allow-origin", "*"),
    ("access-control-allow-origin", "https://evil.test"),
    ("access-control-allow-credentials", "true"),
    ("access-control-expose-headers", "x-secret"),
    ("access-control-allow-private-network", "true"),
    ("access-control-of-the-future", "1"),
    ("set-cookie", "a=1"),
    ("set-cookie", "b=2"),
    ("timing-allow-origin", "*"),
    ("cross-origin-resource-policy", "cross-origin"),
    ("content-type", "text/plain"),
];

/// Row 2: what an allowed origin gets, beside `Vary`.
fn granted(origin: &str) -> Vec<(String, String)> {
    pairs(&[
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-origin", origin),
        ("access-control-expose-headers", "etag, x-request-id"),
        ("vary", "Origin"),
    ])
}

/// "none": no `Access-Control-*` at all.
fn none() -> Vec<(String, String)> {
    pairs(&[("vary", "Origin")])
}

enum Then {
    Granted(&'static str),
    None,
    /// 403, and the backend sees nothing.
    Refused(OriginRefused),
}
use OriginRefused::{Foreign, Malformed, Several};
use Then::{Granted, None as Nothing};

fn check(row: u8, method: &Method, origins: &[&str], then: &Then) {
    let request: Vec<_> = origins.iter().map(|origin| ("origin", *origin)).collect();
    for cookie in [&[][..], &[("cookie", "session=1")]] {
        let request = [&request, cookie].concat();
        let outcome = ask(Some(&policy()), method, &request, BACKEND);
        match (&outcome, then) {
            (Outcome::Passed(headers), Granted(origin)) => {
                assert_eq!(cors_of(headers), granted(origin), "row {row}: {origins:?}");
            }
            (Outcome::Passed(headers), Nothing) => {
                assert_eq!(cors_of(headers), none(), "row {row}: {origins:?}");
            }
            (Outcome::Refused(why, headers), Then::Refused(expected)) => {
                assert_eq!(why, expected, "row {row}: {origins:?}");
                assert_eq!(cors_of(headers), none(), "row {row}: {origins:?}");
            }
            _ => panic!("row {row}: {method} from {origins:?} became {outcome:?}"),
        }
    }
}

#[test]
fn rows_1_to_28_and_35_which_pages_may_read_and_act() {
    let own = "http://api.example.net";
    for (row, method, origins, then) in [
        (1, Method::GET, &[][..], Nothing),
        (1, Method::POST, &[], Nothing),
        (2, Method::GET, &[APP], Granted(APP)),
        (
            3,
            Method::GET,
            &["https://x.stage.example.com"],
            Granted("https://x.stage.example.com"),
        ),
        (
            4,
            Method::GET,
            &["http://localhost:3000"],
            Granted("http://localhost:3000"),
        ),
        (5, Method::GET, &[EVIL], Nothing),
        (6, Method::POST, &[EVIL], Then::Refused(Foreign)),
        (6, Method::PUT, &[EVIL], Then::Refused(Foreign)),
        (6, Method::PATCH, &[EVIL], Then::Refused(Foreign)),
        (6, Method::DELETE, &[EVIL], Then::Refused(Foreign)),
        (7, Method::POST, &[APP], Granted(APP)),
        (8, Method::GET, &["null"], Nothing),
        (9, Method::POST, &["null"], Then::Refused(Malformed)),
        (26, Method::GET, &[APP, APP], Then::Refused(Several)),
        (26, Method::POST, &[APP, EVIL], Then::Refused(Several)),
        (26, Method::HEAD, &[EVIL, "null"], Then::Refused(Several)),
        (27, Method::GET, &[""], Nothing),
        (27, Method::POST, &[""], Then::Refused(Malformed)),
        (28, Method::GET, &[own], Nothing),
        (28, Method::POST, &[own], Nothing),
        (28, Method::DELETE, &["https://api.example.net"], Nothing),
        (35, Method::HEAD, &[], Nothing),
        (35, Method::HEAD, &[APP], Granted(APP)),
        (35, Method::HEAD, &[EVIL], Nothing),
    ] {
        check(row, &method, origins, &then);
    }
}

#[test]
fn an_unknown_method_may_have_an_effect() {
    for unknown in ["get", "PROPFIND", "FETCH"] {
        let method = Method::from_bytes(unknown.as_bytes()).expect("a method");
        check(6, &method, &[EVIL], &Then::Refused(Foreign));
    }
}

#[test]
fn rows_10_to_25_lookalikes_read_nothing_and_cause_nothing() {
    for &(row, origin) in LOOKALIKES {
        check(row, &Method::GET, &[origin], &Nothing);
        let post = ask(Some(&policy()), &Method::POST, &[("origin", origin)], &[]);
        assert!(
            matches!(post, Outcome::Refused(..)),
            "row {row}: {origin}: {post:?}"
        );
    }
}

#[test]
fn rows_29_to_33_answers_get_cors_headers_and_keep_the_rest() {
    for (row, answer) in [
        (29, &[("etag", "\"1\"")][..]),
        (30, &[("location", "/login")]),
        (31, BACKEND),
        (32, &[("content-type", "application/problem+json")]),
        (32, &[("www-authenticate", "Bearer")]),
        (32, &[("retry-after", "5")]),
    ] {
        let request = [("origin", APP)];
        let Outcome::Passed(headers) = ask(Some(&policy()), &Method::GET, &request, answer) else {
            panic!("row {row}");
        };
        assert_eq!(cors_of(&headers), granted(APP), "row {row}");
        let rest = |headers: &HeaderMap| -> HeaderMap {
            headers
                .iter()
                .filter(|(name, _)| !name.as_str().starts_with("access-control-"))
                .filter(|(name, _)| *name != "vary")
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        };
        assert_eq!(rest(&headers), rest(&fields(answer)), "row 33, {row}");
    }
}

#[test]
fn row_34_vary_is_merged_into_one_line() {
    for (present, merged) in [
        (&[][..], "Origin"),
        (&["Accept-Encoding"], "Accept-Encoding, Origin"),
        (
            &["Accept-Encoding", "Cookie"],
            "Accept-Encoding, Cookie, Origin",
        ),
        (&["accept-encoding,\torigin "], "accept-encoding,\torigin "),
        (&["ORIGIN"], "ORIGIN"),
        (&["X-Origin"], "X-Origin, Origin"),
        (&[""], "Origin"),
        (&["*"], "*"),
        (&["Accept, *"], "Accept, *"),
    ] {
        for origin in [&[][..], &[("origin", APP)], &[("origin", EVIL)]] {
            let answer: Vec<_> = present.iter().map(|line| ("vary", *line)).collect();
            let outcome = ask(Some(&policy()), &Method::GET, origin, &answer);
            let Outcome::Passed(headers) = outcome else {
                panic!("row 34: {outcome:?}");
            };
            let lines: Vec<_> = headers.get_all("vary").iter().collect();
            assert_eq!(lines, [merged], "row 34: {present:?}, {origin:?}");
        }
    }
}

#[test]
fn rows_51_and_52_options_without_method_is_a_plain_request() {
    for (row, origins, then) in [
        (51, &[APP][..], Granted(APP)),
        (51, &[EVIL], Nothing),
        (51, &["null"], Nothing),
        (52, &[], Nothing),
    ] {
        check(row, &Method::OPTIONS, origins, &then);
    }
    let request = [("access-control-request-method", "PUT")];
    let outcome = ask(Some(&policy()), &Method::OPTIONS, &request, &[]);
    assert!(matches!(outcome, Outcome::Passed(_)), "row 52: {outcome:?}");
}

#[test]
fn row_57_star_is_without_cookies_never_beside_credentials() {
    let starred = Cors {
        expose: vec!["*".into()],
        ..anybody()
    };
    let alone = pairs(&[
        ("access-control-allow-origin", "*"),
        ("access-control-expose-headers", "*"),
    ]);
    let session = ("cookie", "session=1");
    for origin in [EVIL, "null", APP] {
        for method in [Method::GET, Method::POST] {
            let outcome = ask(Some(&starred), &method, &[("origin", origin)], BACKEND);
            let Outcome::Passed(headers) = outcome else {
                panic!("row 57: {method} from {origin}: {outcome:?}");
            };
            assert_eq!(cors_of(&headers), alone, "row 57: {origin}");
        }
        let with_cookie = [("origin", origin), session];
        let outcome = ask(Some(&starred), &Method::GET, &with_cookie, BACKEND);
        let Outcome::Passed(headers) = outcome else {
            panic!("row 57: {outcome:?}");
        };
        let neither = pairs(&[("vary", "Origin, Cookie")]);
        assert_eq!(cors_of(&headers), neither, "row 57: {origin}");
        let outcome = ask(Some(&starred), &Method::POST, &with_cookie, &[]);
        assert!(
            matches!(outcome, Outcome::Refused(..)),
            "row 57: {outcome:?}"
        );
    }
    let own = [("origin", "http://api.example.net"), session];
    let outcome = ask(Some(&starred), &Method::POST, &own, &[]);
    assert!(matches!(outcome, Outcome::Passed(_)), "row 57: {outcome:?}");

    let literal = Cors {
        expose: vec!["*".into(), "etag".into()],
        ..policy()
    };
    let outcome = ask(Some(&literal), &Method::GET, &[("origin", APP)], &[]);
    let Outcome::Passed(headers) = outcome else {
        panic!("row 57: {outcome:?}");
    };
    assert_eq!(headers["access-control-expose-headers"], "etag", "row 57");
}

#[test]
fn listed_origin_without_credentials_is_named() {
    let cors = Cors {
        credentials: false,
        expose: Vec::new(),
        ..policy()
    };
    let outcome = ask(Some(&cors), &Method::POST, &[("origin", APP)], BACKEND);
    let Outcome::Passed(headers) = outcome else {
        panic!("{outcome:?}");
    };
    let named = pairs(&[("access-control-allow-origin", APP), ("vary", "Origin")]);
    assert_eq!(cors_of(&headers), named);
}

#[test]
fn public_url_is_own_origin_and_listed_own_origin_is_granted() {
    let page = "https://app.example.org";
    let public = Some("https://app.example.org/base");
    let headers = fields(&[("origin", page)]);
    let ruled = |public_url, cors: &Cors| {
        rule(&Method::POST, &headers, &host(HOST), public_url, Some(cors))
    };
    assert!(ruled(public, &policy()).is_ok());
    assert!(ruled(None, &policy()).is_err());

    let listed = Cors {
        origins: vec![OriginPattern::Exact {
            scheme: "http".into(),
            host: HOST.into(),
            port: 80,
        }],
        ..policy()
    };
    let own = "http://api.example.net";
    let outcome = ask(Some(&listed), &Method::GET, &[("origin", own)], &[]);
    let Outcome::Passed(headers) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(cors_of(&headers), granted(own));
}

#[test]
fn unenforced_policy_leaves_cors_to_the_backend() {
    let mode = |mode| Cors { mode, ..policy() };
    let [passthrough, off] = [CorsMode::Passthrough, CorsMode::Off].map(mode);
    let preflight = ("access-control-request-method", "PUT");
    for cors in [None, Some(&passthrough), Some(&off)] {
        for (method, request) in [
            (Method::GET, &[][..]),
            (Method::GET, &[("origin", APP)]),
            (Method::POST, &[("origin", EVIL)]),
            (Method::POST, &[("origin", APP), ("origin", EVIL)]),
            (Method::OPTIONS, &[("origin", APP), preflight]),
        ] {
            let outcome = ask(cors, &method, request, BACKEND);
            let Outcome::Passed(headers) = outcome else {
                panic!("{method} {request:?}: {outcome:?}");
            };
            assert_eq!(headers, fields(BACKEND), "{method} {request:?}");
        }
    }
}

/// Texts that are an origin nearly.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "https",
        "http",
        "://",
        "app",
        ".",
        "example",
        "com",
        "x",
        "stage",
        "localhost",
        ":",
        "3000",
        "443",
        "@",
        "/",
        "%2e",
        "evil.test",
        "[::1]",
        "null",
        ",",
        " ",
        "\t",
        "\u{e4}",
        "-",
    ]);
    prop::collection::vec(pieces, 0..9).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn only_an_origin_of_the_list_is_granted_and_byte_by_byte(
        origin in prop_oneof![nearly(), prop::collection::vec(0x20..=0xffu8, 0..40)],
        reads in any::<bool>(),
    ) {
        let Ok(value) = HeaderValue::from_bytes(&origin) else { return Ok(()) };
        let mut headers = HeaderMap::new();
        headers.insert("origin", value.clone());
        let method = if reads { Method::GET } else { Method::POST };
        let ruled = rule(&method, &headers, &host(HOST), None, Some(&policy()));
        let text = String::from_utf8_lossy(&origin);
        let label = |text: &str| {
            let label = text.strip_prefix("https://")?.strip_suffix(".stage.example.com")?;
            Some(!label.is_empty() && !label.contains('.'))
        };
        let is_listed = [APP, "http://localhost:3000"].contains(&&*text) || label(&text) == Some(true);
        let mut answer = HeaderMap::new();
        match ruled {
            Ok(CorsDecision::Passes(marks)) => marks.put(&mut answer),
            Ok(CorsDecision::Preflight(_)) => panic!("no OPTIONS was sent"),
            Err(CorsRefused { marks, .. }) => {
                prop_assert!(!reads && !is_listed);
                marks.put(&mut answer);
            }
        }
        if let Some(granted) = answer.get("access-control-allow-origin") {
            prop_assert!(is_listed);
            prop_assert_eq!(granted, &value);
        }
    }
}
