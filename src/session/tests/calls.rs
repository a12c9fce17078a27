//! `req`: what reaches the backend, and the three outcomes.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::support::{Client, World, event, presented};
use crate::session::accepted::example;

/// A backend that answers each connection's one request as the test says.
struct Backend(TcpListener);

impl Backend {
    async fn new() -> Self {
        Backend(TcpListener::bind("127.0.0.1:0").await.expect("a port"))
    }

    fn file(&self) -> String {
        let address = self.0.local_addr().expect("bound");
        format!(
            r#"
[upstream.app]
servers = ["http://{address}"]

[[route]]
path = "/api/tasks/{{id}}/cancel"
name = "cancel"
upstream = "app"
calls = {{methods = ["POST", "GET"], headers = ["x-csrftoken"], timeout = "500ms", max_body = "1KiB"}}

[[route]]
path = "/api/tasks"
name = "tasks"
upstream = "app"
source = {{kind = "poll"}}
refresh_on = ["POST /api/tasks/{{id}}/cancel"]

[[route]]
path = "/{{*path}}"
upstream = "app"
"#
        )
    }

    /// The next request, whole, with the connection to answer it on.
    async fn request(&self) -> (String, TcpStream) {
        let (mut stream, _) = self.0.accept().await.expect("a connection");
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes).to_string();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    let is_it = name.eq_ignore_ascii_case("content-length");
                    is_it.then(|| value.parse().expect("a number"))
                });
                if body.len() >= length.unwrap_or(0) {
                    return (text, stream);
                }
            }
            let count = stream.read_buf(&mut bytes).await.expect("a request");
            assert!(count > 0, "the request stops in the middle: {text}");
        }
    }

    async fn answer(&self, answer: &str) -> String {
        let (request, mut stream) = self.request().await;
        stream.write_all(answer.as_bytes()).await.expect("written");
        request
    }
}

async fn ask(client: &mut Client, rest: &str) {
    client
        .send(&format!(
            r#"{{"t":"req","id":3,"path":"/api/tasks/9/cancel",{rest}}}"#
        ))
        .await;
}

fn has_line(request: &str, line: &str) -> bool {
    request
        .lines()
        .any(|found| found.eq_ignore_ascii_case(line))
}

#[tokio::test]
async fn a_request_goes_upstream_with_what_the_client_may_send() {
    let backend = Backend::new().await;
    let world = World::new(&backend.file());
    let mut opening = example();
    opening.presented = presented("session=1", Some("token"));
    opening.handshake.origin = Some("https://app.example".parse().expect("a value"));
    let mut client = world.connect(opening).await;
    client.read().await;
    ask(
        &mut client,
        r#""method":"POST","d":{ "why":"x" },"key":"k1","headers":{"X-CSRFToken":"c","x-evil":"1","cookie":"admin=1"}"#,
    )
    .await;
    let request = backend
        .answer("HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nSet-Cookie: a=b\r\nX-Two: 1\r\nX-Two: 2\r\nContent-Length: 9\r\n\r\n{ \"a\": 1}")
        .await;
    assert!(
        request.starts_with("POST /api/tasks/9/cancel HTTP/1.1\r\n"),
        "{request}"
    );
    for line in [
        "host: app.example",
        "cookie: session=1",
        "authorization: Bearer token",
        "origin: https://app.example",
        "x-csrftoken: c",
        "idempotency-key: k1",
        "content-type: application/json",
        "accept-encoding: identity",
        "x-forwarded-for: 192.0.2.7",
        "x-forwarded-host: app.example",
        "x-forwarded-proto: http",
    ] {
        assert!(has_line(&request, line), "{line} in\n{request}");
    }
    assert!(!request.contains("evil") && !request.contains("admin"));
    assert!(request.ends_with("\r\n\r\n{ \"why\":\"x\" }"), "{request}");
    let text = client.read_text().await;
    assert!(text.contains(r#""d":{ "a": 1}"#), "{text}");
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&answer["t"], &answer["id"]), (&"res".into(), &3.into()));
    assert_eq!(answer["status"], 202);
    assert_eq!(answer["headers"]["x-two"], "1, 2");
    assert_eq!(answer["headers"]["set-cookie"], Value::Null);
}

