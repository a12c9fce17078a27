//! What passes through, passes as it is: both ways, at once, to the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::harness::{Backend, EVERYTHING, Peer, Proxy, reply, request, within};

#[tokio::test]
async fn a_request_and_its_answer_pass_with_their_fields_and_bodies() {
    let backend = Backend::start(|request, peer| async move {
        let body = request.text().to_uppercase();
        let fields = "X-One: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n";
        reply(peer, "201 Created", fields, &body).await
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    let answer = client.ask("POST /a/b?c=%41&d", "X-Two: 2\r\n", "abc").await;
    assert_eq!((answer.status(), answer.text()), (201, "ABC".into()));
    assert_eq!(answer.field("x-one"), Some("1"));
    assert_eq!(answer.all("set-cookie"), ["a=1", "b=2"]);
    let seen = backend.only();
    assert_eq!(seen.line, "POST /a/b?c=%41&d HTTP/1.1");
    assert_eq!(seen.field("x-two"), Some("2"));
    assert_eq!(seen.field("content-length"), Some("3"));
    assert_eq!(seen.field("transfer-encoding"), None);
    assert_eq!(seen.field("host"), Some("a.example"));
    assert_eq!(seen.field("x-request-id"), answer.field("x-request-id"));
    assert!(answer.field("x-request-id").is_some());
}

#[tokio::test]
async fn a_target_that_no_url_is_reaches_the_backend_escaped() {
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    for (target, expected) in [
        (&b"/s?q={\"a\":1}"[..], "/s?q=%7B%22a%22:1%7D"),
        (b"/a<b>`c?d=<`>", "/a%3Cb%3E%60c?d=%3C%60%3E"),
        (b"/\xe4?q=\xb0\xa1", "/%E4?q=%B0%A1"),
        (b"/%C0%BD.txt", "/%C0%BD.txt"),
        (b"/\xc0\xbd.txt", "/%C0%BD.txt"),
        (b"/?a[]=%2e&b=100%", "/?a[]=%2e&b=100%"),
        (b"http://a.example/?\"", "/?%22"),
    ] {
        let fields = b" HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc";
        let sent = [b"POST ", target, fields].concat();
        // Whole, with a request before and one behind; in two pieces; byte by byte.
        let before = backend.seen().len();
        let mut client = proxy.client().await;
        client.send(sent.repeat(3)).await;
        for _ in 0..3 {
            assert_eq!(client.response().await.status(), 200, "{expected}");
        }
        for size in [target.len(), 1] {
            for piece in sent.chunks(size) {
                client.send(piece).await;
            }
            assert_eq!(client.response().await.status(), 200, "{expected}");
        }
        let seen = backend.seen().split_off(before);
        assert_eq!(seen.len(), 5, "{expected}");
        for seen in seen {
            assert_eq!(seen.line, format!("POST {expected} HTTP/1.1"));
            assert_eq!(seen.text(), "abc");
        }
    }
    for target in ["/a#b", "/a\\b", "/a\u{7f}", "/?a\u{1}"] {
        let answer = proxy
            .client()
            .await
            .ask(&format!("GET {target}"), "", "")
            .await;
        assert_eq!(answer.status(), 400, "{target:?}");
    }
}

#[tokio::test]
async fn forwarded_of_a_trusted_peer_is_read_alone() {
    let backend = Backend::ok().await;
    let server = "trusted_proxies = [\"127.0.0.1\"]\n";
    let proxy = Proxy::before(&backend, server, EVERYTHING).await;
    let told = "Forwarded: for=203.0.113.9;host=public.example;proto=https\r\n";
    let way = async |fields: &str| {
        proxy.client().await.ask("GET /", fields, "").await;
        let seen = backend.seen().pop().unwrap();
        let names = [
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
        ];
        names.map(|name| seen.all(name).join("|"))
    };
    let own = "for=127.0.0.1;host=\"public.example\";proto=https";
    assert_eq!(
        way(told).await,
        [
            &format!("for=203.0.113.9;host=public.example;proto=https, {own}"),
            "203.0.113.9, 127.0.0.1",
            "public.example",
            "https"
        ]
    );
    // Only those of the other kind, alone and beside it.
    let others = "X-Forwarded-For: 192.0.2.5\r\nX-Forwarded-Host: other.example\r\n\
                  X-Forwarded-Proto: https\r\nX-Forwarded-Port: 8443\r\n";
    for fields in [others.to_owned(), format!("{told}{others}")] {
        assert_eq!(
            way(&fields).await,
            [
                "for=192.0.2.5;host=\"other.example:8443\";proto=https, for=127.0.0.1",
                "192.0.2.5, 127.0.0.1",
                "other.example",
                "https"
            ]
        );
        let seen = backend.seen().pop().unwrap();
        assert_eq!(seen.field("x-forwarded-port"), Some("8443"));
    }
}

#[tokio::test]
async fn forwarded_fields_are_rebuilt_and_not_forgeable() {
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    let spoofed = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\n\
                   X-Forwarded-Prefix: /x\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\n\
                   X_Forwarded_For: 1.2.3.4\r\nx.real.ip: 1.2.3.4\r\nX-Request-Id: mine\r\n";
    let answer = proxy.client().await.ask("GET /", spoofed, "").await;
    assert_ne!(answer.field("x-request-id"), Some("mine"));
    let seen = backend.only();
    for (name, value) in [
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded-host", Some("a.example")),
        ("x-forwarded-proto", Some("http")),
        ("x-real-ip", Some("127.0.0.1")),
        ("x-forwarded-prefix", None),
        ("x_forwarded_for", None),
        ("x.real.ip", None),
    ] {
        assert_eq!(seen.field(name), value, "{name}");
    }
    assert!(!format!("{seen:?}").contains("1.2.3.4"));
}

#[tokio::test]
async fn a_trusted_proxy_is_believed() {
    let backend = Backend::ok().await;
    let server = "trusted_proxies = [\"127.0.0.0/8\"]";
    let proxy = Proxy::before(&backend, server, EVERYTHING).await;
    let told = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Host: public.example\r\n\
                X-Forwarded-Proto: https\r\nX-Request-Id: given-1\r\n";
    let answer = proxy.client().await.ask("GET /", told, "").await;
    assert_eq!(answer.field("x-request-id"), Some("given-1"));
    let seen = backend.only();
    assert_eq!(
        seen.field("x-forwarded-for"),
        Some("203.0.113.9, 127.0.0.1")
    );
    assert_eq!(seen.field("x-forwarded-host"), Some("public.example"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.field("x-real-ip"), Some("203.0.113.9"));
    assert_eq!(seen.field("x-request-id"), Some("given-1"));
}

#[tokio::test]
async fn fields_of_one_hop_end_here_in_both_directions() {
    let backend = Backend::start(|_, peer| async move {
        let fields = "Connection: x-gone\r\nKeep-Alive: timeout=5\r\nX-Gone: 1\r\nX-Here: 1\r\n";
        reply(peer, "200 OK", fields, "ok").await
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let fields = "Connection: keep-alive, X-Gone, Host, X-Forwarded-For\r\nX-Gone: 1\r\nX-Here: 1\r\n\
                  TE: trailers\r\nProxy-Authorization: Basic x\r\nUpgrade: h2c\r\n\
                  HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nKeep-Alive: 1\r\n";
    let answer = proxy.client().await.ask("GET /", fields, "").await;
    let seen = backend.only();
    for (message, here) in [(&answer, "x-here"), (&seen, "x-here")] {
        assert_eq!(message.field(here), Some("1"));
        for gone in [
            "connection",
            "keep-alive",
            "x-gone",
            "te",
            "proxy-authorization",
            "upgrade",
            "http2-settings",
        ] {
            assert_eq!(message.field(gone), None, "{gone} in {message:?}");
        }
    }
    assert_eq!(seen.field("host"), Some("a.example"));
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
}

/// A backend that answers with an event stream and sends an event whenever it is told to.
async fn event_stream() -> (Backend, Arc<Notify>) {
    let tell = Arc::new(Notify::new());
    let told = tell.clone();
    let backend = Backend::start(move |_, mut peer: Peer| {
        let told = told.clone();
        async move {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                        Transfer-Encoding: chunked\r\n\r\n";
            peer.send(head).await;
            for count in 1.. {
                tokio::select! {
                    () = told.notified() => {}
                    _ = peer.rest() => return None,
                }
                let event = format!("data: {count}\n\n");
                let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                if !peer.try_send(chunk).await {
                    return None;
                }
            }
            None
        }
    })
    .await;
    (backend, tell)
}

#[tokio::test]
async fn event_stream_is_unbuffered_uncompressed_with_head_at_once() {
    let (backend, tell) = event_stream().await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    let fields = "Accept: text/event-stream\r\nAccept-Encoding: gzip, br\r\n";
    client.send(request("GET /events", fields, "")).await;
    let head = client.head().await;
    assert_eq!(head.field("content-type"), Some("text/event-stream"));
    assert_eq!(head.field("content-encoding"), None);
    for count in 1..4 {
        tell.notify_one();
        let event = client.chunk().await.unwrap();
        assert_eq!(event, format!("data: {count}\n\n").into_bytes());
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_upstream_request_along() {
    let (backend, tell) = event_stream().await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    client.send(request("GET /events", "", "")).await;
    client.head().await;
    tell.notify_one();
    client.chunk().await;
    backend.has_open(1).await;
    drop(client);
    backend.has_open(0).await;
}

#[tokio::test]
async fn client_leaves_before_the_answer_request_is_cancelled() {
    let backend = Backend::by_hand(|mut peer, seen| async move {
        let head = peer.head().await;
        seen.lock().unwrap().push(head);
        assert_eq!(peer.rest().await, b"");
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    client.send(request("GET /slow", "", "")).await;
    backend.reached(1).await;
    drop(client);
    backend.has_open(0).await;
}

#[tokio::test]
async fn a_request_body_streams_up_piece_by_piece() {
    let got = Arc::new(Notify::new());
    let get = got.clone();
    let backend = Backend::by_hand(move |mut peer, _| {
        let get = get.clone();
        async move {
            let head = peer.head().await;
            assert_eq!(head.field("transfer-encoding"), Some("chunked"));
            while let Some(chunk) = peer.chunk().await {
                assert_eq!(chunk, b"piece");
                get.notify_one();
            }
            reply(peer, "200 OK", "", "done").await;
        }
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    let fields = "Transfer-Encoding: chunked\r\n";
    client.send(request("PUT /a", fields, "")).await;
    for _ in 0..3 {
        client.send("5\r\npiece\r\n").await;
        within("the piece at the backend", got.notified()).await;
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "done");
}

#[tokio::test]
async fn a_client_that_does_not_read_slows_the_backend_down() {
    const ALL: usize = 256 << 20;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let backend = Backend::start(move |_, mut peer| {
        let count = count.clone();
        async move {
            peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {ALL}\r\n\r\n"))
                .await;
            let piece = vec![b'x'; 64 << 10];
            while peer.try_send(&piece).await {
                count.fetch_add(piece.len(), Ordering::SeqCst);
            }
            None
        }
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    client.send(request("GET /big", "", "")).await;
    client.head().await;
    // It stands still once the buffers of both sockets are full.
    let mut before = 0;
    let stands = async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            match sent.load(Ordering::SeqCst) {
                now if now == before && now > 0 => break now,
                now => before = now,
            }
        }
    };
    let stopped_at = within("the backend to be slowed down", stands).await;
    assert!(stopped_at < ALL / 4, "{stopped_at} bytes went out");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_completed() {
    let backend = Backend::start(|request, mut peer: Peer| async move {
        match request.target() {
            "/sized" => {
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
                    .await
            }
            _ => {
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
                peer.send(head).await;
            }
        }
        None
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    for target in ["/sized", "/chunked"] {
        let mut client = proxy.client().await;
        client.send(request(&format!("GET {target}"), "", "")).await;
        client.head().await;
        let rest = String::from_utf8(client.rest().await).unwrap();
        assert!(
            rest.contains("abc") && !rest.contains("0\r\n\r\n"),
            "{rest:?}"
        );
    }
    let metrics = proxy.metrics();
    let broken = r#"crossfade_upstream_errors_total{reason="broken",upstream="app"} 2"#;
    assert!(metrics.contains(broken), "{metrics}");
}

#[tokio::test]
async fn a_backend_of_the_old_protocol_gets_our_own_framing() {
    let backend = Backend::start(|_, mut peer: Peer| async move {
        peer.send("HTTP/1.0 200 OK\r\n\r\nabc").await;
        None
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    for _ in 0..2 {
        let answer = client.ask("GET /", "", "").await;
        assert_eq!(answer.line, "HTTP/1.1 200 OK");
        assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
        assert_eq!(answer.text(), "abc");
    }
}

#[tokio::test]
async fn what_cannot_be_answered_is_a_problem_document_with_a_side() {
    let silent = Backend::by_hand(|mut peer, _| async move { drop(peer.rest().await) }).await;
    let broken = Backend::start(|_, mut peer| async move {
        peer.send("nonsense\r\n\r\n").await;
        None
    })
    .await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = closed.local_addr().unwrap();
    drop(closed);
    let config = format!(
        "[upstream.silent]\nservers = [\"http://{}\"]\nresponse_timeout = \"100ms\"\n\
         [upstream.broken]\nservers = [\"http://{}\"]\n\
         [upstream.nobody]\nservers = [\"http://{nobody}\"]\n\
         [[route]]\npath = \"/silent\"\nupstream = \"silent\"\n\
         [[route]]\npath = \"/broken\"\nupstream = \"broken\"\n\
         [[route]]\npath = \"/nobody\"\nupstream = \"nobody\"\n",
        silent.address, broken.address,
    );
    let proxy = Proxy::start("", &config).await;
    let mut client = proxy.client().await;
    for (target, status, code, side) in [
        ("/silent", 504, "upstream_timeout", "upstream"),
        ("/broken", 502, "upstream_down", "upstream"),
        ("/nobody", 502, "upstream_down", "upstream"),
        ("/elsewhere", 404, "no_route", "edge"),
    ] {
        let answer = client.ask(&format!("GET {target}"), "", "").await;
        assert_eq!(answer.status(), status, "{target}");
        assert_eq!(
            answer.field("content-type"),
            Some("application/problem+json")
        );
        let problem = answer.json();
        assert_eq!(problem["type"], format!("urn:crossfade:{code}"));
        assert_eq!(
            (&problem["code"], &problem["side"]),
            (&code.into(), &side.into())
        );
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"].as_str(), answer.field("x-request-id"));
        assert!(problem["title"].is_string() && problem["detail"].is_string());
    }
    // A HEAD has the same head and no body, and the connection lives on.
    let head = client.ask("HEAD /elsewhere", "", "").await;
    assert_eq!(head.status(), 404);
    assert_eq!(client.ask("GET /elsewhere", "", "").await.status(), 404);
}

#[tokio::test]
async fn answers_without_a_body_keep_their_fields() {
    let backend = Backend::start(|request, mut peer| async move {
        let answer = match request.line.as_str() {
            "HEAD /a HTTP/1.1" => "200 OK\r\ncontent-length: 1234",
            "GET /304 HTTP/1.1" => "304 Not Modified\r\netag: \"x\"",
            _ => "204 No Content\r\nx-here: 1",
        };
        peer.send(format!("HTTP/1.1 {answer}\r\n\r\n")).await;
        Some(peer)
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    let head = client.ask("HEAD /a", "", "").await;
    assert_eq!(
        (head.status(), head.field("content-length")),
        (200, Some("1234"))
    );
    let unchanged = client.ask("GET /304", "If-None-Match: \"x\"\r\n", "").await;
    assert_eq!(
        (unchanged.status(), unchanged.field("etag")),
        (304, Some("\"x\""))
    );
    assert_eq!(unchanged.field("content-length"), None);
    let nothing = client.ask("DELETE /a", "", "").await;
    assert_eq!(
        (nothing.status(), nothing.field("x-here")),
        (204, Some("1"))
    );
}

#[tokio::test]
async fn early_hints_are_dropped_and_trailers_pass() {
    let backend = Backend::start(|request, mut peer| async move {
        assert_eq!(request.trailers, [("X-Sum".to_owned(), "1".to_owned())]);
        let answer = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
                      HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n\
                      2\r\nok\r\n0\r\nx-sum: 2\r\n\r\n";
        peer.send(answer).await;
        Some(peer)
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    let fields = "TE: trailers\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n";
    let body = "2\r\nab\r\n0\r\nx-sum: 1\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n";
    client.send(request("POST /", fields, "") + body).await;
    let answer = client.response().await;
    assert_eq!((answer.status(), answer.text()), (200, "ok".into()));
    assert_eq!(answer.trailers, [("X-Sum".to_owned(), "2".to_owned())]);
}

#[tokio::test]
async fn an_expectation_is_met_and_does_not_travel() {
    let backend =
        Backend::start(
            |request, peer| async move { reply(peer, "200 OK", "", &request.text()).await },
        )
        .await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    client.send(head).await;
    assert_eq!(client.head().await.status(), 100);
    client.send("abc").await;
    assert_eq!(client.response().await.text(), "abc");
    assert_eq!(backend.only().field("expect"), None);
    for other in ["200-maybe", "100-continue\r\nExpect: 200-maybe"] {
        let mut client = proxy.client().await;
        let fields = format!("Expect: {other}\r\n");
        assert_eq!(client.ask("PUT /", &fields, "").await.status(), 417);
    }
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_order() {
    let backend =
        Backend::start(
            |request, peer| async move { reply(peer, "200 OK", "", request.target()).await },
        )
        .await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    let all: String = (0..5)
        .map(|n| request(&format!("GET /{n}"), "", ""))
        .collect();
    client.send(all).await;
    for n in 0..5 {
        assert_eq!(client.response().await.text(), format!("/{n}"));
    }
}

#[tokio::test]
async fn an_unasked_switch_of_protocols_is_a_broken_answer() {
    let backend = Backend::start(|_, mut peer| async move {
        let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                      upgrade: websocket\r\n\r\nsecrets";
        peer.send(switch).await;
        None
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let answer = proxy.client().await.ask("GET /", "", "").await;
    assert_eq!(answer.status(), 502);
    assert!(!answer.text().contains("secrets"));
}

#[tokio::test]
async fn leaving_lets_what_is_under_way_finish() {
    let go = Arc::new(Notify::new());
    let gone = go.clone();
    let backend = Backend::start(move |_, peer| {
        let go = gone.clone();
        async move {
            go.notified().await;
            reply(peer, "200 OK", "", "done").await
        }
    })
    .await;
    let mut proxy = Proxy::before(&backend, "drain_timeout = \"10s\"", EVERYTHING).await;
    let mut busy = proxy.client().await;
    let mut unused = proxy.client().await;
    busy.send(request("GET /", "", "")).await;
    backend.reached(1).await;
    let leaving = tokio::spawn(async move { proxy.handle.drain().await });
    assert_eq!(
        within("the unused connection to end", unused.rest()).await,
        b""
    );
    go.notify_one();
    let answer = busy.response().await;
    assert_eq!((answer.status(), answer.text()), (200, "done".into()));
    assert_eq!(within("the connection to end", busy.rest()).await, b"");
    within("the end", leaving).await.unwrap();
}

#[tokio::test]
async fn an_old_client_gets_the_stream_without_chunks_until_the_end() {
    let (backend, tell) = event_stream().await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    client.send("GET /events HTTP/1.0\r\nHost: a\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!(head.field("transfer-encoding"), None);
    for count in 1..3 {
        tell.notify_one();
        let event = format!("data: {count}\n\n");
        assert_eq!(client.exactly(event.len()).await, event.into_bytes());
    }
}

#[tokio::test]
async fn a_backend_that_does_not_read_slows_the_client_down() {
    const ALL: usize = 256 << 20;
    let backend = Backend::by_hand(|mut peer, seen| async move {
        let head = peer.head().await;
        seen.lock().unwrap().push(head);
        std::future::pending::<()>().await;
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    client
        .send(format!(
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {ALL}\r\n\r\n"
        ))
        .await;
    backend.reached(1).await;
    let piece = vec![b'x'; 64 << 10];
    let mut sent = 0;
    let patience = std::time::Duration::from_millis(500);
    while let Ok(true) = tokio::time::timeout(patience, client.try_send(&piece)).await {
        sent += piece.len();
        assert!(sent < ALL / 4, "nobody stopped the client");
    }
}
