//! What the log says, what it never says, and that nobody waits for it.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::harness::{
    Backend, Folder, JSON, Message, Peer, Process, Socket,
    admin::{get, metric, post},
    eventually, handshake,
    http2_frames::{END_HEADERS, END_STREAM, GOAWAY, HEADERS, RESET, Raw, block, frame},
    process::{End, command},
    reply, request, within,
};

/// No secret of the corpus is without it.
const CANARY: &str = "canary-8c1f";

/// A backend with a stream, a polled list, a socket of its own, and a page for all else; it leaks canaries where it can.
async fn backend() -> Backend {
    Backend::start(|request, mut peer| async move {
        if request.field("upgrade").is_some() {
            let accept = derive_accept_key(request.field("sec-websocket-key").unwrap().as_bytes());
            peer.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\nhello"
            ))
            .await;
            peer.rest().await;
            return None;
        }
        if request.field("accept") == Some("text/event-stream") {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
            peer.try_send(format!("{head}data: {CANARY}\x1b[31m\n\n"))
                .await;
            peer.rest().await;
            return None;
        }
        let fields = format!("Set-Cookie: s={CANARY}\r\nX-Secret: {CANARY}\r\n");
        match request.target().starts_with("/list") {
            // No JSON: the poll fails, and says why.
            true => reply(peer, "200 OK", &fields, &format!("<p>{CANARY}\x07")).await,
            false => reply(peer, "200 OK", &fields, CANARY).await,
        }
    })
    .await
}

fn folder(backend: &Backend, log: &str) -> Folder {
    let folder = Folder(tempfile::tempdir().unwrap());
    folder.write(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nsecret = \"{CANARY}-cookie-secret-of-32-bytes\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n[log]\n{log}\n\
         [upstream.app]\nservers = [\"http://{}\"]\n\
         [[route]]\nname = \"feed\"\npath = \"/feed\"\nupstream = \"app\"\nsource = \"sse\"\n\
         [[route]]\nname = \"list\"\npath = \"/list/{{id}}\"\nupstream = \"app\"\n\
         source = {{kind = \"poll\", every = \"100ms\"}}\n\
         [[route]]\nname = \"rest\"\npath = \"/{{*path}}\"\nupstream = \"app\"\n",
        backend.address
    ));
    folder
}

fn address(public: &str) -> SocketAddr {
    public.strip_prefix("http://").unwrap().parse().unwrap()
}

/// The request, answered or refused.
async fn send(process: &Process, request: impl AsRef<[u8]>) {
    let mut peer = Peer::connect(address(&process.public)).await;
    peer.try_send(request).await;
    peer.try_head().await;
}

