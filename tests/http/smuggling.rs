//! A corpus of malformed and ambiguous requests: none reaches the backend in another shape than
//! was decided upon.

use crate::harness::{Backend, Peer, Proxy};

/// Head lines that are wrong wherever they stand, with the status that says so.
const WRONG_FIELDS: &[(&str, u16)] = &[
    // Two lengths, or none that is one.
    ("Content-Length: 3\r\nTransfer-Encoding: chunked", 400),
    ("Transfer-Encoding: chunked\r\nContent-Length: 3", 400),
    ("Content-Length: 0\r\nTransfer-Encoding: chunked", 400),
    ("content-length: 3\r\ntransfer-encoding:chunked", 400),
    ("Content-Length: 3\r\nContent-Length: 3", 400),
    ("Content-Length: 3\r\nContent-Length: 0", 400),
    ("Content-Length: 0\r\nX: 1\r\nContent-Length: 3", 400),
    ("Content-Length: 3,3", 400),
    ("Content-Length: 3, 3", 400),
    ("Content-Length: 3;3", 400),
    ("Content-Length: +3", 400),
    ("Content-Length: -3", 400),
    ("Content-Length: 3.0", 400),
    ("Content-Length: 0x3", 400),
    ("Content-Length: 3e0", 400),
    ("Content-Length: \"3\"", 400),
    ("Content-Length: 3 0", 400),
    ("Content-Length: \u{663}", 400),
    ("Content-Length:", 400),
    ("Content-Length: ", 400),
    ("Content-Length: 18446744073709551619", 400),
    ("Content-Length: 99999999999999999999999999", 400),
    // Transfer codings that are not exactly `chunked`.
    ("Transfer-Encoding: Chunked", 400),
    ("Transfer-Encoding: CHUNKED", 400),
    ("Transfer-Encoding: xchunked", 400),
    ("Transfer-Encoding: chunkedx", 400),
    ("Transfer-Encoding: chunked,", 400),
    ("Transfer-Encoding: ,chunked", 400),
    ("Transfer-Encoding: chunked, chunked", 400),
    ("Transfer-Encoding: chunked, identity", 400),
    ("Transfer-Encoding: identity, chunked", 400),
    ("Transfer-Encoding: identity", 400),
    ("Transfer-Encoding: gzip", 400),
    ("Transfer-Encoding: gzip, chunked", 400),
    (
        "Transfer-Encoding: deflate\r\nTransfer-Encoding: chunked",
        400,
    ),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        400,
    ),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        400,
    ),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", 400),
    ("Transfer-Encoding: \"chunked\"", 400),
    ("Transfer-Encoding: 'chunked'", 400),
    ("Transfer-Encoding: chunked;q=0", 400),
    ("Transfer-Encoding: chunked; x", 400),
    ("Transfer-Encoding: chu nked", 400),
    ("Transfer-Encoding: cow", 400),
    ("Transfer-Encoding: \u{b}chunked", 400),
    ("Transfer-Encoding: chunked\u{b}", 400),
    ("Transfer-Encoding: \u{a0}chunked", 400),
    ("Transfer-Encoding: null", 400),
    ("Transfer-Encoding:", 400),
    // Fields that are none.
    ("Transfer-Encoding : chunked", 400),
    ("Transfer-Encoding\t: chunked", 400),
    ("Content-Length : 3", 400),
    ("X: y\r\n Transfer-Encoding: chunked", 400),
    ("X: y\r\n\tTransfer-Encoding: chunked", 400),
    (" Transfer-Encoding: chunked", 400),
    ("\tTransfer-Encoding: chunked", 400),
    ("Transfer-Encoding:\r\n chunked", 400),
    ("X: y\rTransfer-Encoding: chunked", 400),
    ("X: y\nTransfer-Encoding: chunked", 400),
    ("X: y\r\rTransfer-Encoding: chunked", 400),
    ("X: y\n\rTransfer-Encoding: chunked", 400),
    ("X: y\0Transfer-Encoding: chunked", 400),
    ("X\0: y", 400),
    ("X: \u{7f}", 400),
    ("X: \u{1}", 400),
    ("X: \u{1b}[2J", 400),
    ("X: \u{c}", 400),
    ("X", 400),
    (":", 400),
    (": x", 400),
    ("X Y: z", 400),
    ("X\u{e9}: z", 400),
    ("\u{0}", 400),
    ("(X): z", 400),
    ("X\\: z", 400),
    ("X/Y: z", 400),
    ("X@: z", 400),
    ("[X]: z", 400),
    ("X;: z", 400),
    ("X,Y: z", 400),
    ("X=Y: z", 400),
    ("{X}: z", 400),
    ("X?: z", 400),
    ("\"X\": z", 400),
    ("X<: z", 400),
    // A second or a wrong host.
    ("Host: b.example", 400),
    ("host: a.example", 400),
    // Blanks that not everybody takes off.
    ("Content-Length:\t3", 400),
    ("Transfer-Encoding:\tchunked", 400),
    // Expectations.
    ("Expect: 100-continue, x", 417),
    ("Expect: x", 417),
];

