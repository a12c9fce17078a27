//! Field names keep the case in which they came; those that crossfade writes have a case of their own.

use std::collections::BTreeSet;

use hyper::Method;
use serde_json::json;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::harness::{
    Backend, EVERYTHING, JSON, KEY, Message, Peer, Proxy, asked, handshake, http2::Client, reply,
    request,
};

/// The names of a head as they are spelled, in any order.
fn names(message: &Message) -> BTreeSet<&str> {
    let fields = message.fields.iter();
    fields.map(|(name, _)| name.as_str()).collect()
}

fn assert_names(message: &Message, expected: &[&str]) {
    let (all, lower) = (names(message), |name: &&str| name.to_ascii_lowercase());
    let folded: BTreeSet<String> = all.iter().map(lower).collect();
    for name in expected {
        assert!(all.contains(name), "{name} in {all:?}");
    }
    assert_eq!(folded.len(), all.len(), "{all:?}");
}

/// What crossfade writes into every request.
const OURS: [&str; 7] = [
    "Host",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "Forwarded",
    "X-Real-IP",
    "CDN-Loop",
];

#[tokio::test]
async fn a_request_keeps_the_case_of_what_came() {
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    let came = [
        "AUTHORIZATION",
        "authorizATION-2",
        "Etag",
        "x-lower",
        "X-CSRFToken",
        "user-Agent",
        "COOKIE",
    ];
    let fields: String = came.iter().map(|name| format!("{name}: a=1\r\n")).collect();
    // Nor does what is written anew take its case from the client.
    let ours = "CDN-LOOP: x\r\nX-REQUEST-ID: 1\r\nx-forwarded-FOR: 192.0.2.1\r\nFORWARDED: for=192.0.2.1\r\n";
    let text = format!("POST /a HTTP/1.1\r\nHOST: a\r\ncontent-LENGTH: 2\r\n{ours}{fields}\r\nok");
    client.send(text).await;
    assert_eq!(client.response().await.status(), 200);
    let seen = backend.only();
    assert_names(&seen, &came);
    assert_names(&seen, &OURS);
    assert_names(&seen, &["Content-Length", "X-Request-Id"]);
    // The next one of the connection has a case of its own.
    client
        .ask("GET /b", "Authorization: b\r\nX-lower: 1\r\n", "")
        .await;
    assert_names(&backend.asked_for("/b")[0], &["Authorization", "X-lower"]);
    let chunked = "POST /c HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\nCOOKIE: crossfade_x=1; a=2\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    client.send(chunked).await;
    client.response().await;
    // A field of the client's from which something of ours was taken is written anew.
    assert_names(
        &backend.asked_for("/c")[0],
        &["Transfer-Encoding", "Cookie"],
    );
}

#[tokio::test]
async fn a_request_over_http2_leaves_as_the_rfcs_have_it() {
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    let client = Client::connect(proxy.address).await;
    let asking = client.request(Method::POST, "/a");
    let asking = asking
        .header("authorization", "x")
        .header("x-csrftoken", "1")
        .header("last-event-id", "7")
        .header("dnt", "1")
        .header("sec-ch-ua", "x");
    assert_eq!(client.ask(asking, b"ok").await.status(), 200);
    let seen = backend.only();
    assert_names(&seen, &OURS);
    let names = [
        "Authorization",
        "X-Csrftoken",
        "Last-Event-ID",
        "DNT",
        "Sec-CH-UA",
    ];
    assert_names(&seen, &names);
}