/// Requests that carry a secret where secrets are, and bytes that a terminal would obey.
fn hostile() -> Vec<Vec<u8>> {
    let paths = [
        format!("/page?token={CANARY}"),
        format!("/page?a=1&access_token={CANARY}#frag"),
        format!("/page;jsessionid={CANARY}"),
        format!("/page;jsessionid={CANARY}/more;x={CANARY}?b"),
        format!("/feed?cf_after={CANARY}&cf_last_event_id={CANARY}"),
        format!("/list/1?key={CANARY}"),
        format!("/_crossfade/transport?t={CANARY}"),
        format!("/%1b%5b31m%0a%0d?{CANARY}"),
        format!("/a//../%2e%2e/b?{CANARY}"),
        format!("http://a.example/absolute?{CANARY}"),
        format!("http://user:{CANARY}@a.example/absolute"),
    ];
    let fields = [
        format!("Authorization: Bearer {CANARY}\r\n"),
        format!("Authorization: Basic {CANARY}\r\n"),
        format!("Cookie: session={CANARY}; crossfade_unit={CANARY}\r\n"),
        format!("X-Api-Key: {CANARY}\r\n"),
        format!("X-Request-Id: {CANARY}\x1b[2J\r\n"),
        format!("X-Request-Id: {CANARY}\r\n"),
        format!("X-Forwarded-For: {CANARY}\r\nForwarded: for={CANARY}\r\n"),
        format!("traceparent: 00-{CANARY}\r\ntracestate: {CANARY}\r\n"),
        format!("Referer: https://a.example/?{CANARY}\r\nUser-Agent: {CANARY}\r\n"),
        format!("X_Api_Key: {CANARY}\r\n"),
        format!("Transfer-Encoding: {CANARY}\r\n"),
        format!("Content-Length: {CANARY}\r\n"),
        format!("Bad Name: {CANARY}\r\n"),
        format!("X: \0{CANARY}\x1b]0;title\x07\r\n"),
        format!(" folded: {CANARY}\r\n"),
    ];
    let mut corpus: Vec<Vec<u8>> = Vec::new();
    for path in &paths {
        corpus.push(request(&format!("GET {path}"), "", "").into());
        corpus.push(handshake(path, "").into());
        for field in &fields {
            corpus.push(request(&format!("GET {path}"), field, "").into());
        }
    }
    for field in &fields {
        corpus.push(handshake("/feed", field).into());
        corpus.push(request("POST /page", field, CANARY).into());
    }
    for item in [
        format!("crossfade.v1.json, cf.bearer.{CANARY}"),
        format!("cf.bearer.{CANARY}="),
        format!("{CANARY}, crossfade.v1.raw"),
    ] {
        let field = format!("Sec-WebSocket-Protocol: {item}\r\n");
        corpus.push(handshake("/feed", &field).into());
        corpus.push(handshake("/_crossfade/ws", &field).into());
    }
    corpus.extend([
        format!("GET /\x1b[31m?{CANARY} HTTP/1.1\r\nHost: a\r\n\r\n").into(),
        format!("GET /\u{9b}31m?{CANARY} HTTP/1.1\r\nHost: a\r\n\r\n").into(),
        format!("GET / HTTP/1.1\r\nHost: a\x07{CANARY}\r\n\r\n").into(),
        format!("G\x1bET /?{CANARY} HTTP/1.1\r\nHost: a\r\n\r\n").into(),
        format!("GET /?{CANARY}\r\n\r\n").into(),
        format!("\x16\x03\x01{CANARY}\r\n\r\n").into(),
        format!("PROXY TCP4 {CANARY}\r\n\r\n").into(),
    ]);
    corpus
}

/// Everything that is typed into a session.
async fn speak(process: &Process) {
    let token = URL_SAFE_NO_PAD.encode(CANARY);
    let bearer = format!("sec-websocket-protocol: crossfade.v1.json, cf.bearer.{token}");
    let cookie = format!("cookie: s={CANARY}");
    let origin = format!("origin: {}", process.public);
    let fields = [bearer.as_str(), &cookie, &origin];
    let opened = Socket::open(&process.public, "/_crossfade/ws", &fields).await;
    let mut socket = opened.unwrap_or_else(|answer| panic!("{}", answer.status()));
    let token = format!("{CANARY}\x1b[31m");
    for frame in [
        json!({"t": "hello", "token": token}),
        json!({"t": "auth", "id": 1, "token": token}),
        json!({"t": "sub", "id": 2, "path": format!("/list/1?token={CANARY}")}),
        json!({"t": "sub", "id": 3, "path": "/feed", "last_event_id": token}),
        json!({"t": "sub", "id": 4, "path": format!("/\u{1b}{CANARY}")}),
        json!({"t": "req", "id": 5, "method": "POST", "path": "/page", "d": token, "headers": {"authorization": CANARY}}),
        json!({"t": CANARY}),
    ] {
        socket.send(frame).await;
    }
    socket.send(json!({"t": "ping"})).await;
    socket.frame("pong").await;
    socket.say_goodbye(4321, CANARY).await;
}

async fn drive(log: &str) -> (Vec<u8>, usize) {
    let backend = backend().await;
    let folder = folder(&backend, log);
    let process = Process::start(&folder.config(), &[]);
    let corpus = hostile();
    for request in &corpus {
        send(&process, request).await;
    }
    speak(&process).await;
    process.line(&["session", "4321"]).await;
    // The admin API has secrets of its own.
    post(
        &process.admin,
        "/v1/sessions/notify",
        &format!("{{\"msg\":\"{CANARY}\"}}"),
    )
    .await;
    get(
        &process.admin,
        &format!("/v1/explain?path=/x&user={CANARY}"),
    )
    .await;
    folder.write(&format!("[server]\n{CANARY} = 1\n"));
    post(&process.admin, "/v1/config/reload", "").await;
    process.signal("INT");
    let End { code, stderr, .. } = process.end().await;
    assert_eq!(code, Some(0));
    (stderr, corpus.len())
}