/// First lines and hosts that are wrong.
const WRONG_HEADS: &[(&str, u16)] = &[
    ("GET /", 400),
    ("GET  / HTTP/1.1\r\nHost: a", 400),
    ("GET /  HTTP/1.1\r\nHost: a", 400),
    ("GET / HTTP/1.1 \r\nHost: a", 400),
    ("GET\t/\tHTTP/1.1\r\nHost: a", 400),
    (" GET / HTTP/1.1\r\nHost: a", 400),
    ("\r\nGET / HTTP/1.1\r\nHost: a", 400),
    ("\nGET / HTTP/1.1\r\nHost: a", 400),
    ("GET / HTTP/1.1\nHost: a", 400),
    ("GET / HTTP/1.1\rHost: a", 400),
    ("GET /a b HTTP/1.1\r\nHost: a", 400),
    ("GET / HTTP/1.1 x\r\nHost: a", 400),
    ("GET / http/1.1\r\nHost: a", 400),
    ("GET / HTTP/1.10\r\nHost: a", 400),
    ("GET / HTTP/01.1\r\nHost: a", 400),
    ("GET / HTTP/1,1\r\nHost: a", 400),
    ("GET / HTTP/2.0\r\nHost: a", 400),
    ("GET / HTTP/0.9\r\nHost: a", 400),
    ("GET / HTTPS/1.1\r\nHost: a", 400),
    ("PRI * HTTP/2.0\r\n", 400),
    ("GE(T / HTTP/1.1\r\nHost: a", 400),
    ("G\u{e9}T / HTTP/1.1\r\nHost: a", 400),
    ("\0GET / HTTP/1.1\r\nHost: a", 400),
    ("CONNECT a:443 HTTP/1.1\r\nHost: a:443", 400),
    ("CONNECT / HTTP/1.1\r\nHost: a", 400),
    ("GET a HTTP/1.1\r\nHost: a", 400),
    ("GET a:80 HTTP/1.1\r\nHost: a", 400),
    ("GET * HTTP/1.1\r\nHost: a", 400),
    ("OPTIONS * HTTP/1.1\r\nHost: a", 400),
    ("GET /#x HTTP/1.1\r\nHost: a", 400),
    ("GET /a\\b HTTP/1.1\r\nHost: a", 400),
    ("GET /a%00b HTTP/1.1\r\nHost: a", 400),
    ("GET /a%0 HTTP/1.1\r\nHost: a", 400),
    ("GET /a%gg HTTP/1.1\r\nHost: a", 400),
    ("GET /a\u{7f} HTTP/1.1\r\nHost: a", 400),
    ("GET /../a HTTP/1.1\r\nHost: a", 400),
    ("GET /a/. HTTP/1.1\r\nHost: a", 400),
    ("GET /%2e%2e/a HTTP/1.1\r\nHost: a", 400),
    ("GET /a/%2E%2e%2fb HTTP/1.1\r\nHost: a", 400),
    ("GET /a/..;/b HTTP/1.1\r\nHost: a", 400),
    ("GET https://a/ HTTP/1.1\r\nHost: a", 400),
    ("GET ftp://a/ HTTP/1.1\r\nHost: a", 400),
    ("GET http://b/ HTTP/1.1\r\nHost: a", 400),
    ("GET http://a:81/ HTTP/1.1\r\nHost: a", 400),
    ("GET http://u@a/ HTTP/1.1\r\nHost: a", 400),
    ("GET / HTTP/1.1", 400),
    ("GET / HTTP/1.1\r\nHost:", 400),
    ("GET / HTTP/1.1\r\nHost: ", 400),
    ("GET / HTTP/1.1\r\nHost: a b", 400),
    ("GET / HTTP/1.1\r\nHost: a,b", 400),
    ("GET / HTTP/1.1\r\nHost: a/b", 400),
    ("GET / HTTP/1.1\r\nHost: u@a", 400),
    ("GET / HTTP/1.1\r\nHost: a:", 400),
    ("GET / HTTP/1.1\r\nHost: a:b", 400),
    ("GET / HTTP/1.1\r\nHost: a:80:80", 400),
    ("GET / HTTP/1.1\r\nHost: http://a", 400),
    ("GET / HTTP/1.1\r\nHost: [::1", 400),
    ("GET / HTTP/1.1\r\nHost:\ta", 400),
    ("GET / HTTP/1.1\r\nHost: a..b", 400),
    ("GET / HTTP/1.1\r\nHost: a:080", 400),
    ("TRACE / HTTP/1.1\r\nHost: a", 405),
    ("GET /..%c0%af/a HTTP/1.1\r\nHost: a", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nhost: a", 400),
    (
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked",
        400,
    ),
];

/// Chunked bodies that do not follow the grammar.
const WRONG_CHUNKS: &[&str] = &[
    "x\r\n",
    "\r\n",
    "-1\r\n",
    "+1\r\na\r\n",
    "0x1\r\na\r\n",
    " 1\r\na\r\n",
    "1 \r\na\r\n",
    "1\t\r\na\r\n",
    "1\na\r\n",
    "1\ra\r\n",
    "1\r\nab\r\n",
    "1\r\na\n",
    "1\r\na\n0\r\n\r\n",
    "1\r\na0\r\n\r\n",
    "2\r\na\r\n0\r\n\r\n",
    "1;\0\r\na\r\n",
    "1;x\ry\r\na\r\n",
    "1;x\ny\r\na\r\n",
    "fffffffffffffffff\r\n",
    "10000000000000001\r\na\r\n",
    "0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "0\r\nContent-Length: 5\r\n\r\n",
    "0\r\nHost: b\r\n\r\n",
    "0\r\nX : 1\r\n\r\n",
    "0\r\n X: 1\r\n\r\n",
    "0\r\nX: \0\r\n\r\n",
    "0\n\r\n",
    "0\r\n\n",
    "0\r\nX\r\n\r\n",
];

/// What would be taken for a second request by whoever misread the first.
const SECOND: &str = "GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// The status of the answer; the connection ends with it, and nothing more comes.
async fn refused(proxy: &Proxy, request: &str) -> u16 {
    let mut client = proxy.client().await;
    client.try_send(request).await;
    client.try_send(SECOND).await;
    let answer = client.response().await;
    assert_eq!(
        answer.field("content-type"),
        Some("application/problem+json"),
        "{request:?}"
    );
    assert_eq!(answer.json()["side"], "downstream", "{request:?}");
    assert_eq!(
        answer.json()["request_id"].as_str(),
        answer.field("x-request-id")
    );
    assert_eq!(answer.field("connection"), Some("close"), "{request:?}");
    is_closed_after(&mut client).await;
    answer.status()
}

async fn is_closed_after(client: &mut Peer) {
    let rest = client.rest().await;
    assert_eq!(String::from_utf8_lossy(&rest), "");
}

#[tokio::test]
async fn no_malformed_head_reaches_the_backend() {
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut count = 0;
    for (fields, status) in WRONG_FIELDS {
        let request = format!("POST /a HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n\r\nabc");
        assert_eq!(refused(&proxy, &request).await, *status, "{request:?}");
        count += 1;
    }
    for (head, status) in WRONG_HEADS {
        let request = format!("{head}\r\n\r\n");
        assert_eq!(refused(&proxy, &request).await, *status, "{request:?}");
        count += 1;
    }
    assert!(count > 140, "{count}");
    assert!(backend.seen().is_empty(), "{:?}", backend.seen());
}

#[tokio::test]
async fn nothing_follows_a_broken_rule_of_framing() {
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Content-Length: 3\r\nContent-Length: 4",
        "X: y\r\n z",
    ] {
        let mut client = proxy.client().await;
        let request = format!("POST /a HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n\r\nabc");
        client.send(request + SECOND).await;
        let answer = client.response().await;
        assert_eq!(answer.status(), 400);
        assert_eq!(answer.field("connection"), Some("close"));
        is_closed_after(&mut client).await;
    }
    assert!(backend.seen().is_empty(), "{:?}", backend.seen());
    let metrics = proxy.metrics();
    assert!(
        metrics.contains(r#"crossfade_refused_total{reason="framing"} 1"#),
        "{metrics}"
    );
    assert!(
        metrics.contains(r#"crossfade_refused_total{reason="fold"} 1"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_malformed_request_waits_its_turn_behind_good_ones() {
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    let good = "GET /good HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let bad = "GET /bad HTTP/1.1\r\nHost : a.example\r\n\r\n";
    client.send(format!("{good}{good}{bad}{good}")).await;
    assert_eq!(client.response().await.status(), 200);
    assert_eq!(client.response().await.status(), 200);
    assert_eq!(client.response().await.status(), 400);
    is_closed_after(&mut client).await;
    let seen: Vec<_> = backend.seen();
    assert!(seen.len() == 2 && seen.iter().all(|seen| seen.target() == "/good"));
}

#[tokio::test]
async fn a_body_that_breaks_the_grammar_is_never_completed_upstream() {
    for chunks in WRONG_CHUNKS {
        // Reads whole requests only, so what it records is what it would have acted upon.
        let backend = Backend::ok().await;
        let proxy = Proxy::passthrough(&backend).await;
        let mut client = proxy.client().await;
        let head = "POST /a HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.try_send(format!("{head}{chunks}")).await;
        client.try_send(SECOND).await;
        let answer = client.response().await;
        assert_eq!(answer.status(), 400, "{chunks:?}");
        assert_eq!(answer.json()["side"], "downstream");
        is_closed_after(&mut client).await;
        assert!(
            backend.seen().is_empty(),
            "{chunks:?}: {:?}",
            backend.seen()
        );
    }
}

#[tokio::test]
async fn what_is_let_through_has_one_plain_shape() {
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    for (sent, target, body) in [
        (
            "GET /%61/%7e HTTP/1.1\r\nHost: a.example\r\n\r\n",
            "/a/~",
            "",
        ),
        (
            "GET /a%2fb;c?d=%2e HTTP/1.1\r\nHost: a.example\r\n\r\n",
            "/a%2Fb;c?d=%2e",
            "",
        ),
        (
            "GET http://a.example/x HTTP/1.1\r\nHost: A.example\r\n\r\n",
            "/x",
            "",
        ),
        ("GET //a HTTP/1.1\r\nHost: a.example\r\n\r\n", "//a", ""),
        ("GET / HTTP/1.1\r\nHost:  a.example \r\n\r\n", "/", ""),
        (
            "PUT /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0003\r\n\r\nabc",
            "/a",
            "abc",
        ),
        (
            "PUT /a HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n\
             02;x=y\r\nab\r\n1\r\nc\r\n000\r\n\r\n",
            "/a",
            "abc",
        ),
        (
            "GET /get HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\n\r\nx",
            "/get",
            "x",
        ),
        (
            "GET /get HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n\
             1\r\nx\r\n0\r\n\r\n",
            "/get",
            "x",
        ),
        (
            "POST /none HTTP/1.1\r\nHost: a.example\r\n\r\n",
            "/none",
            "",
        ),
        ("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n", "/", ""),
    ] {
        let before = backend.seen().len();
        let mut client = proxy.client().await;
        client.send(sent).await;
        assert_eq!(client.response().await.status(), 200, "{sent:?}");
        let seen = backend.seen().split_off(before);
        assert_eq!(seen.len(), 1, "{sent:?}");
        assert_eq!(
            (seen[0].target(), seen[0].text().as_str()),
            (target, body),
            "{sent:?}"
        );
        let framed = [
            seen[0].all("content-length"),
            seen[0].all("transfer-encoding"),
        ]
        .concat();
        let is_framed = !body.is_empty() || sent.starts_with("POST");
        assert_eq!(framed.len(), usize::from(is_framed), "{sent:?}");
    }
}

#[tokio::test]
async fn one_client_never_sees_the_answer_to_anothers_leftovers() {
    // This backend answers at once and takes what is left of the body for the next request.
    let backend = Backend::by_hand(|mut peer, seen| async move {
        while let Some(head) = peer.try_head().await {
            let target = head.target().to_owned();
            seen.lock().unwrap().push(head);
            let length = target.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{target}");
            if !peer.try_send(answer).await {
                break;
            }
        }
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut attacker = proxy.client().await;
    let head = "POST /0 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 64\r\n\r\n";
    attacker.send(head).await;
    backend.reached(1).await;
    assert_eq!(attacker.head().await.status(), 200);
    // The answer is over: what is still to come of the request has no way to go.
    backend.has_open(0).await;
    attacker.try_send(format!("{SECOND}{SECOND}")).await;
    for _ in 0..20 {
        let mut victim = proxy.client().await;
        let answer = victim.ask("GET /mine", "", "").await;
        assert_eq!(answer.text(), "/mine");
    }
    let mut seen = backend.seen().into_iter().skip(1);
    assert!(seen.all(|request| request.target() == "/mine"));
}

#[tokio::test]
async fn what_a_backend_sends_beyond_its_answer_is_dropped() {
    let backend = Backend::start(|_, mut peer| async move {
        let long = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        peer.try_send(format!(
            "{long}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
        ))
        .await
        .then_some(peer)
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    for _ in 0..20 {
        assert_eq!(client.ask("GET /", "", "").await.text(), "ok");
    }
}
