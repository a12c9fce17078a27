use hyper::header::HeaderValue;

use super::*;

/// The policy of the table of lookalikes: two exact origins and one wildcard.
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
        ..Cors::default()
    }
}

fn anybody() -> Cors {
    Cors {
        name: "any".into(),
        origins: vec![OriginPattern::Any],
        ..Cors::default()
    }
}

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
            host: "api.example.net",
            public_url: None,
            cors: Some(policy()),
        }
    }
}

impl Handshake<'_> {
    fn judged(&self) -> Result<(), OriginRefused> {
        let mut headers = HeaderMap::new();
        for origin in self.origins {
            headers.append(ORIGIN, HeaderValue::from_bytes(origin.as_bytes()).unwrap());
        }
        if self.cookie {
            headers.insert(COOKIE, HeaderValue::from_static("session=1"));
        }
        let host = Host::parse(&HeaderValue::from_str(self.host).unwrap()).unwrap();
        judge(&headers, &host, self.public_url, self.cors.as_ref())
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
    for origin in [
        "https://app.example.com.evil.test",
        "https://evilapp.example.com",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.",
        "https://APP.example.com",
        "https://app.example.com/",
        "https://example.com",
        "https://a.b.stage.example.com",
        "https://x.stage.example.com.evil.test",
        "https://app.example.com@evil.test",
        "https://app.example.com#evil.test",
        "https://app.example.com, https://evil.test",
        "https://appXexample.com",
        "https://appxexample.com",
        "https://app.example.com%00.evil.test",
        "https://[::1]",
        "https://[::ffff:127.0.0.1]:3000",
        "http://[::1]:3000",
        "https://stage.example.com",
        "https://.stage.example.com",
        "https://evilstage.example.com",
        "https://app.example.com:443",
        "https://app.example.com:",
        "https://app.example.com:0443",
        "https://äpp.example.com",
        "http://localhost",
        "http://localhost:30000",
        "ws://localhost:3000",
        "HTTPS://app.example.com",
        "https:app.example.com",
        "app.example.com",
    ] {
        assert!(from(origin).is_err(), "{origin}");
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
        assert_eq!(handshake.judged(), Err(OriginRefused::Malformed));
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
fn the_star_lists_everybody_who_sends_no_cookie() {
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
