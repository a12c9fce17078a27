//! How fast and how long a client of a WebSocket may speak.

use serde_json::json;

use crate::harness::{
    Backend, JSON, Proxy, Seen, Socket,
    auth::{ALICE, BOB, keys},
};
use crate::policy::world::{backend, join, open, route};

/// `PREFIX/ws` and a stream under `[rate_limit.api]` with these lines.
async fn world(lines: &str) -> (Backend, Proxy) {
    let backend = backend().await;
    let routes = format!(
        "[rate_limit.api]\n{lines}\n[websocket]\nrate_limit = \"api\"\n{}{}",
        route("/feed/{id}", "source = \"sse\"\nrate_limit = \"api\""),
        route("/free/{id}", "source = \"sse\""),
    );
    let proxy = Proxy::before(&backend, "", &routes).await;
    (backend, proxy)
}

async fn joined(proxy: &Proxy) -> Socket {
    let mut socket = open(proxy, "/_crossfade/ws", &[JSON]).await;
    socket.frame("welcome").await;
    socket
}

fn assert_refused(answer: &serde_json::Value) {
    assert_eq!(answer["code"], "rate_limited", "{answer}");
    assert!(answer["retry_ms"].as_u64().unwrap() >= 1, "{answer}");
}

#[tokio::test]
async fn message_flood_gets_retry_after_and_then_close() {
    let (_backend, proxy) = world("messages = \"2/h burst 4\"").await;
    for path in ["/_crossfade/ws", "/feed/1"] {
        let mut socket = open(&proxy, path, &[JSON]).await;
        socket.frame("welcome").await;
        for _ in 0..4 {
            socket.send(json!({"t": "ping"})).await;
            socket.frame("pong").await;
        }
        // Three bursts of it are forgiven.
        for _ in 0..12 {
            socket.send(json!({"t": "ping"})).await;
            assert_refused(&socket.frame_unless("err", "pong").await);
        }
        socket.send(json!({"t": "ping"})).await;
        assert_eq!(socket.closed().await, 4129, "{path}");
    }
    // Whoever else is here has not spoken yet.
    let mut other = joined(&proxy).await;
    other.send(json!({"t": "ping"})).await;
    other.frame("pong").await;
    let metrics = proxy.metrics();
    let counted = "crossfade_rate_limited_total{policy=\"api\"} 26";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn too_many_bytes_are_the_same() {
    let (_backend, proxy) = world("bytes = \"1KiB/h burst 1KiB\"").await;
    let mut socket = joined(&proxy).await;
    let big = json!({"t": "ping", "pad": "x".repeat(700)});
    socket.send(big.clone()).await;
    socket.frame("pong").await;
    for _ in 0..4 {
        socket.send(big.clone()).await;
        assert_refused(&socket.frame_unless("err", "pong").await);
    }
    // What still fits passes: the connection stayed.
    socket.send(json!({"t": "ping"})).await;
    socket.frame_unless("pong", "err").await;
    socket.send(big.clone()).await;
    assert_eq!(socket.closed().await, 4129);
}

#[tokio::test]
async fn message_limit_by_user_counts_all_connections() {
    let backend = backend().await;
    let routes = format!(
        "[rate_limit.api]\nmessages = \"3/h\"\nby = \"user\"\n[websocket]\nrate_limit = \"api\"\nauth = \"keys\"\n{}{}",
        keys(""),
        route("/feed/{id}", "source = \"sse\"\nauth = \"keys\""),
    );
    let proxy = Proxy::before(&backend, "", &routes).await;
    let (mut one, mut two) = (join(&proxy, ALICE).await, join(&proxy, ALICE).await);
    for turn in 0..3 {
        let socket = if turn == 1 { &mut two } else { &mut one };
        socket.send(json!({"t": "ping"})).await;
        socket.frame_unless("pong", "err").await;
    }
    two.send(json!({"t": "ping"})).await;
    assert_refused(&two.frame_unless("err", "pong").await);
    let mut bob = join(&proxy, BOB).await;
    bob.send(json!({"t": "ping"})).await;
    bob.frame_unless("pong", "err").await;
}

#[tokio::test]
async fn subscriptions_have_a_rate() {
    let (backend, proxy) = world("subscriptions = \"2/h\"").await;
    let mut socket = joined(&proxy).await;
    for id in 1..=2 {
        socket.subscribe(id, &format!("/feed/{id}")).await;
    }
    // Also on a route that has no limits of its own: those of the connection hold.
    for path in ["/feed/3", "/free/3"] {
        socket
            .send(json!({"t": "sub", "id": 3, "path": path}))
            .await;
        let answer = socket.either("ok", "err").await;
        assert_refused(&answer);
        assert_eq!(answer["id"], 3);
    }
    socket.send(json!({"t": "ping"})).await;
    socket.frame("pong").await;
    assert_eq!(backend.seen().len(), 2);
}

#[tokio::test]
async fn a_req_counts_among_the_requests_of_its_route() {
    let backend = backend().await;
    let routes = format!(
        "[rate_limit.api]\nrequests = \"2/h\"\n{}{}",
        route(
            "/call",
            "methods = [\"POST\"]\ncalls = [\"POST\"]\nrate_limit = \"api\""
        ),
        route("/feed", "source = \"sse\"\ncalls = [\"POST\"]"),
    );
    let proxy = Proxy::before(&backend, "", &routes).await;
    let mut socket = joined(&proxy).await;
    let call = |id: u64, path: &str| json!({"t": "req", "id": id, "method": "POST", "path": path, "d": {}});
    socket.send(call(1, "/call")).await;
    assert_eq!(socket.either("res", "err").await["t"], "res");
    // One and the same quota, over HTTP and by `req`.
    let answer = crate::policy::world::ask(&proxy, "POST /call", "").await;
    assert_eq!(answer.status(), 200);
    socket.send(call(2, "/call")).await;
    let answer = socket.either("res", "err").await;
    assert_refused(&answer);
    let answer = crate::policy::world::ask(&proxy, "POST /call", "").await;
    assert_eq!(answer.status(), 429);
    assert_eq!(backend.seen().len(), 2);
    // Another route, another quota.
    socket.send(call(3, "/feed")).await;
    assert_eq!(socket.either("res", "err").await["t"], "res");
}

#[tokio::test]
async fn a_message_has_a_size_and_the_welcome_tells_it() {
    let (backend, proxy) = world("max_message = \"1KiB\"").await;
    for (path, most) in [
        ("/_crossfade/ws", 1024),
        ("/feed/1", 1024),
        ("/free/1", 65_536),
    ] {
        let mut socket = open(&proxy, path, &[JSON]).await;
        assert_eq!(socket.frame("welcome").await["max_bytes"], most, "{path}");
        let frame = |length: usize| {
            let bare = json!({"t": "ping", "pad": ""}).to_string().len();
            json!({"t": "ping", "pad": "x".repeat(length - bare)})
        };
        socket.send(frame(most)).await;
        socket.frame("pong").await;
        socket.send(frame(most + 1)).await;
        assert_eq!(socket.closed().await, 4009, "{path}");
    }
    // Raw ones speak no message at all, however short.
    let mut raw = open(&proxy, "/feed/2", &[]).await;
    raw.send(json!({"pad": "x".repeat(2000)})).await;
    assert_eq!(raw.closed().await, 4009);
    let mut raw = open(&proxy, "/feed/2", &[]).await;
    raw.send(json!({})).await;
    assert_eq!(raw.next().await, Seen::Closed(4000));
    drop(backend);
}

#[tokio::test]
async fn a_message_size_follows_a_reload() {
    let (backend, proxy) = world("max_message = \"1KiB\"").await;
    let mut sockets = Vec::new();
    for path in ["/_crossfade/ws", "/feed/1", "/free/1"] {
        let mut socket = open(&proxy, path, &[JSON]).await;
        socket.frame("welcome").await;
        sockets.push(socket);
    }
    let most = |bytes: usize| {
        let pad = "x".repeat(bytes - json!({"t": "ping", "pad": ""}).to_string().len());
        json!({"t": "ping", "pad": pad})
    };
    proxy.edit(|text| text.replace("max_message = \"1KiB\"", "max_message = \"4KiB\""));
    proxy.handle.reload().await.unwrap();
    for socket in &mut sockets {
        socket.send(most(4096)).await;
        socket.frame("pong").await;
    }
    proxy.edit(|text| {
        let less = text.replace("max_message = \"4KiB\"", "max_message = \"2KiB\"");
        less.replace("[websocket]\n", "[websocket]\nmax_message = \"3KiB\"\n")
    });
    proxy.handle.reload().await.unwrap();
    for (mut socket, bytes) in sockets.into_iter().zip([2048, 2048, 3072]) {
        socket.send(most(bytes)).await;
        socket.frame("pong").await;
        socket.send(most(bytes + 1)).await;
        assert_eq!(socket.closed().await, 4009, "{bytes}");
    }
    drop(backend);
}

#[tokio::test]
async fn route_wide_quota_counts_http_and_req_together() {
    let backend = backend().await;
    let call = "methods = [\"POST\"]\ncalls = [\"POST\"]\nrate_limit = \"each\"";
    let routes = format!(
        "[rate_limit.each]\nrequests = \"1/h\"\nby = \"route\"\n{}{}{}",
        route("/one", call),
        route("/two", call),
        route("/feed", "source = \"sse\""),
    );
    let proxy = Proxy::before(&backend, "", &routes).await;
    let mut socket = joined(&proxy).await;
    let answer = crate::policy::world::ask(&proxy, "POST /one", "").await;
    assert_eq!(answer.status(), 200);
    for (path, kind) in [("/one", "err"), ("/two", "res"), ("/two", "err")] {
        let call = json!({"t": "req", "id": 1, "method": "POST", "path": path, "d": {}});
        socket.send(call).await;
        let answer = socket.either("res", "err").await;
        assert_eq!(answer["t"], kind, "{path}: {answer}");
    }
    let answer = crate::policy::world::ask(&proxy, "POST /two", "").await;
    assert_eq!(answer.status(), 429);
    assert_eq!(backend.seen().len(), 2);
}
