use super::*;
use hyper::header::HeaderName;

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let parse = |(name, value): &(&str, &str)| {
        let name: HeaderName = name.parse().unwrap();
        (name, HeaderValue::from_str(value).unwrap())
    };
    lines.iter().map(parse).collect()
}

fn verdict(status: u16, lines: &[(&str, &str)], accepted: Option<&[Tripwire]>) -> AnswerVerdict {
    let status = StatusCode::from_u16(status).unwrap();
    judge(status, &headers(lines), accepted, SystemTime::UNIX_EPOCH)
}

#[test]
fn a_refusal_ends_and_a_failure_may_pass() {
    let refused = |code, status| {
        AnswerVerdict::Refused(End {
            code,
            status,
            retry_ms: None,
            is_final: false,
        })
    };
    for (status, expected) in [
        (200, AnswerVerdict::Good),
        (304, AnswerVerdict::Good),
        (401, refused(Code::Unauthorized, 401)),
        (302, refused(Code::Unauthorized, 401)),
        (303, refused(Code::Unauthorized, 401)),
        (403, refused(Code::Forbidden, 403)),
        (404, refused(Code::NotFound, 404)),
        (410, refused(Code::NotFound, 410)),
        (301, AnswerVerdict::Failed(AnswerFailure::new(INVALID))),
        (308, AnswerVerdict::Failed(AnswerFailure::new(INVALID))),
        (429, AnswerVerdict::Failed(AnswerFailure::new(DOWN))),
        (500, AnswerVerdict::Failed(AnswerFailure::new(DOWN))),
    ] {
        assert_eq!(verdict(status, &[], None), expected, "{status}");
    }
}

#[test]
fn retry_after_is_seconds_or_a_date_and_capped() {
    let pause = |status, text| match verdict(status, &[("retry-after", text)], None) {
        AnswerVerdict::Failed(failure) => failure.retry_after.map(|pause| pause.as_secs()),
        other => panic!("{other:?}"),
    };
    assert_eq!(pause(503, "7"), Some(7));
    assert_eq!(pause(429, "0"), Some(0));
    assert_eq!(pause(503, "301"), Some(300));
    assert_eq!(pause(503, "99999999999999999999999"), Some(300));
    assert_eq!(pause(503, "Thu, 01 Jan 1970 00:00:42 GMT"), Some(42));
    assert_eq!(pause(503, "soon"), None);
    assert_eq!(pause(503, "-1"), None);
    assert_eq!(pause(503, ""), None);
    assert_eq!(pause(500, "7"), None);
}

#[test]
fn tripwires_hold_for_shared_topics_only() {
    type Line = (&'static str, &'static str);
    let tripped = |wire| {
        let end = End {
            retry_ms: Some(60_000),
            ..ended(Code::Internal, 500)
        };
        AnswerVerdict::Tripped(Trip::Wires(wire, Vec::new()), end)
    };
    let private: &[(&[Line], Tripwire)] = &[
        (&[("set-cookie", "a=b")], Tripwire::SetCookie),
        (
            &[("cache-control", "max-age=0, No-Store")],
            Tripwire::NoStore,
        ),
        (
            &[("cache-control", "no-cache"), ("cache-control", "private")],
            Tripwire::Private,
        ),
        (&[("cache-control", "private=\"x-a\"")], Tripwire::Private),
        (&[("vary", "Accept-Encoding, Cookie")], Tripwire::Vary),
        (&[("vary", "authorization")], Tripwire::Vary),
        (&[("vary", "*")], Tripwire::Vary),
    ];
    for (lines, wire) in private {
        for status in [200, 304] {
            assert_eq!(
                verdict(status, lines, Some(&[])),
                tripped(*wire),
                "{lines:?}"
            );
            assert_eq!(verdict(status, lines, Some(&[*wire])), AnswerVerdict::Good);
            assert_eq!(verdict(status, lines, None), AnswerVerdict::Good);
        }
        assert!(matches!(
            verdict(500, lines, Some(&[])),
            AnswerVerdict::Failed(_)
        ));
    }
    for status in [401, 403] {
        let trip = Trip::Refusal(StatusCode::from_u16(status).unwrap());
        let tripped = AnswerVerdict::Tripped(trip, ended(Code::Forbidden, status));
        assert_eq!(verdict(status, private[0].0, Some(&[])), tripped);
    }
    let harmless = [
        ("vary", "accept, origin"),
        ("cache-control", "no-cache, must-revalidate, x-private"),
    ];
    assert_eq!(verdict(200, &harmless, Some(&[])), AnswerVerdict::Good);
}