#[tokio::test]
async fn an_answer_keeps_the_case_of_what_came() {
    let backend = Backend::start(|request, peer: Peer| async move {
        let fields = match request.target() {
            "/usual" => "ETag: 1\r\nServer: x\r\n",
            _ => "etag: 1\r\nX-POWERED-by: x\r\nVARY: a\r\naccess-control-ALLOW-origin: *\r\nset-cookie: a=1\r\nset-cookie: b=1\r\n",
        };
        reply(peer, "200 OK", fields, "ok").await
    })
    .await;
    let cors = "[cors.default]\norigins = [\"https://a.example\"]\n[[route]]\npath = \"/{*path}\"\nupstream = \"app\"\n";
    let plain = Proxy::passthrough(&backend).await;
    let marked = Proxy::before(&backend, "", cors).await;
    let odd = ["etag", "X-POWERED-by", "set-cookie"];
    let ours = ["Content-Length", "X-Request-Id", "Date"];
    for _ in 0..2 {
        let mut client = plain.client().await;
        let got = client.ask("GET /odd", "", "").await;
        assert_names(&got, &odd);
        assert_names(&got, &["VARY", "access-control-ALLOW-origin"]);
        assert_names(&got, &ours);
        assert_eq!(
            (got.text().as_str(), got.all("set-cookie").len()),
            ("ok", 2)
        );
        let got = client.ask("GET /usual", "", "").await;
        assert_names(&got, &["ETag", "Server", "Content-Length", "X-Request-Id"]);
    }
    let mut client = marked.client().await;
    let got = client
        .ask("GET /odd", "Origin: https://a.example\r\n", "")
        .await;
    assert_names(&got, &odd);
    assert_names(&got, &["Vary", "Access-Control-Allow-Origin"]);
}

#[tokio::test]
async fn an_answer_of_ours_is_spelled_as_the_rfcs_have_it() {
    let backend = crate::harness::quiet_stream().await;
    let route = "[[route]]\npath = \"/s\"\nupstream = \"app\"\nsource = \"sse\"\n";
    let proxy = Proxy::before(&backend, "", route).await;
    let got = proxy.client().await.ask("GET /none", "", "").await;
    let usual = [
        "Content-Type",
        "Cache-Control",
        "Content-Length",
        "X-Request-Id",
    ];
    assert_names(&got, &usual);
    let (got, _) = asked(&proxy, handshake("/s", "")).await;
    assert_eq!(got.status(), 101);
    assert_names(&got, &["Connection", "Upgrade", "Sec-WebSocket-Accept"]);
}

#[tokio::test]
async fn a_tunnel_keeps_the_case_of_what_came() {
    let backend = Backend::start(|request, mut peer: Peer| async move {
        let key = request.field("sec-websocket-key").unwrap();
        let accept = derive_accept_key(key.as_bytes());
        peer.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUPGRADE: websocket\r\nCONNECTION: Upgrade\r\n\
             SEC-WebSocket-Accept: {accept}\r\nx-MINE: 1\r\n\r\nEtag: hello\r\n\r\n"
        ))
        .await;
        peer.rest().await;
        None
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let fields = format!(
        "CONNECTION: Upgrade\r\nUPGRADE: websocket\r\nSec-Websocket-Version: 13\r\n\
         sec-websocket-key: {KEY}\r\nx-MINE: 1\r\n"
    );
    let mut client = proxy.client().await;
    client.send(request("GET /t", &fields, "")).await;
    let got = client.head().await;
    assert_names(
        &got,
        &["Connection", "Upgrade", "SEC-WebSocket-Accept", "x-MINE"],
    );
    assert_eq!(client.exactly(15).await, b"Etag: hello\r\n\r\n");
    let came = [
        "Connection",
        "Upgrade",
        "Sec-Websocket-Version",
        "sec-websocket-key",
        "x-MINE",
    ];
    assert_names(&backend.only(), &came);
}

const HOUSE: &str = r#"
[auth.session]
kind = "forward"
upstream = "app"
path = "/me"
user = "id"
headers = ["Authorization", "X-API-KEY"]
csrf = {header = "X-CSRFToken", cookie = "csrftoken"}
identity = {user = "X-USER"}

[[route]]
path = "/stream"
upstream = "app"
auth = "session"
source = "sse"
vary = ["X-TenantID"]
calls = {methods = ["POST"], headers = ["x-call"]}

[[route]]
path = "/list"
upstream = "app"
auth = "session"
source = {kind = "poll", every = "100ms"}

[[route]]
path = "/{*path}"
upstream = "app"
auth = "session"
"#;

