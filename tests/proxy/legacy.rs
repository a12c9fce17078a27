//! Old clients, old backends and other places to be, as they are.

use serde_json::Value;
use tokio::net::UnixListener;

use crate::harness::{
    Backend, EVERYTHING, Message, Peer, Proxy,
    admin::{ask, get},
    asked, handshake, reply, within,
};

#[tokio::test]
async fn http_1_0_needs_no_host() {
    let backend = Backend::ok().await;
    let named = "[[route]]\npath = \"/{*path}\"\nhost = \"a.example\"\nupstream = \"other\"\n\
                 [upstream.other]\nservers = [\"http://127.0.0.1:9\"]\n";
    let proxy = Proxy::before(&backend, "", &format!("{named}{EVERYTHING}")).await;
    let own = backend.address.to_string();
    for (line, fields, host) in [
        ("GET /health HTTP/1.0", "", &*own),
        ("OPTIONS / HTTP/1.0", "", &own),
        ("GET / HTTP/1.0", "Host: b.example\r\n", "b.example"),
        ("GET http://b.example/ HTTP/1.0", "", "b.example"),
    ] {
        let mut client = proxy.client().await;
        client.send(format!("{line}\r\n{fields}\r\n")).await;
        let answer = client.response().await;
        assert_eq!(answer.status(), 200, "{line}: {answer:?}");
        let seen = backend.seen().pop().unwrap();
        assert_eq!(seen.all("host"), [host], "{line}");
        let told = Some(host).filter(|host| *host != own);
        assert_eq!(seen.field("x-forwarded-host"), told, "{line}");
        let forwarded = seen.field("forwarded").unwrap();
        assert_eq!(forwarded.contains("host="), told.is_some(), "{forwarded}");
    }
    for text in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET /_crossfade/transport HTTP/1.0\r\n\r\n",
    ] {
        let mut client = proxy.client().await;
        client.send(text).await;
        assert_eq!(client.response().await.status(), 400, "{text}");
    }
}

#[tokio::test]
async fn redirects_under_a_fixed_host_name_the_public_address() {
    let backend = Backend::start(|request, peer| async move {
        let to = request.field("x-to").unwrap_or_default().to_owned();
        let fields = format!("Location: {to}\r\nContent-Location: {to}\r\n");
        reply(peer, "302 Found", &fields, "").await
    })
    .await;
    let server = format!("http://{}/in", backend.address);
    let start = async |server: &str, host: &str| {
        let upstream = format!(
            "[upstream.app]\nservers = [\"http://{}\"]\n{host}\n",
            backend.address
        );
        Proxy::start(server, &(upstream + EVERYTHING)).await
    };
    let told = async |proxy: &Proxy, to: &str| {
        let fields = format!("X-To: {to}\r\n");
        let answer = proxy.client().await.ask("GET /", &fields, "").await;
        assert_eq!(answer.field("location"), answer.field("content-location"));
        answer.field("location").unwrap().to_owned()
    };
    let fixed = start("", "host = \"app.internal\"").await;
    for (to, public) in [
        (
            "http://app.internal/in?next=%2F",
            "http://a.example/in?next=%2F",
        ),
        (&*server, "http://a.example/in"),
        ("https://elsewhere.example/", "https://elsewhere.example/"),
        ("/in", "/in"),
    ] {
        assert_eq!(told(&fixed, to).await, public);
    }
    let public = "public_url = \"https://www.example\"";
    let behind = start(public, "host = \"app.internal\"").await;
    assert_eq!(told(&behind, &server).await, "https://www.example/in");
    // Where the backend hears the public name, what it says is meant.
    let preserved = start("", "").await;
    assert_eq!(told(&preserved, &server).await, server);
}