#[tokio::test]
async fn every_status_is_an_answer_and_every_body_has_a_form() {
    let backend = Backend::new().await;
    let world = World::new(&backend.file());
    let mut client = world.join().await;
    for (status, body, member, value) in [
        ("500 Oops", "no { json", "x", Value::from("no { json")),
        ("302 Found", "[1]", "d", serde_json::json!([1])),
        ("404 No", "", "d", Value::Null),
    ] {
        ask(&mut client, r#""method":"POST""#).await;
        let length = body.len();
        backend
            .answer(&format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            ))
            .await;
        let answer = client.read().await;
        assert_eq!(answer["t"], "res", "{answer}");
        assert_eq!(answer["status"].to_string(), status[..3]);
        assert_eq!(answer[member], value);
    }
}

#[tokio::test]
async fn an_answer_that_is_compressed_unasked_is_told_as_it_was() {
    let backend = Backend::new().await;
    let world = World::new(&backend.file());
    let mut client = world.join().await;
    let mut encoder = async_compression::tokio::write::GzipEncoder::new(Vec::new());
    encoder.write_all(b"[1,2]").await.expect("in memory");
    encoder.shutdown().await.expect("in memory");
    let gzip = encoder.into_inner();
    for (coding, body, member) in [
        ("gzip", &gzip[..], "d"),
        ("zstd", b"\x28\xb5\x2f\xfd", "b64"),
    ] {
        ask(&mut client, r#""method":"POST""#).await;
        let (_, mut stream) = backend.request().await;
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let answer = [head.as_bytes(), body].concat();
        stream.write_all(&answer).await.expect("a connection");
        let answer = client.read().await;
        assert_eq!(answer["t"], "res", "{answer}");
        assert!(!answer[member].is_null(), "{answer}");
        let is_left = !answer["headers"]["content-encoding"].is_null();
        assert_eq!(is_left, coding == "zstd", "{answer}");
    }
}

#[tokio::test]
async fn an_answer_too_large_for_a_message_is_told_without_its_body() {
    let backend = Backend::new().await;
    let world = World::new(&backend.file());
    let mut client = world.join().await;
    let length = (1 << 20) + 1;
    let body = "x".repeat(length);
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    for (method, member, value) in [
        ("POST", "status", Value::from(200)),
        ("GET", "code", "payload_too_large".into()),
    ] {
        ask(&mut client, &format!(r#""method":"{method}""#)).await;
        let (_, mut stream) = backend.request().await;
        // The sidecar stops reading at its limit.
        let _ = stream.write_all(answer.as_bytes()).await;
        let told = client.read().await;
        assert_eq!(told[member], value);
        assert_eq!(told["x"], Value::Null);
    }
}

#[tokio::test]
async fn what_may_have_been_executed_is_unknown() {
    let backend = Backend::new().await;
    let world = World::new(&backend.file());
    let mut client = world.join().await;
    // Sent, and the connection is lost.
    ask(&mut client, r#""method":"POST","key":"k""#).await;
    drop(backend.request().await);
    let answer = client.read().await;
    assert_eq!(
        (&answer["t"], &answer["code"]),
        (&"err".into(), &"outcome_unknown".into())
    );
    // Sent, and the answer breaks off.
    ask(&mut client, r#""method":"POST""#).await;
    backend
        .answer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        .await;
    assert_eq!(client.read().await["code"], "outcome_unknown");
    // Sent, and nothing comes.
    ask(&mut client, r#""method":"POST""#).await;
    let held = backend.request().await;
    assert_eq!(client.read().await["code"], "outcome_unknown");
    drop(held);
    // The same for a request that changes nothing.
    ask(&mut client, r#""method":"GET""#).await;
    let held = backend.request().await;
    let answer = client.read().await;
    assert_eq!(
        (&answer["code"], &answer["status"]),
        (&"upstream_timeout".into(), &504.into())
    );
    drop(held);
}

#[tokio::test]
async fn what_was_not_sent_was_not_executed() {
    let backend = Backend::new().await;
    let world = World::new(&backend.file());
    let mut client = world.join().await;
    for (request, code) in [
        (
            r#""method":"DELETE","path":"/api/tasks/9/cancel""#,
            "forbidden",
        ),
        (r#""method":"POST","path":"/api/unlisted""#, "forbidden"),
        (
            r#""method":"POST","path":"/../api/tasks/9/cancel""#,
            "bad_frame",
        ),
        (
            r#""method":"P ST","path":"/api/tasks/9/cancel""#,
            "bad_frame",
        ),
        (
            r#""method":"POST","path":"/api/tasks/9/cancel","headers":{"x-csrftoken":"a\nb"}"#,
            "bad_frame",
        ),
    ] {
        client
            .send(&format!(r#"{{"t":"req","id":4,{request}}}"#))
            .await;
        let answer = client.read().await;
        assert_eq!((&answer["t"], &answer["id"]), (&"err".into(), &4.into()));
        assert_eq!(answer["code"], code, "{request}");
    }
    let long = "x".repeat(2000);
    ask(&mut client, &format!(r#""method":"POST","d":"{long}""#)).await;
    assert_eq!(client.read().await["code"], "payload_too_large");
    drop(backend);
    ask(&mut client, r#""method":"POST""#).await;
    assert_eq!(client.read().await["code"], "upstream_down");
}

#[tokio::test]
async fn a_request_goes_by_the_routes_in_force() {
    let (old, new) = (Backend::new().await, Backend::new().await);
    let world = World::new(&old.file());
    let before = world.shared.in_force.load_full();
    let open = world.join().await;
    world.reload_unheard(&new.file());
    let mut late = world.connect_judged_by(before, example(), 1 << 20).await;
    assert_eq!(late.read().await["t"], "welcome");
    let mut clients = [open, late];
    for client in &mut clients {
        ask(client, r#""method":"POST""#).await;
        tokio::select! {
            _ = new.answer("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n") => {}
            word = client.read() => panic!("{word}"),
        }
        assert_eq!(client.read().await["status"], 204);
    }
    // What may no longer be called is not.
    world.reload_unheard(&new.file().replace("\"POST\", \"GET\"", "\"GET\""));
    for client in &mut clients {
        ask(client, r#""method":"POST""#).await;
        assert_eq!(client.read().await["code"], "forbidden");
    }
}

#[tokio::test]
async fn only_so_many_are_under_way() {
    let backend = Backend::new().await;
    let world = World::new(&backend.file());
    let mut client = world.join().await;
    for _ in 0..17 {
        ask(&mut client, r#""method":"POST""#).await;
    }
    let refused = client.read().await;
    assert_eq!(refused["code"], "rate_limited");
    assert!(refused["retry_ms"].as_u64() > Some(0));
}

#[tokio::test]
async fn a_client_that_takes_nothing_holds_no_request_open() {
    let backend = Backend::new().await;
    let world = World::new(&backend.file());
    let mut client = world.connect_narrow(example(), 1024).await;
    client.read().await;
    for _ in 0..2 {
        ask(&mut client, r#""method":"GET""#).await;
    }
    let (_, mut answered) = backend.request().await;
    let (_, mut held) = backend.request().await;
    let body = "x".repeat(100_000);
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n";
    let answer = format!("{head}{body}");
    answered.write_all(answer.as_bytes()).await.expect("taken");
    let mut rest = Vec::new();
    for stream in [&mut answered, &mut held] {
        let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest));
        ended.await.expect("ended by its timeout").expect("closed");
    }
    assert!(rest.is_empty());
    // It reads on.
    let mut told: Vec<_> = [client.read().await, client.read().await].into();
    told.sort_by_key(|frame| frame["t"] == "res");
    assert_eq!(told[0]["code"], "upstream_timeout");
    assert_eq!(told[1]["x"].as_str().map(str::len), Some(100_000));
}

#[tokio::test]
async fn a_write_triggers_the_polls_that_it_may_have_made_stale() {
    let backend = Backend::new().await;
    let mut world = World::new(&backend.file());
    let mut client = world.join().await;
    let (feed, _) = client
        .subscribe(&mut world, "/api/tasks", |feed| feed.opened())
        .await;
    ask(&mut client, r#""method":"POST""#).await;
    backend.answer("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.read().await["status"], 204);
    tokio::time::timeout(Duration::from_secs(5), feed.refresh_asked())
        .await
        .expect("asked");
    feed.events(vec![event("", "", "1")]);
    assert_eq!(client.read().await["d"], 1);
}

#[tokio::test]
async fn a_close_leaves_no_request_without_an_answer() {
    let backend = Backend::new().await;
    let world = World::new(&backend.file());
    let mut client = world.join().await;
    ask(&mut client, r#""method":"POST""#).await;
    let held = backend.request().await;
    world
        .shared
        .sessions
        .close(&crate::session::registry::Selector::All, 4200)
        .await;
    let answer = client.read().await;
    assert_eq!(
        (&answer["id"], &answer["code"]),
        (&3.into(), &"outcome_unknown".into())
    );
    assert_eq!(client.closed().await.0, 4200);
    drop(held);
}
