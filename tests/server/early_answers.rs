//! Answers that are out before the request is: a client that writes everything before it reads gets them.

use bytes::Bytes;
use hyper::Method;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::harness::{
    Backend, EVERYTHING, Message, Peer, Proxy,
    http2::{Client, whole},
    tls::Authority,
    within,
};

/// More than all buffers on its way hold.
const LARGE: usize = 16 << 20;
static PIECE: &[u8] = &[b'x'; 1 << 16];

/// The answer to a client that reads nothing until it has sent all of a large body.
async fn answer_behind<S>(client: Peer<S>, path: &str) -> Message
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    answer_behind_head(client, path, "").await
}

/// The same, with further fields in the request's head.
async fn answer_behind_head<S>(mut client: Peer<S>, path: &str, fields: &str) -> Message
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let length = format!("Content-Length: {LARGE}\r\n");
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{length}{fields}\r\n");
    client.send(head).await;
    let sending = async {
        for _ in 0..LARGE / PIECE.len() {
            client.send(PIECE).await;
        }
    };
    within("the body to be taken", sending).await;
    client.response().await
}

const ONE_ROUTE: &str = "[[route]]\npath = \"/here\"\nupstream = \"app\"\n";

#[tokio::test]
async fn a_refusal_reaches_a_client_that_sends_first() {
    let backend = Backend::ok().await;
    let proxy = Proxy::before(&backend, "", ONE_ROUTE).await;
    let answer = answer_behind(proxy.client().await, "/elsewhere").await;
    assert_eq!(answer.status(), 404);
    assert_eq!(answer.field("connection"), Some("close"));
}

/// As Java's `HttpClient` sends it.
#[tokio::test]
async fn a_refusal_reaches_a_client_that_offers_another_protocol() {
    let backend = Backend::ok().await;
    let proxy = Proxy::before(&backend, "", ONE_ROUTE).await;
    for offer in ["h2c", "websocket", "TLS/1.2"] {
        let fields = format!(
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {offer}\r\nHTTP2-Settings: AAEAAEAA\r\n"
        );
        let client = proxy.client().await;
        let answer = answer_behind_head(client, "/elsewhere", &fields).await;
        assert_eq!(answer.status(), 404, "{offer}");
    }
}

#[tokio::test]
async fn over_tls_a_refusal_reaches_a_client_that_sends_first() {
    let (authority, backend) = (Authority::new(), Backend::ok().await);
    authority.place("app", &authority.sign(&["app.example"]));
    let server = authority.server("");
    let proxy = Proxy::before(&backend, &server, ONE_ROUTE).await;
    let client = authority.connect(proxy.address).await;
    assert_eq!(answer_behind(client, "/elsewhere").await.status(), 404);
}

#[tokio::test]
async fn a_cap_is_told_to_a_client_that_sends_first() {
    let backend = Backend::ok().await;
    let limits = "[server.limits]\nconnections = 1";
    let proxy = Proxy::before(&backend, limits, EVERYTHING).await;
    let mut first = proxy.client().await;
    first.ask("GET /", "", "").await;
    let answer = answer_behind(proxy.client().await, "/").await;
    assert_eq!(answer.status(), 503);
}

#[tokio::test]
async fn the_admin_api_answers_a_caller_that_sends_first() {
    let backend = Backend::ok().await;
    let proxy = Proxy::before(&backend, "", EVERYTHING).await;
    let admin = proxy.handle.admin.strip_prefix("http://").unwrap();
    let connect = || Peer::connect(admin.parse().unwrap());
    for (path, status) in [("/v1/drain", 421), ("/livez", 405)] {
        for fields in ["", "Connection: Upgrade\r\nUpgrade: h2c\r\n"] {
            let answer = answer_behind_head(connect().await, path, fields).await;
            assert_eq!(answer.status(), status, "{path}");
        }
    }
}

/// Reads the head alone, answers, and closes: the system resets what comes behind.
async fn impatient(answer: impl Into<Vec<u8>>) -> Backend {
    let answer = answer.into();
    Backend::by_hand(move |mut peer, seen| {
        let answer = answer.clone();
        async move {
            let Some(head) = peer.try_head().await else {
                return;
            };
            seen.lock().unwrap().push(head);
            peer.send(answer).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_backends_early_answer_reaches_such_a_client() {
    for answer in [
        "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nfull",
        "HTTP/1.1 413 Too Large\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfull\r\n0\r\n\r\n",
        "HTTP/1.0 413 Too Large\r\n\r\nfull",
    ] {
        let backend = impatient(answer).await;
        let proxy = Proxy::passthrough(&backend).await;
        let came = answer_behind(proxy.client().await, "/").await;
        assert_eq!((came.status(), came.text().as_str()), (413, "full"));
    }
}

#[tokio::test]
async fn http2_early_answers_reach_a_client_that_sends_first() {
    let backend = impatient("HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nfull").await;
    let proxy = Proxy::before(&backend, "", ONE_ROUTE).await;
    for (path, status) in [("/elsewhere", 404), ("/here", 413)] {
        let client = Client::connect(proxy.address).await;
        let request = client.request(Method::POST, path);
        let (response, mut to) = client.begin(request, false).await;
        // Nothing of the answer is looked at before all is sent.
        let sending = async {
            for _ in 0..LARGE / PIECE.len() {
                to.reserve_capacity(PIECE.len());
                while to.capacity() < PIECE.len() {
                    let more = std::future::poll_fn(|cx| to.poll_capacity(cx)).await;
                    more.expect("open").expect("open");
                }
                to.send_data(Bytes::from_static(PIECE), false)
                    .expect("open");
            }
            to.send_data(Bytes::new(), true).expect("open");
        };
        within("the body to be taken", sending).await;
        assert_eq!(whole(response).await.expect("whole").status(), status);
    }
}
