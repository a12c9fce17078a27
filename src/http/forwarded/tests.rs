use super::*;

fn networks() -> Vec<IpNet> {
    vec!["10.0.0.0/8".parse().unwrap()]
}

fn peer(ip: &str) -> Peer {
    Peer::new(Some(ip.parse().unwrap()), &networks())
}

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn own_host() -> Host {
    Host::parse(&HeaderValue::from_static("app.example:8080")).unwrap()
}

fn rebuilt(
    from: &str,
    fields: &[(&'static str, &'static str)],
) -> (ForwardedClient, Vec<(String, String)>) {
    let mut headers = headers(fields);
    let own = text(peer(from).ip);
    let client = client(&headers, peer(from), &own, &own_host(), &networks());
    rebuild(&mut headers, peer(from), &own, &client);
    let mut sent: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    sent.sort();
    (client, sent)
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.into(), value.into())
}

const SPOOFED: &[(&str, &str)] = &[
    ("x-forwarded-for", "1.2.3.4"),
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-prefix", "/admin"),
    ("forwarded", "for=1.2.3.4;host=evil.example"),
    ("x-real-ip", "1.2.3.4"),
    ("x_forwarded_for", "1.2.3.4"),
    ("x-original-url", "/admin"),
    ("x-rewrite-url", "/admin"),
];

#[test]
fn an_unknown_peer_forwards_nothing() {
    let (client, sent) = rebuilt("192.0.2.7", SPOOFED);
    assert_eq!(&*client.ip, "192.0.2.7");
    assert_eq!(
        (client.host.name.as_str(), client.proto),
        ("app.example", "http")
    );
    let forwarded = "for=192.0.2.7;host=\"app.example:8080\";proto=http";
    assert_eq!(
        sent,
        [
            pair("forwarded", forwarded),
            pair("x-forwarded-for", "192.0.2.7"),
            pair("x-forwarded-host", "app.example:8080"),
            pair("x-forwarded-proto", "http"),
            pair("x-real-ip", "192.0.2.7"),
        ]
    );
}

#[test]
fn proxy_nearest_to_the_client_tells_host_and_scheme() {
    let fields = [
        ("x-forwarded-host", "public.example, inner.example"),
        ("x-forwarded-proto", "HTTPS, http"),
    ];
    let (client, _) = rebuilt("10.0.0.1", &fields);
    assert_eq!(
        (client.host.name.as_str(), client.proto),
        ("public.example", "https")
    );
}

#[test]
fn a_trusted_peer_is_believed_and_appended() {
    let fields = [
        ("x-forwarded-for", "6.6.6.6, 203.0.113.9"),
        ("x-forwarded-for", "10.0.0.5"),
        ("x-forwarded-host", "public.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-prefix", "/app"),
        ("x-forwarded-port", "8443"),
        ("forwarded", "for=9.9.9.9;host=other.example;proto=http"),
    ];
    let (client, sent) = rebuilt("10.0.0.1", &fields);
    assert_eq!(
        &*client.ip, "203.0.113.9",
        "right-most that is no proxy of ours"
    );
    assert_eq!(
        (client.host.name.as_str(), client.proto),
        ("public.example", "https")
    );
    let forwarded = "for=6.6.6.6;host=\"public.example:8443\";proto=https, for=203.0.113.9, for=10.0.0.5, for=10.0.0.1";
    assert_eq!(
        sent,
        [
            pair("forwarded", forwarded),
            pair(
                "x-forwarded-for",
                "6.6.6.6, 203.0.113.9, 10.0.0.5, 10.0.0.1"
            ),
            pair("x-forwarded-host", "public.example"),
            pair("x-forwarded-port", "8443"),
            pair("x-forwarded-prefix", "/app"),
            pair("x-forwarded-proto", "https"),
            pair("x-real-ip", "203.0.113.9"),
        ]
    );
}

#[test]
fn forwarded_alone_is_read_and_told_both_ways() {
    let told = "for=\"203.0.113.9:1234\";host=public.example;proto=https, for=10.0.0.5";
    let (client, sent) = rebuilt("10.0.0.1", &[("forwarded", told)]);
    assert_eq!(client.address, Some("203.0.113.9".parse().unwrap()));
    assert_eq!(
        (client.host.name.as_str(), client.proto),
        ("public.example", "https")
    );
    let forwarded = format!("{told}, for=10.0.0.1;host=\"public.example\";proto=https");
    assert_eq!(
        sent,
        [
            pair("forwarded", &forwarded),
            pair("x-forwarded-for", "203.0.113.9, 10.0.0.5, 10.0.0.1"),
            pair("x-forwarded-host", "public.example"),
            pair("x-forwarded-proto", "https"),
            pair("x-real-ip", "203.0.113.9"),
        ]
    );
}

