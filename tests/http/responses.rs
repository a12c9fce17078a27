//! What a backend answers is an answer, or the client gets ours.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::harness::{Backend, EVERYTHING, Peer, Proxy, request};

/// A backend that says these bytes to whoever asks for `/odd`, and closes; else `ok`.
async fn saying(answer: &'static [u8]) -> Backend {
    Backend::start(move |request, mut peer: Peer| async move {
        if request.target() == "/odd" {
            peer.try_send(answer).await;
            return None;
        }
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        peer.try_send(ok).await.then_some(peer)
    })
    .await
}

/// Heads that two readers may read in two ways, or that have no end.
const ODD_HEADS: &[&[u8]] = &[
    b"HTTP/1.1 200 OK\r\ncontent-length:\r\ncontent-length: 6\r\n\r\nsecret",
    b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\ncontent-length: 3\r\n\r\nsecret",
    b"HTTP/1.1 200 OK\r\ncontent-length: 6, 6\r\n\r\nsecret",
    b"HTTP/1.1 200 OK\r\ncontent-length: +6\r\n\r\nsecret",
    b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n6\r\nsecret\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n6\r\nsecret\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nsecret",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n6\r\nsecret\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nsecret",
    b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 6\r\n\r\n6\r\nsecret\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx: a\r\n secret: b\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx : secret\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx y: secret\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx: a\0secret\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx: a\rset-cookie: secret\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx: a\nset-cookie: secret\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\nx: secret\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx: secret\r\ncontent-length: 0\r\n\n",
    b"\r\nHTTP/1.1 200 OK\r\nx: secret\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\nx: secret\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.2 200 OK\r\nx: secret\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK",
    b"secret",
    b"",
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nsecret",
];

#[tokio::test]
async fn an_answer_with_two_readings_is_none() {
    for answer in ODD_HEADS {
        let shown = String::from_utf8_lossy(answer);
        let backend = saying(answer).await;
        let proxy = Proxy::passthrough(&backend).await;
        let mut client = proxy.client().await;
        for line in ["GET /odd", "POST /odd"] {
            let got = client.ask(line, "", "").await;
            assert_eq!(got.status(), 502, "{shown:?}");
            assert_eq!(got.json()["side"], "upstream", "{shown:?}");
            assert!(!format!("{got:?} {}", got.text()).contains("secret"));
        }
        let fine = client.ask("GET /fine", "", "").await;
        assert_eq!(fine.text(), "ok", "{shown:?}");
    }
}

/// Heads and bodies that are written carelessly, and have one reading.
const CARELESS: &[&[u8]] = &[
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
    b"HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\ncontent-length:\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1  200 OK\r\ncontent-length: 2\r\n\r\nok",
];

#[tokio::test]
async fn a_careless_answer_with_one_reading_is_passed() {
    for answer in CARELESS {
        let shown = String::from_utf8_lossy(answer);
        let backend = Backend::start(move |_, mut peer: Peer| async move {
            // In pieces, as a slow application writes.
            let (first, last) = answer.split_at(20);
            peer.send(first).await;
            tokio::task::yield_now().await;
            peer.try_send(last).await;
            // An answer that only the connection's end ends.
            let is_open = shown_ends_open(answer);
            (!is_open).then_some(peer)
        })
        .await;
        let proxy = Proxy::passthrough(&backend).await;
        let mut client = proxy.client().await;
        for _ in 0..2 {
            let got = client.ask("GET /", "", "").await;
            assert_eq!(
                (got.status(), got.text().as_str()),
                (200, "ok"),
                "{shown:?}"
            );
            let framings = got.all("content-length").len() + got.all("transfer-encoding").len();
            assert_eq!(framings, 1, "{got:?}");
            // What comes behind such an answer is no other client's.
            backend.has_open(0).await;
        }
    }
}

fn shown_ends_open(answer: &[u8]) -> bool {
    !answer.ends_with(b"0\r\n\r\n") && answer.windows(4).any(|w| w == b":\r\n\r")
}

#[tokio::test]
async fn words_of_a_status_line_are_passed() {
    let backend =
        saying("HTTP/1.1 404 Pas trouv\u{e9}\r\ncontent-length: 2\r\n\r\nno".as_bytes()).await;
    let proxy = Proxy::passthrough(&backend).await;
    let got = proxy.client().await.ask("GET /odd", "", "").await;
    assert_eq!(got.line, "HTTP/1.1 404 Pas trouv\u{e9}");
}

#[tokio::test]
async fn many_fields_and_many_hints_are_passed() {
    let fields = "x: 1\r\n".repeat(199);
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(20);
    let answer = format!("{hints}HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\nok");
    let answer: &'static [u8] = Box::leak(answer.into_bytes().into_boxed_slice());
    let backend = saying(answer).await;
    let proxy = Proxy::passthrough(&backend).await;
    let got = proxy.client().await.ask("GET /odd", "", "").await;
    assert_eq!((got.status(), got.all("x").len()), (200, 199));
    for (limit, status) in [("199", 502), ("200", 200)] {
        let limit = format!("limits.response_headers = {limit}\n");
        let proxy = Proxy::before(&backend, &limit, EVERYTHING).await;
        let got = proxy.client().await.ask("GET /odd", "", "").await;
        assert_eq!(got.status(), status, "{limit}");
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_none() {
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(1000);
    let long = format!("HTTP/1.1 200 OK\r\nx: {}", "a".repeat(200 << 10));
    let fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: 1\r\n".repeat(5000));
    for answer in [interim, long, fields] {
        let backend = saying(Box::leak(answer.into_bytes().into_boxed_slice())).await;
        let proxy = Proxy::passthrough(&backend).await;
        let mut client = proxy.client().await;
        assert_eq!(client.ask("POST /odd", "", "").await.status(), 502);
        assert_eq!(client.ask("GET /fine", "", "").await.text(), "ok");
    }
}

#[tokio::test]
async fn a_body_with_two_readings_is_never_completed() {
    for chunks in [
        "2\r\nok\n0\r\n\r\n",
        "2\nok\r\n0\r\n\r\n",
        "2\r\nokay\r\n0\r\n\r\n",
        "2;\0\r\nok\r\n0\r\n\r\n",
        "2\r\nok\r\n0\r\ncontent-length: 9\r\n\r\n",
        "2\r\nok\r\n0\r\nx : y\r\n\r\n",
        "2\r\nok\r\n0\r\nx: y\nset-cookie: z\r\n\r\n",
    ] {
        let begun = Arc::new(Notify::new());
        let go = begun.clone();
        let backend = Backend::start(move |_, mut peer: Peer| {
            let go = go.clone();
            async move {
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n:\r\n";
                peer.send(head).await;
                // Only once the head has been passed on.
                go.notified().await;
                peer.try_send(chunks).await;
                peer.rest().await;
                None
            }
        })
        .await;
        let proxy = Proxy::passthrough(&backend).await;
        let mut client = proxy.client().await;
        client.send(request("GET /", "", "")).await;
        assert_eq!(client.head().await.status(), 200);
        begun.notify_one();
        let rest = client.rest().await;
        let text = String::from_utf8_lossy(&rest).into_owned();
        assert!(!text.contains("0\r\n\r\n"), "{text:?}");
        assert!(!text.contains("set-cookie"), "{text:?}");
        backend.has_open(0).await;
    }
}
