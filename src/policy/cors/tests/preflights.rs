use super::*;

const VARY: (&str, &str) = (
    "vary",
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
);

/// What a question of `APP` is answered with, whatever it asks for.
fn grant() -> Vec<(String, String)> {
    pairs(&[
        ("access-control-allow-credentials", "true"),
        (
            "access-control-allow-headers",
            "authorization, content-type, x-csrftoken",
        ),
        ("access-control-allow-methods", "GET, POST, PUT, DELETE"),
        ("access-control-allow-origin", APP),
        ("access-control-max-age", "600"),
        VARY,
    ])
}

fn none() -> Vec<(String, String)> {
    pairs(&[VARY])
}

/// A preflight of these origins, for this method, with these headers asked for.
fn answered(row: u8, cors: &Cors, request: &[(&'static str, &str)]) -> HeaderMap {
    let outcome = ask(Some(cors), &Method::OPTIONS, request, &[]);
    let Outcome::Preflight(headers) = outcome else {
        panic!("row {row}: {request:?} became {outcome:?}");
    };
    headers
}

fn question<'a>(origin: &'a str, method: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![
        ("origin", origin),
        ("access-control-request-method", method),
    ]
}

#[test]
fn rows_40_to_56_preflight_answer_lists_config_not_request() {
    let long = "x-a,".repeat(2560);
    let just_fits = "x-a,".repeat(1024);
    for (row, origin, method, headers, is_granted) in [
        (40, APP, "GET", None, true),
        (41, APP, "PUT", Some("authorization,content-type"), true),
        (42, APP, "PUT", Some(" Authorization ,  CONTENT-TYPE"), true),
        (43, APP, "PUT", Some("x-evil"), true),
        (44, APP, "TRACE", None, true),
        (45, APP, "patch", None, true),
        (46, EVIL, "PUT", Some("authorization"), false),
        (47, "null", "PUT", None, false),
        (47, "", "PUT", None, false),
        (48, APP, "DELETE", None, true),
        (
            54,
            APP,
            "PUT",
            Some("\tauthorization,, ,\t, content-type\t,"),
            true,
        ),
        (54, APP, "PUT", Some(""), true),
        (55, APP, "PUT", Some(&*long), false),
        (55, APP, "PUT", Some(&*just_fits), true),
        (55, APP, "PUT", Some("authorization, x evil"), false),
        (55, APP, "PUT", Some("authorization; x-evil"), false),
        (55, APP, "PUT", Some("x-\u{e4}"), false),
        (45, APP, "", None, false),
        (45, APP, "PUT, DELETE", None, false),
    ] {
        let mut request = question(origin, method);
        request.extend(headers.map(|headers| ("access-control-request-headers", headers)));
        let answer = answered(row, &policy(), &request);
        let expected = if is_granted { grant() } else { none() };
        assert_eq!(
            cors_of(&answer),
            expected,
            "row {row}: {method} {headers:?}"
        );
        // Rows 49 and 50: neither a cookie nor a body, and nothing to read.
        assert_eq!(answer.len(), expected.len(), "rows 49, 50: {answer:?}");
    }
}

#[test]
fn row_46_lookalikes_are_granted_nothing() {
    for &(row, origin) in LOOKALIKES {
        let answer = answered(row, &policy(), &question(origin, "PUT"));
        assert_eq!(cors_of(&answer), none(), "row {row}: {origin}");
    }
    let own = answered(28, &policy(), &question("http://api.example.net", "PUT"));
    assert_eq!(
        cors_of(&own),
        none(),
        "row 28: no browser asks that of its own"
    );
}

#[test]
fn row_53_two_origins_are_refused_before_they_ask() {
    let request = [
        ("origin", APP),
        ("origin", APP),
        ("access-control-request-method", "PUT"),
    ];
    let outcome = ask(Some(&policy()), &Method::OPTIONS, &request, &[]);
    let Outcome::Refused(OriginRefused::Several, headers) = outcome else {
        panic!("row 53: {outcome:?}");
    };
    assert_eq!(cors_of(&headers), pairs(&[("vary", "Origin")]), "row 53");
}

#[test]
fn row_55_the_bound_counts_all_lines_together() {
    let line = "x-a,".repeat(600);
    let mut request = question(APP, "PUT");
    request.extend([("access-control-request-headers", &*line); 2]);
    let answer = answered(55, &policy(), &request);
    assert_eq!(cors_of(&answer), none(), "row 55");
}

#[test]
fn row_56_a_private_or_local_network_is_not_granted() {
    for name in [
        "access-control-request-private-network",
        "access-control-request-local-network",
    ] {
        let mut request = question(APP, "GET");
        request.push((name, "true"));
        let answer = answered(56, &policy(), &request);
        assert_eq!(cors_of(&answer), grant(), "row 56: {name}");
    }
}

#[test]
fn row_57_star_stands_as_wildcard_beside_authorization() {
    let answer = answered(57, &anybody(), &question(EVIL, "PUT"));
    let starred = pairs(&[
        ("access-control-allow-headers", "*, authorization"),
        ("access-control-allow-methods", "GET, POST, PUT, DELETE"),
        ("access-control-allow-origin", "*"),
        ("access-control-max-age", "600"),
        VARY,
    ]);
    assert_eq!(cors_of(&answer), starred, "row 57");

    let literal = Cors {
        headers: vec!["*".into(), "content-type".into()],
        methods: vec![Method::from_bytes(b"*").expect("a token")],
        ..policy()
    };
    let answer = answered(57, &literal, &question(APP, "PUT"));
    assert_eq!(answer["access-control-allow-headers"], "content-type");
    assert!(
        !answer.contains_key("access-control-allow-methods"),
        "{answer:?}"
    );
}

#[test]
fn preflight_is_judged_by_the_route_of_its_method() {
    let options = Method::OPTIONS;
    let asked = |method: &Method, request: &[(&'static str, &str)]| {
        preflight_method(method, &fields(request))
    };
    assert_eq!(asked(&options, &question(APP, "PUT")), Some(Method::PUT));
    assert_eq!(asked(&options, &question("null", "GET")), Some(Method::GET));
    let patch = asked(&options, &question(APP, "patch"));
    assert_ne!(patch, Some(Method::PATCH));
    assert_eq!(patch.as_ref().map(Method::as_str), Some("patch"));
    assert_eq!(asked(&options, &question(APP, "PUT, GET")), None);
    assert_eq!(asked(&options, &[("origin", APP)]), None);
    assert_eq!(asked(&options, &question(APP, "PUT")[1..]), None);
    assert_eq!(asked(&Method::GET, &question(APP, "PUT")), None);
}
