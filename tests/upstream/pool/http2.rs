//! HTTP/2 towards backends.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use hyper::{Response, Version};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::harness::{
    EVERYTHING, Proxy, eventually, request,
    tls_backend::{Authority, Modern},
    within,
};

async fn before(url: &str, more: &str) -> Proxy {
    let upstream = format!("[upstream.app]\nservers = [{url:?}]\nhttp2 = true\n{more}\n");
    Proxy::start("", &(upstream + EVERYTHING)).await
}

async fn in_the_clear(backend: &Modern) -> Proxy {
    before(&format!("http://{}", backend.address), "").await
}

#[tokio::test]
async fn requests_go_by_prior_knowledge_over_one_connection() {
    let backend = Modern::start(None, true).await;
    let proxy = in_the_clear(&backend).await;
    let mut client = proxy.client().await;
    let answer = client.ask("POST /a?b=c", "X-Mine: 1\r\n", "body").await;
    assert_eq!(
        (answer.status(), answer.text()),
        (200, "HTTP/2.0 body".to_owned())
    );
    let seen = backend.only();
    assert_eq!(seen.uri, "http://a.example/a?b=c");
    assert_eq!(seen.headers["x-mine"], "1");
    assert_eq!(seen.headers["te"], "trailers");
    assert_eq!(seen.headers["content-length"], "4");
    for gone in ["host", "connection", "transfer-encoding"] {
        assert!(!seen.headers.contains_key(gone), "{seen:?}");
    }
    for method in ["GET", "DELETE", "HEAD"] {
        let answer = client.ask(&format!("{method} /"), "", "").await;
        assert_eq!(answer.status(), 200);
    }
    let chunked = "Transfer-Encoding: chunked\r\n";
    let mut text = request("POST /", chunked, "");
    text += "3\r\nabc\r\n0\r\n\r\n";
    client.send(text).await;
    assert_eq!(client.response().await.text(), "HTTP/2.0 abc");
    assert_eq!(backend.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn trailers_come_through() {
    let backend = Modern::start(None, true).await;
    let proxy = in_the_clear(&backend).await;
    let mut client = proxy.client().await;
    let fields = "TE: trailers\r\nConnection: TE\r\n";
    let answer = client.ask("GET /trailers", fields, "").await;
    assert_eq!(answer.text(), "HTTP/2.0 ");
    let trailers = [("X-Checksum".to_owned(), "abc".to_owned())];
    assert_eq!(answer.trailers, trailers);
    assert_eq!(backend.only().headers["te"], "trailers");
}

#[tokio::test]
async fn more_connections_are_made_when_the_streams_are_used_up() {
    let backend = Modern::start(None, true).await;
    let proxy = in_the_clear(&backend).await;
    // The backend's limit, two, is known from the first answer on.
    assert_eq!(
        proxy.client().await.ask("GET /", "", "").await.status(),
        200
    );
    let waiting = join_all((0..5).map(|_| async {
        let mut client = proxy.client().await;
        client.ask("GET /wait", "", "").await.status()
    }));
    let watching = async {
        eventually("all to arrive", async || backend.seen().len() == 6).await;
        backend.gate.add_permits(5);
    };
    let (statuses, ()) = within("all answers", async { tokio::join!(waiting, watching) }).await;
    assert_eq!(statuses, [200; 5]);
    let used: BTreeSet<_> = backend.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(used, BTreeSet::from([1, 2, 3]));
}

#[tokio::test]
async fn a_server_that_does_not_choose_it_gets_http_1() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    for (chooses, version) in [
        (&["http/1.1"][..], Version::HTTP_11),
        (&["h2", "http/1.1"][..], Version::HTTP_2),
        (&[][..], Version::HTTP_11),
    ] {
        let acceptor = authority.vouch("app.internal", 4000, chooses);
        let backend = Modern::start(Some(acceptor), false).await;
        let tls = format!("tls = {{ca = {ca:?}, server_name = \"app.internal\"}}");
        let proxy = before(&format!("https://{}", backend.address), &tls).await;
        let mut client = proxy.client().await;
        for _ in 0..3 {
            let answer = client.ask("POST /", "", "abc").await;
            assert_eq!(answer.text(), format!("{version:?} abc"), "{chooses:?}");
        }
        assert_eq!(backend.connections.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn upgrades_go_by_http_1() {
    let backend = crate::harness::Backend::start(|request, mut peer| async move {
        assert_eq!(request.line, "GET /socket HTTP/1.1");
        let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(
            request.field("sec-websocket-key").unwrap().as_bytes(),
        );
        peer.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\nhello"
        ))
        .await;
        peer.byte().await;
        None
    })
    .await;
    let proxy = before(&format!("http://{}", backend.address), "").await;
    let mut client = proxy.client().await;
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    client.send(request("GET /socket", fields, "")).await;
    assert_eq!(client.head().await.status(), 101);
    assert_eq!(client.exactly(5).await, b"hello");
}

/// Refuses the first request of every odd connection in one way, and answers all others.
async fn moody(how: fn(&mut Refusal)) -> (String, Arc<AtomicUsize>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let refused = Arc::new(AtomicUsize::new(0));
    let count = refused.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        for number in 1.. {
            let (stream, _) = listener.accept().await.unwrap();
            let count = count.clone();
            open.spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let mut is_first = number % 2 == 1;
                while let Some(Ok((_, respond))) = connection.accept().await {
                    let mut refusal = Refusal {
                        connection: &mut connection,
                        respond,
                    };
                    if std::mem::take(&mut is_first) {
                        count.fetch_add(1, Ordering::SeqCst);
                        how(&mut refusal);
                    } else {
                        let answer = Response::builder().status(204).body(()).unwrap();
                        refusal.respond.send_response(answer, true).unwrap();
                    }
                }
            });
        }
    });
    (url, refused, tasks)
}

struct Refusal<'c> {
    connection: &'c mut h2::server::Connection<tokio::net::TcpStream, bytes::Bytes>,
    respond: h2::server::SendResponse<bytes::Bytes>,
}

#[tokio::test]
async fn refused_stream_is_sent_again_for_any_method() {
    let refuse = |refusal: &mut Refusal<'_>| refusal.respond.send_reset(h2::Reason::REFUSED_STREAM);
    let (url, refused, _tasks) = moody(refuse).await;
    let proxy = before(&url, "").await;
    let answer = proxy.client().await.ask("DELETE /a", "", "").await;
    assert_eq!(answer.status(), 204);
    assert_eq!(refused.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_may_have_been_executed_does_not_go_again() {
    let cancel = |refusal: &mut Refusal<'_>| refusal.respond.send_reset(h2::Reason::INTERNAL_ERROR);
    let (url, refused, _tasks) = moody(cancel).await;
    let proxy = before(&url, "").await;
    let answer = proxy.client().await.ask("DELETE /a", "", "").await;
    assert_eq!(answer.status(), 502);
    assert_eq!(refused.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn connection_after_goaway_finishes_and_is_not_reused() {
    let part = |refusal: &mut Refusal<'_>| {
        refusal.connection.graceful_shutdown();
        let answer = Response::builder().status(200).body(()).unwrap();
        refusal.respond.send_response(answer, true).unwrap();
    };
    let (url, parted, _tasks) = moody(part).await;
    let proxy = before(&url, "").await;
    let mut client = proxy.client().await;
    assert_eq!(client.ask("POST /a", "", "").await.status(), 200);
    for _ in 0..20 {
        assert_eq!(client.ask("POST /a", "", "").await.status(), 204);
    }
    assert_eq!(parted.load(Ordering::SeqCst), 1);
}
