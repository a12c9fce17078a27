//! Clients that send requests ahead of the answers, and clients that stop sending.

use crate::harness::{Backend, Peer, Proxy, reply, request};

/// Answers with the target and the body, but to `/slow` only by silence, until its client is gone.
async fn slow() -> Backend {
    Backend::start(|request, mut peer: Peer| async move {
        if request.target() == "/slow" {
            assert_eq!(peer.rest().await, b"");
            return None;
        }
        let text = format!("{} {}", request.target(), request.text());
        reply(peer, "200 OK", "", &text).await
    })
    .await
}

fn get(target: &str) -> String {
    request(&format!("GET {target}"), "", "")
}

#[tokio::test]
async fn pipelining_client_leaves_running_request_is_cancelled() {
    let backend = slow().await;
    let proxy = Proxy::passthrough(&backend).await;
    for behind in [
        get("/next"),
        get("/next").repeat(50),
        get("/next") + "GET / HT",
        // What would be refused is not looked at either before its turn.
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n".into(),
    ] {
        let before = backend.seen().len();
        let mut client = proxy.client().await;
        client.send(get("/slow") + &behind).await;
        backend.reached(before + 1).await;
        drop(client);
        backend.has_open(0).await;
        assert_eq!(backend.seen().len(), before + 1, "{behind:?}");
    }
}

#[tokio::test]
async fn pipelined_bytes_do_not_hide_that_the_client_left() {
    let backend = slow().await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    client.send(get("/slow")).await;
    backend.reached(1).await;
    for _ in 0..3 {
        client.send(get("/next")).await;
        tokio::task::yield_now().await;
    }
    drop(client);
    backend.has_open(0).await;
    assert_eq!(backend.seen().len(), 1);
}

#[tokio::test]
async fn requests_of_any_kind_sent_ahead_are_answered_in_their_order() {
    let backend = slow().await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    let chunked = "POST /chunked HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n0\r\n\r\n";
    let all = [
        get("/1"),
        request("POST /2", "", "two"),
        chunked.to_owned(),
        "GET /old HTTP/1.0\r\nHost: a.example\r\nConnection: keep-alive\r\n\r\n".to_owned(),
        get("/last"),
    ];
    let expected = ["/1 ", "/2 two", "/chunked abc", "/old ", "/last "];
    client.send(all.concat()).await;
    for text in expected {
        assert_eq!(client.response().await.text(), text);
    }
    // The same in pieces that end anywhere.
    for piece in all.concat().as_bytes().chunks(7) {
        client.send(piece).await;
    }
    for text in expected {
        assert_eq!(client.response().await.text(), text);
    }
}

#[tokio::test]
async fn however_much_is_sent_ahead_waits_for_its_turn() {
    let backend = slow().await;
    let proxy = Proxy::passthrough(&backend).await;
    let client = proxy.client().await;
    const COUNT: usize = 400;
    let room = format!("X-Room: {}\r\n", "a".repeat(2000));
    let all: String = (0..COUNT)
        .map(|count| request(&format!("GET /{count}"), &room, ""))
        .collect();
    let (mut stream, _) = client.into_parts();
    let (mut from, mut to) = stream.split();
    let sending = async {
        use tokio::io::AsyncWriteExt;
        to.write_all(all.as_bytes()).await.unwrap();
    };
    let reading = async {
        use tokio::io::AsyncReadExt;
        let (mut text, last) = (String::new(), format!("/{} ", COUNT - 1));
        while !text.ends_with(&last) {
            let mut piece = [0; 4096];
            let count = from.read(&mut piece).await.unwrap();
            assert!(count > 0, "{text}");
            text += std::str::from_utf8(&piece[..count]).unwrap();
        }
    };
    tokio::join!(sending, reading);
    let targets: Vec<String> = backend.seen().iter().map(|r| r.target().into()).collect();
    let expected: Vec<String> = (0..COUNT).map(|count| format!("/{count}")).collect();
    assert_eq!(targets, expected);
}

/// As nginx has it: who closes its half while a backend is waited for is taken for gone.
#[tokio::test]
async fn a_client_that_stops_sending_has_left_its_request() {
    let backend = slow().await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    client.send(get("/slow")).await;
    backend.reached(1).await;
    client.end_sending().await;
    backend.has_open(0).await;
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn half_closed_client_gets_answers_that_need_no_backend() {
    let backend = slow().await;
    let proxy = Proxy::passthrough(&backend).await;
    let own = get("/_crossfade/transport");
    let mut client = proxy.client().await;
    client.send(own.repeat(3) + "GET  / HTTP/1.1\r\n\r\n").await;
    client.end_sending().await;
    for _ in 0..3 {
        assert_eq!(client.response().await.status(), 200);
    }
    assert_eq!(client.response().await.status(), 400);
    assert_eq!(client.rest().await, b"");
    assert!(backend.seen().is_empty());
}