fn judge(stderr: &[u8], requests: usize, finished: &str) {
    let text = std::str::from_utf8(stderr).expect("UTF-8");
    let lines = text.lines().filter(|line| line.contains(finished)).count();
    assert!(lines >= requests, "{lines} access lines of {requests}");
    let encoded = URL_SAFE_NO_PAD.encode(CANARY);
    for line in text.split('\n') {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        // What an operator wrote into the file is told as it is; its key is no secret.
        let is_secret = line.contains(CANARY) && !line.contains("proxy.toml");
        assert!(!is_secret && !line.contains(&encoded), "{line}");
    }
}

#[tokio::test]
async fn no_secret_and_no_control_byte_reaches_the_log_as_text() {
    let (stderr, requests) = drive("level = \"trace\"").await;
    judge(&stderr, requests - 7, " request request_id=");
}

#[tokio::test]
async fn no_secret_and_no_control_byte_reaches_the_log_as_json() {
    let (stderr, requests) = drive("level = \"trace\"\nformat = \"json\"").await;
    judge(&stderr, requests - 7, "\"message\":\"request\"");
    for line in String::from_utf8(stderr).unwrap().lines() {
        let parsed: Result<Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok(), "{line}");
    }
}

async fn parsed(process: &Process, parts: &[&str]) -> Value {
    serde_json::from_str(&process.line(parts).await).unwrap()
}

#[tokio::test]
async fn a_request_leaves_one_line_that_says_everything() {
    let backend = backend().await;
    let process = Process::start(&folder(&backend, "format = \"json\"").config(), &[]);
    let mut client = Peer::connect(address(&process.public)).await;
    let answer = client.ask("POST /page?x=1", "", "12345").await;
    let id = answer.field("x-request-id").unwrap();
    let line = parsed(&process, &[id]).await;
    for (key, value) in [
        ("message", json!("request")),
        ("level", json!("INFO")),
        ("method", json!("POST")),
        ("path", json!("/page")),
        ("protocol", json!("HTTP/1.1")),
        ("route", json!("rest")),
        ("upstream", json!("app")),
        ("cohort", json!("")),
        ("action", json!("passthrough")),
        ("side", json!("")),
        ("status", json!(200)),
        ("remote", json!("127.0.0.1")),
        ("bytes_in", json!(5)),
        ("bytes_out", json!(CANARY.len())),
    ] {
        assert_eq!(line[key], value, "{key} in {line}");
    }
    let time = |key: &str| {
        line[key]
            .as_f64()
            .unwrap_or_else(|| panic!("{key} in {line}"))
    };
    assert!(time("upstream_ms") <= time("first_byte_ms"), "{line}");
    assert!(time("first_byte_ms") <= time("total_ms"), "{line}");

    let answer = client.ask("GET /list/7", "", "").await;
    let line = parsed(&process, &[answer.field("x-request-id").unwrap()]).await;
    assert_eq!(line["cohort"], "websocket", "{line}");
}

#[tokio::test]
async fn a_disbelieved_forwarder_is_told_of_once() {
    let backend = backend().await;
    let folder = folder(&backend, "format = \"json\"");
    let process = Process::start(&folder.config(), &[]);
    let from = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 0);
    let told = "X-Forwarded-For: 192.0.2.1\r\n";
    for (place, request) in [
        // It matters to no request that is passed through, and a peer without the field is no proxy.
        ("127.0.0.3", request("GET /page", told, "")),
        ("127.0.0.4", handshake("/feed", "")),
        ("127.0.0.1", handshake("/feed", told)),
        ("127.0.0.2", handshake("/list/1", told)),
        (
            "127.0.0.1",
            request("GET /list/1", "Forwarded: for=192.0.2.2\r\n", ""),
        ),
        (
            "127.0.0.1",
            handshake("/feed", "X-Forwarded-For: 192.0.2.3\r\n"),
        ),
        ("127.0.0.2", handshake("/feed", told)),
    ] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(from(place)).unwrap();
        let mut client = Peer::new(socket.connect(address(&process.public)).await.unwrap());
        client.send(request).await;
        client.head().await;
    }
    process.signal("INT");
    let stderr = process.end().await.stderr;
    let text = String::from_utf8(stderr).unwrap();
    let warnings = text.lines().filter(|line| line.contains("X-Forwarded-For"));
    let warnings: Vec<Value> = warnings
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let peers: Vec<_> = warnings.iter().map(|line| &line["peer"]).collect();
    assert_eq!(peers, ["127.0.0.1", "127.0.0.2"]);
    for warning in &warnings {
        let says = warning["message"].as_str().unwrap();
        assert_eq!(warning["level"], "WARN");
        assert!(says.contains("server.trusted_proxies"), "{says}");
    }
}