#[test]
fn what_a_client_wrote_into_forwarded_is_not_believed() {
    let told =
        "for=6.6.6.6;host=evil.example;proto=http, for=203.0.113.9;host=public.example;proto=https";
    let (client, sent) = rebuilt("10.0.0.1", &[("forwarded", told)]);
    assert_eq!(
        (&*client.ip, client.host.name.as_str(), client.proto),
        ("203.0.113.9", "public.example", "https")
    );
    let forwarded =
        "for=6.6.6.6;host=\"public.example\";proto=https, for=203.0.113.9, for=10.0.0.1";
    assert_eq!(sent[0], pair("forwarded", forwarded));
    // Not whole, or beside a field of the other kind: nothing of it counts.
    for (other, port) in [
        (("forwarded", "for=\"6.6.6.6"), "8080"),
        (("x-forwarded-port", "8443"), "8443"),
    ] {
        let (client, sent) = rebuilt("10.0.0.1", &[("forwarded", told), other]);
        assert_eq!(
            (client.address, client.host.name.as_str(), client.proto),
            (None, "app.example", "http")
        );
        let forwarded = format!("for=10.0.0.1;host=\"app.example:{port}\";proto=http");
        assert_eq!(sent[0], pair("forwarded", &forwarded));
    }
    let hidden = [(
        "forwarded",
        "for=6.6.6.6;host=evil.example, for=_x;host=public.example",
    )];
    let (client, _) = rebuilt("10.0.0.1", &hidden);
    assert_eq!(
        (client.address, client.host.name.as_str()),
        (None, "public.example")
    );
}

#[test]
fn trusted_peer_that_forwards_vouches_for_no_other_address() {
    let real_ip = |fields: &[(&'static str, &'static str)]| {
        let (_, sent) = rebuilt("10.0.0.1", fields);
        let found = sent.into_iter().find(|(name, _)| name == "x-real-ip");
        found.unwrap().1
    };
    let told = ("x-forwarded-for", "203.0.113.9");
    assert_eq!(real_ip(&[told, ("x-real-ip", "6.6.6.6")]), "203.0.113.9");
    assert_eq!(real_ip(&[("x-real-ip", "203.0.113.9")]), "203.0.113.9");
}

#[test]
fn tls_scheme_is_https_unless_a_trusted_peer_says_other() {
    let over_tls = |from: &str, fields: &[(&'static str, &'static str)]| {
        let peer = Peer {
            proto: "https",
            ..peer(from)
        };
        let own = text(peer.ip);
        client(&headers(fields), peer, &own, &own_host(), &networks()).proto
    };
    let told = [("x-forwarded-proto", "http")];
    assert_eq!(over_tls("192.0.2.7", &told), "https");
    assert_eq!(over_tls("10.0.0.1", &[]), "https");
    assert_eq!(over_tls("10.0.0.1", &told), "http");
}

#[test]
fn a_port_that_a_proxy_tells_is_the_hosts_in_forwarded() {
    for (host, port, expected) in [
        ("shop.example", "8443", "shop.example:8443"),
        ("shop.example:8080", "443", "shop.example"),
        ("shop.example", "443, 80", "shop.example"),
        ("shop.example", "80", "shop.example:80"),
        ("[2001:db8::1]", "8443", "[2001:db8::1]:8443"),
        ("shop.example:8080", "none", "shop.example:8080"),
    ] {
        let fields = [
            ("x-forwarded-host", host),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-port", port),
        ];
        let (_, sent) = rebuilt("10.0.0.1", &fields);
        let forwarded = format!("for=10.0.0.1;host=\"{expected}\";proto=https");
        assert_eq!(sent[0], pair("forwarded", &forwarded), "{host} {port}");
        assert_eq!(sent[3], pair("x-forwarded-port", port));
    }
}

#[test]
fn an_address_left_of_nonsense_is_not_believed() {
    let fields = [("x-forwarded-for", "6.6.6.6, nonsense, 10.0.0.9")];
    assert_eq!(&*rebuilt("10.0.0.1", &fields).0.ip, "10.0.0.9");
    let fields = [("x-forwarded-for", "[2001:db8::1]:443")];
    assert_eq!(&*rebuilt("10.0.0.1", &fields).0.ip, "2001:db8::1");
    assert_eq!(&*rebuilt("10.0.0.1", &[]).0.ip, "10.0.0.1");
}

#[test]
fn a_proxys_own_address_tells_no_client_from_another() {
    let address = |from: Peer, fields: &[(&'static str, &'static str)]| {
        let own = text(from.ip);
        client(&headers(fields), from, &own, &own_host(), &networks()).address
    };
    let told = [("x-forwarded-for", "203.0.113.9")];
    let is = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    assert_eq!(address(peer("10.0.0.1"), &told), is("203.0.113.9"));
    assert_eq!(address(peer("192.0.2.7"), &told), is("192.0.2.7"));
    let unix = Peer::new(None, &[]);
    assert_eq!(address(unix, &told), is("203.0.113.9"));
    for silent in [&[][..], &[("x-forwarded-for", "unknown")]] {
        assert_eq!(address(peer("10.0.0.1"), silent), None);
        assert_eq!(address(unix, silent), None);
    }
    let unnamed = Peer {
        is_trusted: false,
        is_unnamed: true,
        ..peer("10.0.0.1")
    };
    assert_eq!(address(unnamed, &told), None);
}

#[test]
fn a_mapped_address_is_the_one_it_maps() {
    assert_eq!(&*rebuilt("::ffff:192.0.2.7", &[]).0.ip, "192.0.2.7");
    assert!(peer("::ffff:10.1.1.1").is_trusted);
    assert!(Peer::new(None, &[]).is_trusted, "a unix socket");
}