#[tokio::test]
async fn a_426_says_what_is_wanted() {
    let backend = Backend::start(|_, peer| {
        let fields = "Upgrade: websocket\r\nConnection: Upgrade, X-Hop\r\nX-Hop: 1\r\n\
                      Sec-WebSocket-Version: 13\r\n";
        reply(peer, "426 Upgrade Required", fields, "")
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let plain = proxy.client().await.ask("GET /ws", "", "").await;
    let (refused, _) = asked(&proxy, handshake("/ws", "")).await;
    for answer in [plain, refused] {
        assert_eq!(answer.status(), 426);
        assert_eq!(answer.field("upgrade"), Some("websocket"));
        assert_eq!(answer.field("connection"), Some("upgrade"));
        assert_eq!(answer.field("sec-websocket-version"), Some("13"));
        assert_eq!(answer.field("x-hop"), None);
    }
}

#[tokio::test]
async fn an_empty_last_event_id_is_none() {
    let backend = Backend::ok().await;
    let stream = "[[route]]\npath = \"/stream\"\nupstream = \"app\"\nsource = \"sse\"\n";
    let proxy = Proxy::before(&backend, "", stream).await;
    for (target, id) in [
        ("/stream?cf_last_event_id=", None),
        ("/stream?cf_last_event_id=7", Some("7")),
    ] {
        proxy
            .client()
            .await
            .ask(&format!("GET {target}"), "", "")
            .await;
        let seen = backend.seen().pop().unwrap();
        assert_eq!(seen.field("last-event-id"), id, "{target}");
    }
}

#[tokio::test]
async fn a_target_may_be_as_long_as_a_head() {
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    for (length, status) in [(20_000, 200), (40_000, 414)] {
        let target = format!("/?q={}", "x".repeat(length));
        let answer = proxy
            .client()
            .await
            .ask(&format!("GET {target}"), "", "")
            .await;
        assert_eq!(answer.status(), status, "{length}");
        let passed = backend.asked_for(&target).len();
        assert_eq!(passed, usize::from(status == 200), "{length}");
    }
}

#[tokio::test]
async fn dropped_fields_are_counted() {
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    let fields = "X_One: 1\r\nX_Two: 2\r\nX-Three: 3\r\n";
    for _ in 0..2 {
        proxy.client().await.ask("GET /", fields, "").await;
    }
    assert_eq!(backend.seen()[0].field("x_one"), None);
    let metrics = proxy.metrics();
    assert!(
        metrics.contains("crossfade_fields_dropped_total 4"),
        "{metrics}"
    );
}

#[tokio::test]
async fn pages_of_other_schemes_get_in_where_they_are_listed() {
    let backend = Backend::ok().await;
    let routes = "[cors.app]\norigins = [\"capacitor://localhost\", \"app://x\"]\ncredentials = true\n\
         [[route]]\npath = \"/stream\"\nupstream = \"app\"\nsource = \"sse\"\ncors = \"app\"\n\
         [[route]]\npath = \"/{*path}\"\nupstream = \"app\"\ncors = \"app\"\n";
    let proxy = Proxy::before(&backend, "", routes).await;
    for (origin, is_listed) in [
        ("capacitor://localhost", true),
        ("app://x", true),
        ("app://y", false),
        ("capacitor://localhost:80", false),
        ("ionic://localhost", false),
        ("file://", false),
        ("null", false),
    ] {
        let fields = format!("Origin: {origin}\r\nCookie: a=1\r\n");
        let (answer, _client) = asked(&proxy, handshake("/stream", &fields)).await;
        assert_eq!(answer.status() == 101, is_listed, "{origin}");
        let answer = proxy.client().await.ask("GET /any", &fields, "").await;
        let granted = answer.field("access-control-allow-origin");
        assert_eq!(granted, Some(origin).filter(|_| is_listed), "{origin}");
        let preflight = format!("Origin: {origin}\r\nAccess-Control-Request-Method: PUT\r\n");
        let answer = proxy
            .client()
            .await
            .ask("OPTIONS /any", &preflight, "")
            .await;
        let granted = answer.field("access-control-allow-origin");
        assert_eq!(granted, Some(origin).filter(|_| is_listed), "{origin}");
    }
}

/// Answers everything on a socket of this machine by what it was asked.
fn serve(path: &std::path::Path) {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut peer = Peer::new(stream);
                while let Some(request) = peer.request().await {
                    let answer = answer_of(&request);
                    if !peer.try_send(answer).await {
                        break;
                    }
                }
            });
        }
    });
}