#[tokio::test]
async fn a_dropped_field_is_told_of_once() {
    let backend = backend().await;
    let process = Process::start(&folder(&backend, "format = \"json\"").config(), &[]);
    for field in ["X_User: 1\r\nX_Other: 2\r\n", "X_Third: 3\r\n"] {
        let mut client = Peer::connect(address(&process.public)).await;
        client.ask("GET /page", field, "").await;
    }
    assert_eq!(
        metric(&process.admin, "crossfade_fields_dropped_total").await,
        3.0
    );
    process.signal("INT");
    let stderr = process.end().await.stderr;
    let text = String::from_utf8(stderr).unwrap();
    let mut warnings = text
        .lines()
        .filter(|line| line.contains("field is dropped"));
    let warning: Value = serde_json::from_str(warnings.next().unwrap()).unwrap();
    assert_eq!(
        (&warning["name"], &warning["level"]),
        (&json!("x_user"), &json!("WARN"))
    );
    let says = warning["message"].as_str().unwrap();
    assert!(says.contains("server.underscore_headers"), "{says}");
    assert_eq!(warnings.next(), None);
}

#[tokio::test]
async fn a_reset_of_http_2s_engine_is_told_with_its_reason() {
    let backend = backend().await;
    let process = Process::start(&folder(&backend, "format = \"json\"").config(), &[]);
    let stream = (RESET, "malformed");
    // What is no UTF-8 ends the whole connection.
    let connection = (GOAWAY, "h2_protocol");
    for (path, (kind, reason)) in [
        (&b"/?q=\""[..], stream),
        (b"/<", stream),
        (b"/>", stream),
        (b"/?q=\xff", connection),
        (b"/\xa4\xb3", connection),
    ] {
        let counter = format!("crossfade_refused_total{{reason=\"{reason}\"}}");
        let before = metric(&process.admin, &counter).await;
        let fields: [(&str, &[u8]); 4] = [
            (":method", b"GET"),
            (":scheme", b"http"),
            (":authority", b"a.example"),
            (":path", path),
        ];
        let mut raw = Raw::connect(address(&process.public)).await;
        let head = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields));
        raw.send(&head).await;
        assert!(raw.next_of(kind).await.is_some(), "{path:?}");
        let counted = async || metric(&process.admin, &counter).await == before + 1.0;
        eventually("the refusal to be counted", counted).await;
    }
    let line = parsed(&process, &["stream reset", "malformed"]).await;
    assert_eq!(line["remote"], "127.0.0.1", "{line}");
    let detail = line["detail"].as_str().unwrap();
    assert!(detail.contains(":path"), "{line}");
    let line = parsed(&process, &["connection refused", "h2_protocol"]).await;
    assert_eq!(line["remote"], "127.0.0.1", "{line}");
    // None of them was the backend's.
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn a_refused_answer_is_told_with_its_reason_seldom() {
    let backend = Backend::start(|request: Message, mut peer: Peer| async move {
        let answer = match request.target() {
            "/cut" => "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
            _ => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        };
        peer.try_send(answer).await;
        None
    })
    .await;
    let process = Process::start(&folder(&backend, "format = \"json\"").config(), &[]);
    let mut client = Peer::connect(address(&process.public)).await;
    client.send(request("GET /cut", "", "")).await;
    client.rest().await;
    let mut client = Peer::connect(address(&process.public)).await;
    for _ in 0..50 {
        assert_eq!(client.ask("GET /page", "", "").await.status(), 502);
    }
    process.signal("INT");
    let stderr = process.end().await.stderr;
    let text = String::from_utf8(stderr).unwrap();
    let warnings = text.lines().filter(|line| line.contains("was refused"));
    let warnings: Vec<Value> = warnings
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!((2..50).contains(&warnings.len()), "{warnings:?}");
    for (line, reason) in [
        (&warnings[0], "the answer broke off"),
        (&warnings[1], "its Content-Length is not one number"),
    ] {
        assert_eq!(
            (&line["level"], &line["upstream"]),
            (&json!("WARN"), &json!("app"))
        );
        assert!(line["reason"].as_str().unwrap().contains(reason), "{line}");
    }
}

