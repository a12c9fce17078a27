use super::*;

struct Handshake<'a> {
    origins: &'a [&'a str],
    cookie: bool,
    host: &'a str,
    public_url: Option<&'a str>,
    cors: Option<Cors>,
}

impl Default for Handshake<'_> {
    fn default() -> Self {
        Handshake {
            origins: &[],
            cookie: false,
            host: HOST,
            public_url: None,
            cors: Some(policy()),
        }
    }
}

impl Handshake<'_> {
    fn judged(&self) -> Result<(), OriginRefused> {
        let mut request: Vec<_> = self.origins.iter().map(|one| ("origin", *one)).collect();
        if self.cookie {
            request.push(("cookie", "session=1"));
        }
        let headers = fields(&request);
        judge(
            &headers,
            &host(self.host),
            self.public_url,
            self.cors.as_ref(),
        )
    }
}

fn from(origin: &str) -> Result<(), OriginRefused> {
    let origins = &[origin][..];
    let with = |cookie| {
        Handshake {
            origins,
            cookie,
            ..Handshake::default()
        }
        .judged()
    };
    assert_eq!(with(true), with(false), "a cookie makes no difference here");
    with(true)
}

#[test]
fn row_60_listed_origins_are_allowed() {
    for origin in [
        "https://app.example.com",
        "https://x.stage.example.com",
        "http://localhost:3000",
    ] {
        assert_eq!(from(origin), Ok(()), "{origin}");
    }
}

#[test]
fn rows_10_to_25_lookalikes_are_refused() {
    for &(row, origin) in LOOKALIKES {
        assert!(from(origin).is_err(), "row {row}: {origin}");
    }
}

#[test]
fn rows_61_to_63_and_65_evil_and_null_are_refused() {
    for origin in [
        "https://evil.test",
        "null",
        "",
        "https://app.example.com.evil.test",
    ] {
        assert!(from(origin).is_err(), "{origin:?}");
    }
}

#[test]
fn row_64_no_origin_is_for_those_without_a_cookie() {
    let with = |cookie| {
        Handshake {
            cookie,
            ..Handshake::default()
        }
        .judged()
    };
    assert_eq!(with(true), Err(OriginRefused::Missing));
    assert_eq!(with(false), Ok(()));
}

#[test]
fn row_66_two_origins_are_refused_even_where_both_are_allowed() {
    for cors in [policy(), anybody()] {
        let handshake = Handshake {
            origins: &["https://app.example.com", "https://app.example.com"],
            cors: Some(cors),
            ..Handshake::default()
        };
        assert_eq!(handshake.judged(), Err(OriginRefused::Several));
    }
}

#[test]
fn row_67_the_own_host_is_allowed_with_and_without_a_policy() {
    let own = |origin: &str, host: &str, public_url: Option<&str>| {
        let origins = &[origin][..];
        [Some(policy()), None].map(|cors| {
            Handshake {
                origins,
                cookie: true,
                host,
                public_url,
                cors,
            }
            .judged()
            .is_ok()
        }) == [true, true]
    };
    assert!(own("http://api.example.net", "api.example.net", None));
    assert!(own("https://api.example.net", "API.example.net", None));
    assert!(own("https://api.example.net", "api.example.net:443", None));
    assert!(own("http://127.0.0.1:8080", "127.0.0.1:8080", None));
    assert!(own("http://[::1]:8080", "[::1]:8080", None));
    assert!(!own("http://127.0.0.1:8081", "127.0.0.1:8080", None));
    assert!(!own("http://api.example.net", "api.example.net:443", None));
    assert!(!own("http://localhost:8080", "127.0.0.1:8080", None));

    let public = Some("https://app.example.org/base");
    assert!(own("https://app.example.org", "10.0.0.1:8080", public));
    assert!(!own("http://app.example.org", "10.0.0.1:8080", public));
    assert!(!own(
        "https://app.example.org:8443",
        "10.0.0.1:8080",
        public
    ));
}

#[test]
fn the_star_lists_every_origin_that_sends_no_cookie() {
    let with = |origin: &str, cookie| {
        Handshake {
            origins: &[origin],
            cookie,
            cors: Some(anybody()),
            ..Handshake::default()
        }
        .judged()
        .is_ok()
    };
    assert!(with("https://evil.test", false));
    assert!(with("null", false));
    assert!(!with("", false));
    assert!(!with("https://evil.test", true));
    assert!(!with("null", true));
    assert!(
        with("http://api.example.net", true),
        "the own host still is"
    );
}

#[test]
fn row_68_handshake_is_recognized_in_any_case_and_list() {
    let request = hyper::Request::get("/stream")
        .header("host", HOST)
        .header("upgrade", "WebSocket")
        .header("connection", "keep-alive, upgrade")
        .body(());
    let (head, ()) = request.expect("a request").into_parts();
    let inspected = crate::http::validate::inspect(&head, "http").expect("in order");
    assert!(inspected.is_handshake, "row 68");
    assert_eq!(from(EVIL), Err(OriginRefused::Foreign), "row 68");
}

#[test]
fn every_mode_judges_handshakes_and_off_lists_no_origin() {
    for (mode, lets_the_listed_in) in [
        (CorsMode::Enforce, true),
        (CorsMode::Passthrough, true),
        (CorsMode::Off, false),
    ] {
        let with = |origin: &str| {
            Handshake {
                origins: &[origin],
                cors: Some(Cors { mode, ..policy() }),
                ..Handshake::default()
            }
            .judged()
            .is_ok()
        };
        assert_eq!(with(APP), lets_the_listed_in, "{mode:?}");
        assert!(with("http://api.example.net"), "{mode:?}");
        assert!(!with(EVIL), "{mode:?}");
    }
}