fn answer_of(request: &Message) -> String {
    let host = request.field("host").unwrap_or_default();
    let body = format!("{{\"host\":\"{host}\",\"body\":\"{}\"}}", request.text());
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn a_backend_may_be_a_socket_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let text = format!(
        "[upstream.app]\nservers = [\"unix:{}\"]\nhealth = {{path = \"/health\", interval = \"100ms\"}}\n\
         [[route]]\npath = \"/document\"\nupstream = \"app\"\nsource = {{kind = \"poll\", every = \"50ms\"}}\n{EVERYTHING}",
        path.display()
    );
    let proxy = Proxy::start("", &text).await;
    let absent = proxy.client().await.ask("GET /", "", "").await;
    assert!([502, 503].contains(&absent.status()), "{absent:?}");
    serve(&path);
    let health = async || get(&proxy.handle.admin, "/v1/health").await.json["upstreams"][0].clone();
    within("health", async {
        while health().await["servers"][0]["healthy"] != true {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let url = format!("unix:{}", path.display());
    assert_eq!(health().await["servers"][0]["url"], url);
    let mut client = proxy.client().await;
    for _ in 0..2 {
        let answer = client.ask("POST /any", "", "abc").await;
        let json: Value = answer.json();
        assert_eq!(
            (&json["host"], &json["body"]),
            (&"a.example".into(), &"abc".into())
        );
    }
    client.send("GET /any HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.response().await.json()["host"], "localhost");
    let mut socket = proxy.join(&[]).await;
    socket
        .send(serde_json::json!({"t": "sub", "id": 1, "path": "/document"}))
        .await;
    assert_eq!(socket.frame("snap").await["d"]["body"], "");
    // The admin API adds none, and keeps those that are there.
    let admin = &proxy.handle.admin;
    let config = async |text: &str| {
        let shown = get(admin, "/v1/config").await;
        let seen = format!("If-Match: {}", shown.header("etag"));
        let whole = shown.json["toml"]
            .as_str()
            .unwrap()
            .replacen("[upstream.app]", text, 1);
        ask(admin, "PUT", "/v1/config", &[&seen], &whole).await
    };
    let refused =
        config("[upstream.docker]\nservers = [\"unix:/run/docker.sock\"]\n[upstream.app]").await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert_eq!(
        refused.json["problems"][0]["key"],
        "upstream.docker.servers"
    );
    let kept = config("[upstream.tcp]\nservers = [\"http://127.0.0.1:9\"]\n[upstream.app]").await;
    assert_eq!(kept.status, 200, "{}", kept.text);
}

#[tokio::test]
async fn a_pem_file_may_have_comments_in_any_encoding() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let key = rcgen::KeyPair::generate().unwrap().public_key_pem();
    let text = [&b"# Cl\xe9 de l'\xe9metteur\n"[..], key.as_bytes()].concat();
    std::fs::write(&path, text).unwrap();
    let backend = Backend::ok().await;
    let auth = format!(
        "[auth.login]\nkind = \"jwt\"\nissuer = \"i\"\naudience = \"a\"\npublic_key = \"{}\"\n\
         [[route]]\npath = \"/{{*path}}\"\nupstream = \"app\"\nauth = \"login\"\n",
        path.display()
    );
    let proxy = Proxy::before(&backend, "", &auth).await;
    let answer = proxy.client().await.ask("GET /", "", "").await;
    assert_eq!(answer.status(), 401);
}
