//! Which certificate is shown, which is asked for, and what is agreed upon.

use rustls::ProtocolVersion;

use crate::harness::{
    Backend, EVERYTHING, Peer, Proxy,
    tls::{Authority, certificate, connect, passthrough},
};

#[tokio::test]
async fn a_request_over_tls_reaches_the_backend_and_says_so() {
    let authority = Authority::new();
    let (backend, proxy) = passthrough(&authority).await;
    assert!(proxy.handle.public[0].starts_with("https://127.0.0.1:"));
    assert!(
        proxy.handle.admin.starts_with("http://"),
        "{}",
        proxy.handle.admin
    );
    let mut client = authority.connect(proxy.address).await;
    for _ in 0..2 {
        let answer = client
            .ask("GET /a", "X-Forwarded-Proto: http\r\n", "")
            .await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
    }
    let seen = &backend.seen()[0];
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    let forwarded = "for=127.0.0.1;host=\"a.example\";proto=https";
    assert_eq!(seen.field("forwarded"), Some(forwarded));
}

#[tokio::test]
async fn what_is_agreed_upon_is_new_enough_and_resumed_by_tickets() {
    let authority = Authority::new();
    let (_backend, proxy) = passthrough(&authority).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = rustls::crypto::ring::default_provider();
        let mut roots = rustls::RootCertStore::empty();
        let pem = std::fs::read_to_string(authority.path("authority.crt")).unwrap();
        roots.add(certificate(&pem)).unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.enable_early_data = true;
        config.alpn_protocols = vec![b"unknown".to_vec(), b"http/1.1".to_vec()];
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let stream = connect(proxy.address, "app.example", config.clone())
                .await
                .unwrap();
            let (_, connection) = stream.get_ref();
            assert_eq!(connection.protocol_version(), Some(version.version));
            assert_eq!(connection.alpn_protocol(), Some(&b"http/1.1"[..]));
            assert!(!connection.is_early_data_accepted());
            kinds.push(connection.handshake_kind().unwrap());
            let mut client = Peer::new(stream);
            assert_eq!(client.ask("GET /", "", "").await.status(), 200);
        }
        use rustls::HandshakeKind::{Full, Resumed};
        assert_eq!(kinds, [Full, Resumed], "{version:?}");
        assert_ne!(version.version, ProtocolVersion::TLSv1_1);
    }
    let mut config = authority.client(None);
    config.alpn_protocols = vec![b"unknown".to_vec()];
    connect(proxy.address, "app.example", config)
        .await
        .unwrap_err();
}

#[tokio::test]
async fn the_name_asked_for_chooses_the_certificate() {
    let authority = Authority::new();
    let pairs = [
        ("default", authority.sign(&["default.example"])),
        (
            "wildcard",
            authority.sign(&["*.example.com", "both.example"]),
        ),
        (
            "exact",
            authority.sign(&["www.example.com", "both.example"]),
        ),
    ];
    for (name, pair) in &pairs {
        authority.place(name, pair);
    }
    let table = authority.table(&["default", "wildcard", "exact"], "");
    let backend = Backend::ok().await;
    let proxy = Proxy::before(&backend, &table, EVERYTHING).await;
    for (asked, shown) in [
        ("default.example", "default"),
        ("www.example.com", "exact"),
        ("WWW.EXAMPLE.COM", "exact"),
        ("a.example.com", "wildcard"),
        ("both.example", "wildcard"),
    ] {
        let stream = connect(proxy.address, asked, authority.client(None)).await;
        let stream = stream.unwrap_or_else(|error| panic!("{asked}: {error}"));
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        let (_, pair) = pairs.iter().find(|(name, _)| *name == shown).unwrap();
        assert_eq!(chain[0], certificate(&pair.certificate), "{asked}");
    }
    // These get the first one, which is not for them: a client that looks says no.
    for asked in [
        "a.b.example.com",
        "example.com",
        "unknown.example",
        "127.0.0.1",
    ] {
        let error = connect(proxy.address, asked, authority.client(None))
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("NotValidForName")
                || error.to_string().contains("not valid for name"),
            "{asked}: {error}"
        );
    }
}

#[tokio::test]
async fn required_client_certificate_has_to_be_valid() {
    let (authority, others) = (Authority::new(), Authority::new());
    let backend = Backend::ok().await;
    let path = authority.path("authority.crt");
    let server = authority.server(&format!("client_ca = {path:?}"));
    let proxy = Proxy::before(&backend, &server, EVERYTHING).await;
    let (right, wrong) = (authority.sign(&["ada"]), others.sign(&["ada"]));
    for (shown, is_let_in) in [(None, false), (Some(&wrong), false), (Some(&right), true)] {
        let config = authority.client(shown);
        // With TLS 1.3 a client takes itself for connected before its certificate is judged.
        let answered = match connect(proxy.address, "app.example", config).await {
            Ok(stream) => {
                let mut client = Peer::new(stream);
                let asked = client.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
                asked && client.try_head().await.is_some()
            }
            Err(_) => false,
        };
        assert_eq!(answered, is_let_in, "shows {}", shown.is_some());
    }
    assert_eq!(backend.seen().len(), 1);
    let refused = "crossfade_refused_total{reason=\"tls_certificate\"} 2";
    assert!(proxy.metrics().contains(refused), "{}", proxy.metrics());
}
