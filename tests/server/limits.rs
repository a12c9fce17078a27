//! What a client may take: room, time, places.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Backend, EVERYTHING, Peer, Proxy, eventually, request};

async fn limited(backend: &Backend, limits: &str) -> Proxy {
    let server = format!("[server.limits]\n{limits}");
    Proxy::before(backend, &server, EVERYTHING).await
}

/// The status and code of a refusal that ends the connection.
async fn refusal(client: &mut Peer) -> (u16, String) {
    let answer = client.response().await;
    assert_eq!(
        answer.field("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(answer.field("connection"), Some("close"));
    assert_eq!(client.rest().await, b"");
    let code = answer.json()["code"].as_str().unwrap().to_owned();
    (answer.status(), code)
}

#[tokio::test]
async fn a_head_has_a_size() {
    let backend = Backend::ok().await;
    let proxy = limited(&backend, "header_bytes = \"2KiB\"\nheaders = 5").await;
    let mut client = proxy.client().await;
    let room = "a".repeat(1500);
    assert_eq!(
        client
            .ask("GET /", &format!("X: {room}\r\n"), "")
            .await
            .status(),
        200
    );
    for fields in [
        format!("X: {room}{room}\r\n"),
        format!("X: {room}\r\nY: {room}\r\n"),
    ] {
        let mut client = proxy.client().await;
        client.send(request("GET /", &fields, "")).await;
        assert_eq!(
            refusal(&mut client).await,
            (431, "headers_too_large".into())
        );
    }
    let mut client = proxy.client().await;
    client
        .send(request("GET /", &"X: 1\r\n".repeat(5), ""))
        .await;
    assert_eq!(
        refusal(&mut client).await,
        (431, "headers_too_large".into())
    );
    // It never has to be sent to its end.
    let mut client = proxy.client().await;
    client
        .send(format!("GET / HTTP/1.1\r\nX: {room}{room}"))
        .await;
    assert_eq!(refusal(&mut client).await.0, 431);
    assert_eq!(backend.seen().len(), 1);
}

#[tokio::test]
async fn a_target_has_a_size() {
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    let long = "a".repeat(33_000);
    client.send(request(&format!("GET /{long}"), "", "")).await;
    assert_eq!(refusal(&mut client).await, (414, "uri_too_long".into()));
}

#[tokio::test]
async fn as_many_fields_as_are_allowed_pass() {
    let backend = Backend::ok().await;
    let proxy = limited(&backend, "headers = 300").await;
    let fields = "X: 1\r\n".repeat(299);
    let answer = proxy.client().await.ask("GET /", &fields, "").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(backend.only().all("x").len(), 299);
}

#[tokio::test]
async fn a_head_has_its_time_however_it_drips() {
    let backend = Backend::ok().await;
    let proxy = limited(&backend, "header_timeout = \"300ms\"").await;
    let mut client = proxy.client().await;
    let begun = Instant::now();
    for byte in request("GET /", "", "").bytes().cycle() {
        if begun.elapsed() > Duration::from_secs(5) || !client.try_send([byte]).await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        if begun.elapsed() > Duration::from_millis(600) {
            break;
        }
    }
    assert_eq!(refusal(&mut client).await, (408, "request_timeout".into()));
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn an_unfinished_head_ends_even_if_nothing_more_comes() {
    let backend = Backend::ok().await;
    let proxy = limited(&backend, "header_timeout = \"100ms\"").await;
    let mut client = proxy.client().await;
    assert_eq!(client.ask("GET /", "", "").await.status(), 200);
    client.send("GET / HTTP/1.1\r\n").await;
    assert_eq!(refusal(&mut client).await.0, 408);
}

#[tokio::test]
async fn a_body_may_not_stand_still() {
    let backend = Backend::ok().await;
    let proxy = limited(&backend, "body_idle_timeout = \"200ms\"").await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        .await;
    assert_eq!(refusal(&mut client).await, (408, "request_timeout".into()));
    assert!(backend.seen().is_empty(), "it never was whole");
    backend.has_open(0).await;
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let backend = Backend::ok().await;
    let proxy = Proxy::before(
        &backend,
        "",
        "[[route]]\npath = \"/\"\nupstream = \"app\"\n",
    )
    .await;
    let mut client = proxy.client().await;
    let length = 4 << 20;
    client
        .send(format!(
            "POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
        ))
        .await;
    client.try_send(vec![b'x'; length / 8]).await;
    assert_eq!(client.response().await.status(), 404);
}

#[tokio::test]
async fn there_are_only_so_many_places() {
    let backend = Backend::ok().await;
    for (limits, reason) in [
        ("connections = 2", "connections"),
        ("connections_per_ip = 2", "connections_per_ip"),
    ] {
        let proxy = limited(&backend, limits).await;
        let mut first = proxy.client().await;
        let mut second = proxy.client().await;
        first.ask("GET /", "", "").await;
        second.ask("GET /", "", "").await;
        let mut third = proxy.client().await;
        third.try_send(request("GET /", "", "")).await;
        let answer = third.response().await;
        assert_eq!(
            (answer.status(), &answer.json()["code"]),
            (503, &"overloaded".into())
        );
        assert!(answer.field("retry-after").is_some() && answer.field("x-request-id").is_some());
        assert_eq!(third.rest().await, b"");
        let counted = format!("crossfade_refused_total{{reason=\"{reason}\"}} 1");
        assert!(proxy.metrics().contains(&counted));
        drop(first);
        let connections = &proxy.handle.shared().connections;
        eventually("the place to be free", async || connections.count() == 1).await;
        assert_eq!(
            proxy.client().await.ask("GET /", "", "").await.status(),
            200
        );
    }
}

#[tokio::test]
async fn a_proxy_that_is_trusted_speaks_for_many() {
    let backend = Backend::ok().await;
    let server = "trusted_proxies = [\"127.0.0.1/32\"]\n[server.limits]\nconnections_per_ip = 1";
    let proxy = Proxy::before(&backend, server, EVERYTHING).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = proxy.client().await;
        assert_eq!(client.ask("GET /", "", "").await.status(), 200);
        clients.push(client);
    }
}

#[tokio::test]
async fn a_unix_socket_is_an_address_like_any_other() {
    let backend = Backend::ok().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("public");
    let listen = format!(
        "[server]\nlisten = \"unix:{}\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[log]\naccess = false\n\
         [upstream.app]\nservers = [\"http://{}\"]\n{EVERYTHING}",
        path.display(),
        backend.address,
    );
    let file = folder.path().join("proxy.toml");
    std::fs::write(&file, listen).unwrap();
    let handle = crossfade::app::start(&file, Default::default())
        .await
        .unwrap();
    assert_eq!(handle.public, [format!("unix:{}", path.display())]);
    let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
    let close = request(
        "GET /",
        "Connection: close\r\nX-Forwarded-For: 203.0.113.9\r\n",
        "",
    );
    client.write_all(close.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let seen = backend.only();
    assert_eq!(
        seen.field("x-real-ip"),
        Some("203.0.113.9"),
        "file permissions are its trust"
    );
}

#[tokio::test]
async fn names_that_pass_for_others_are_dropped_refused_or_allowed() {
    let backend = Backend::ok().await;
    let fields = "X_Mine: 1\r\nX_Forwarded_For: 1.2.3.4\r\nContent_Length: 5\r\nx-plain: 1\r\n";
    for (policy, status, kept) in [
        ("drop", 200, None),
        ("reject", 400, None),
        ("allow", 200, Some("1")),
    ] {
        let before = backend.seen().len();
        let server = format!("underscore_headers = \"{policy}\"");
        let proxy = Proxy::before(&backend, &server, EVERYTHING).await;
        let answer = proxy.client().await.ask("GET /", fields, "").await;
        assert_eq!(answer.status(), status, "{policy}");
        for seen in backend.seen().split_off(before) {
            assert_eq!(seen.field("x_mine"), kept, "{policy}");
            assert_eq!(seen.field("x_forwarded_for"), None, "{policy}");
            assert_eq!(seen.field("content_length"), None, "{policy}");
            assert_eq!(seen.field("x-plain"), Some("1"), "{policy}");
        }
    }
}