async fn house() -> Backend {
    Backend::start(|request: Message, mut peer: Peer| async move {
        match request.target() {
            "/me" => {
                reply(
                    peer,
                    "200 OK",
                    "Content-Type: application/json\r\n",
                    r#"{"id":"ann"}"#,
                )
                .await
            }
            "/list" => {
                let fields = "Content-Type: application/json\r\netag: \"1\"\r\n";
                reply(peer, "200 OK", fields, "[1]").await
            }
            "/stream" if request.line.starts_with("GET") => {
                let head =
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nid: 7\ndata: 1\n\n";
                peer.send(head).await;
                peer.rest().await;
                None
            }
            _ => reply(peer, "200 OK", "", "ok").await,
        }
    })
    .await
}

#[tokio::test]
async fn what_is_configured_is_spelled_as_configured() {
    let backend = house().await;
    let proxy = Proxy::before(&backend, "", HOUSE).await;
    let login = [
        "AUTHORIZATION: Bearer x",
        "x-api-key: k",
        "x-tenantid: t",
        "x-user: eve",
    ];
    let mut socket = proxy
        .open("/_crossfade/ws", &[&[JSON], &login[..]].concat())
        .await;
    socket.frame("welcome").await;
    for (id, path) in [(1, "/stream"), (2, "/list")] {
        socket
            .send(json!({"t": "sub", "id": id, "path": path}))
            .await;
        socket.frame("ok").await;
    }
    let headers = json!({"X-CALL": "1", "x-csrftoken": "c"});
    let call = json!({"t": "req", "id": 3, "method": "POST", "path": "/stream", "headers": headers, "d": 1});
    socket.send(call).await;
    socket.frame("res").await;
    backend.reached(6).await;
    assert_names(
        &backend.asked_for("/me")[0],
        &["Authorization", "X-API-KEY", "CDN-Loop", "Host"],
    );
    let streams = backend.asked_for("/stream");
    let (stream, call) = (
        &streams[0],
        streams.iter().find(|r| r.line.starts_with("POST")).unwrap(),
    );
    assert_names(
        stream,
        &[
            "X-USER",
            "X-TenantID",
            "Authorization",
            "Accept",
            "X-Forwarded-Host",
        ],
    );
    assert_names(
        call,
        &[
            "X-USER",
            "x-call",
            "X-CSRFToken",
            "Content-Type",
            "Content-Length",
        ],
    );
    let polls = backend.asked_for("/list");
    assert_names(&polls[0], &["X-USER", "Authorization"]);
    assert_names(&polls[1], &["If-None-Match"]);

    // So it is for what passes through, over HTTP/1.1 and over HTTP/2.
    let mut client = proxy.client().await;
    let fields = "Authorization: Bearer x\r\nx-csrftoken: c\r\nx-user: eve\r\nx-tenantid: t\r\n";
    client.ask("GET /one", fields, "").await;
    let one = &backend.asked_for("/one")[0];
    assert_names(one, &["X-USER", "X-CSRFToken", "x-tenantid"]);
    assert_eq!(one.field("x-user"), Some("ann"));
    let client = Client::connect(proxy.address).await;
    let asking = client
        .request(Method::GET, "/two")
        .header("authorization", "Bearer x");
    let asking = asking.header("x-csrftoken", "c").header("x-tenantid", "t");
    assert_eq!(client.ask(asking, b"").await.status(), 200);
    let two = &backend.asked_for("/two")[0];
    assert_names(
        two,
        &["X-USER", "X-CSRFToken", "X-TenantID", "Authorization"],
    );
}

#[tokio::test]
async fn a_stream_is_resumed_by_a_name_that_is_spelled_so() {
    let backend = house().await;
    let route = "[[route]]\npath = \"/stream\"\nupstream = \"app\"\nsource = \"sse\"\n";
    let proxy = Proxy::before(&backend, "", &(route.to_owned() + EVERYTHING)).await;
    let target = "GET /stream?cf_last_event_id=7";
    proxy.client().await.send(request(target, "", "")).await;
    backend.reached(1).await;
    assert_names(&backend.only(), &["Last-Event-ID"]);
}