#[test]
fn a_fix_is_what_the_route_can_follow() {
    let fix = |trip: &Trip, keys: &str| {
        let text = format!(
            "[upstream.app]\nservers = [\"http://127.0.0.1:9\"]\n[[route]]\npath = \"/feed\"\nupstream = \"app\"\n\
             source = \"sse\"\n{keys}\n[auth.a]\nkind = \"forward\"\nupstream = \"app\"\npath = \"/me\"\nuser = \"u\"\n"
        );
        let none = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        let parse = |text: &str| crate::config::parse(text, "proxy.toml", &|_| None, &none);
        let loaded = parse(&text).unwrap();
        let fix = trip.fix(&loaded.config.routes[0]);
        // Each share that it names is valid in this route.
        let shares = fix.split('`').filter(|part| part.starts_with("share = "));
        assert!(shares.clone().count() > 0, "{fix}");
        let (before, after) = text.split_once("share = ").unwrap();
        let (_, after) = after.split_once('\n').unwrap();
        for share in shares {
            let changed = parse(&format!("{before}{share}\n{after}"));
            assert!(changed.is_ok(), "{share}: {changed:?}");
        }
        fix
    };
    let refusal = Trip::Refusal(StatusCode::UNAUTHORIZED);
    let wires = Trip::Wires(Tripwire::SetCookie, vec![Tripwire::Vary]);
    let auth = "auth = \"a\"";
    assert!(!fix(&refusal, "share = \"public\"").contains("authenticated"));
    let public = format!("share = \"public\"\n{auth}");
    assert!(fix(&refusal, &public).contains("`share = \"authenticated\"`"));
    let pool = format!("share = \"authenticated\"\n{auth}");
    assert!(fix(&refusal, &pool).contains("`require`"));
    for (keys, expected) in [
        (
            "share = {public = true, accept = [\"private\"]}".to_owned(),
            "{public = true, accept = [\"private\", \"set-cookie\", \"vary\"]}",
        ),
        (
            pool,
            "{authenticated = true, accept = [\"set-cookie\", \"vary\"]}",
        ),
        (
            format!("share = {{claims = [\"u\", \"/a/b\"]}}\n{auth}"),
            "{claims = [\"u\", \"/a/b\"], accept = [\"set-cookie\", \"vary\"]}",
        ),
    ] {
        let fix = fix(&wires, &keys);
        assert!(fix.contains(&format!("`share = {expected}`")), "{fix}");
    }
}

#[test]
fn a_type_is_read_without_its_parameters() {
    let is_stream = |lines: &[(&str, &str)]| {
        has_type(&headers(lines), |essence| essence == "text/event-stream")
    };
    assert!(is_stream(&[(
        "content-type",
        "Text/Event-Stream ; charset=utf-8"
    )]));
    assert!(!is_stream(&[("content-type", "text/html")]));
    assert!(!is_stream(&[]));
    // What could be decoded has lost the field by now.
    assert!(!is_stream(&[
        ("content-type", "text/event-stream"),
        ("content-encoding", "zstd"),
    ]));
}

#[test]
fn what_came_is_described_without_a_query() {
    let described = |status, lines: &[(&str, &str)]| {
        described(StatusCode::from_u16(status).unwrap(), &headers(lines))
    };
    let html = ("content-type", "text/html; charset=utf-8");
    assert_eq!(described(200, &[html]), "200 with text/html; charset=utf-8");
    assert_eq!(described(200, &[]), "200 without a content type");
    assert_eq!(
        described(200, &[html, ("content-encoding", "zstd")]),
        "200 with content encoded as zstd"
    );
    assert_eq!(described(500, &[html]), "500");
    for (location, path) in [
        ("/new?token=secret", "/new"),
        ("https://other.example/new/?token=secret#a", "/new/"),
        ("../new?token=secret", "../new"),
        ("//other.example/new?token=secret", "//other.example/new"),
        ("https://user:pass@host?token=secret", "/"),
    ] {
        let told = described(308, &[html, ("location", location)]);
        assert!(told.starts_with(&format!("308 to {path}:")), "{told}");
    }
    let long = "x".repeat(1000);
    assert_eq!(
        described(200, &[("content-type", &long)]).len(),
        LONGEST_TOLD
    );
}

#[test]
fn max_age_is_found_among_directives() {
    let age = |text| max_age(&headers(&[("cache-control", text)]));
    assert_eq!(age("public, Max-Age=5"), Some(Duration::from_secs(5)));
    assert_eq!(age("s-maxage=5"), None);
    assert_eq!(age("max-age=x"), None);
}