#[tokio::test]
async fn a_session_leaves_a_line_when_it_ends() {
    let backend = backend().await;
    let process = Process::start(&folder(&backend, "format = \"json\"").config(), &[]);
    let opened = Socket::open(&process.public, "/feed", &[JSON]).await;
    let mut socket = opened.unwrap_or_else(|answer| panic!("{}", answer.status()));
    let conn = socket.frame("welcome").await["conn"].clone();
    socket.frame("ev").await;
    socket.send(json!({"t": "ping"})).await;
    socket.frame("pong").await;
    post(
        &process.admin,
        "/v1/sessions/close",
        r#"{"all":true,"code":4200}"#,
    )
    .await;
    assert_eq!(socket.closed().await, 4200);
    let line = parsed(&process, &["\"message\":\"session\""]).await;
    for (key, value) in [
        ("session", conn),
        ("route", json!("feed")),
        ("protocol", json!("json")),
        ("cohort", json!("websocket")),
        ("side", json!("edge")),
        ("code", json!(4200)),
        ("reason", json!("drain")),
        ("remote", json!("127.0.0.1")),
    ] {
        assert_eq!(line[key], value, "{key} in {line}");
    }
    assert!(line["bytes_in"].as_u64() > Some(0), "{line}");
    assert!(line["bytes_out"].as_u64() > Some(100), "{line}");
    assert!(line["total_ms"].is_f64(), "{line}");
    let id = line["request_id"].as_str().unwrap();
    let handshake = parsed(&process, &["\"message\":\"request\"", id]).await;
    assert_eq!(handshake["action"], "websocket", "{handshake}");
    assert_eq!(handshake["status"], 101, "{handshake}");
}

#[tokio::test]
async fn a_tunnel_leaves_a_line_when_it_ends() {
    let backend = backend().await;
    let process = Process::start(&folder(&backend, "format = \"json\"").config(), &[]);
    let mut client = Peer::connect(address(&process.public)).await;
    client.send(handshake("/socket?token=1", "")).await;
    let answer = client.head().await;
    assert_eq!(answer.status(), 101);
    client.send("12345").await;
    assert_eq!(client.exactly(5).await, b"hello");
    drop(client);
    let line = parsed(&process, &["\"message\":\"tunnel\""]).await;
    for (key, value) in [
        ("request_id", json!(answer.field("x-request-id").unwrap())),
        ("route", json!("rest")),
        ("upstream", json!("app")),
        ("side", json!("downstream")),
        ("remote", json!("127.0.0.1")),
        ("bytes_in", json!(5)),
        ("bytes_out", json!(5)),
    ] {
        assert_eq!(line[key], value, "{key} in {line}");
    }
}

#[tokio::test]
async fn unread_log_loses_lines_and_delays_no_request() {
    let backend = backend().await;
    let folder = folder(&backend, "");
    let process = Process::unread(&mut command(&folder.config()));
    // The pipe takes 64 KiB, the queue a mebibyte: 600 lines of 4 KiB are more than both.
    let long = format!("GET /{}", "x".repeat(4000));
    let mut client = Peer::connect(process.address()).await;
    for _ in 0..600 {
        let answer: Message = within("an answer", client.ask(&long, "", "")).await;
        assert_eq!(answer.status(), 200);
    }
    let dropped = metric(&process.admin, "crossfade_log_lines_dropped_total").await;
    assert!(dropped > 0.0, "{dropped}");
    // It ends in time, too.
    process.signal("INT");
    assert_eq!(process.end().await.code, Some(0));
}
