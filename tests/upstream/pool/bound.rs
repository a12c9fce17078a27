//! Connections that NTLM or Negotiate authenticated: no other client's request goes over one.

use std::time::Duration;

use hyper::Method;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::iis::Iis;
use crate::harness::{
    EVERYTHING, Message, Peer, Proxy, Socket, eventually, handshake, http2::Client, request, within,
};

const PIN: &str = "connection_auth = \"pin\"\n";

async fn before(backends: &[&Iis], server: &str, more: &str) -> Proxy {
    let urls: Vec<_> = (backends.iter())
        .map(|iis| format!("http://{}", iis.backend.address))
        .collect();
    let upstream = format!("[upstream.app]\nservers = {urls:?}\n{more}\n");
    Proxy::start(server, &(upstream + EVERYTHING)).await
}

fn authorization(credential: &str) -> String {
    format!("Authorization: {credential}\r\n")
}

/// Logs in in one step, by Negotiate.
async fn log_in(client: &mut Peer, name: &str) -> Message {
    let ticket = authorization(&format!("Negotiate ticket:{name}"));
    client.ask("GET /", &ticket, "").await
}

/// Logs in in the three steps of NTLM.
async fn log_in_by_ntlm(client: &mut Peer, name: &str) -> Message {
    let first = client.ask("GET /", "", "").await;
    assert_eq!(first.status(), 401);
    assert_eq!(first.all("www-authenticate"), ["Negotiate", "NTLM"]);
    let hello = authorization(&format!("NTLM hello:{name}"));
    let challenge = client.ask("GET /", &hello, "").await;
    assert_eq!(challenge.status(), 401);
    let proof = authorization(&proof_of(&challenge));
    client.ask("POST /", &proof, "form").await
}

fn proof_of(challenge: &Message) -> String {
    let challenge = challenge.field("www-authenticate").unwrap();
    format!("NTLM proof:{}", challenge.strip_prefix("NTLM ").unwrap())
}

#[tokio::test]
async fn an_authenticated_connection_is_closed() {
    for credential in [
        "Negotiate ticket:alice",
        "nEgOtIaTe quiet:alice",
        "NTLM quiet:alice",
        "Kerberos ticket:alice",
    ] {
        let iis = Iis::start().await;
        let proxy = before(&[&iis], "", "").await;
        let fields = authorization(credential);
        for line in ["GET /", "GET /slow", "HEAD /", "POST /"] {
            let body = if line == "POST /" { "form" } else { "" };
            let mut alice = proxy.client().await;
            let answer = alice.ask(line, &fields, body).await;
            assert_eq!(answer.status(), 200, "{credential} {line}");
            for _ in 0..2 {
                let mut bob = proxy.client().await;
                let answer = bob.ask("GET /", "", "").await;
                assert_eq!(answer.status(), 401, "{credential} {line}");
            }
        }
        let mut alice = proxy.client().await;
        alice.send(handshake("/socket", &fields)).await;
        assert_eq!(alice.head().await.status(), 101);
        let mut bob = proxy.client().await;
        assert_eq!(bob.ask("GET /", "", "").await.status(), 401);
        drop(alice);
        iis.backend.has_open(0).await;
    }
}

#[tokio::test]
async fn a_pinned_login_of_three_steps_holds_for_its_client() {
    let (one, two) = (Iis::start().await, Iis::start().await);
    let more = format!("{PIN}keepalive = 0");
    let proxy = before(&[&one, &two], "", &more).await;
    let mut alice = proxy.client().await;
    let mut bob = proxy.client().await;
    let mut carol = proxy.client().await;
    assert_eq!(log_in_by_ntlm(&mut alice, "alice").await.text(), "alice");
    assert_eq!(log_in_by_ntlm(&mut bob, "bob").await.text(), "bob");
    for line in ["GET /", "GET /slow", "DELETE /"] {
        for _ in 0..3 {
            assert_eq!(alice.ask(line, "", "").await.text(), "alice");
            assert_eq!(bob.ask(line, "", "").await.text(), "bob");
            assert_eq!(carol.ask(line, "", "").await.status(), 401);
        }
    }
    drop((alice, bob, carol));
    one.backend.has_open(0).await;
    two.backend.has_open(0).await;
}

#[tokio::test]
async fn a_pinned_websocket_is_its_clients() {
    let iis = Iis::start().await;
    let proxy = before(&[&iis], "", PIN).await;
    // After a login, and by one of its own.
    let mut alice = proxy.client().await;
    log_in(&mut alice, "alice").await;
    alice.send(handshake("/socket", "")).await;
    assert_eq!(alice.head().await.status(), 101);
    assert_eq!(alice.exactly(5).await, b"alice");
    let mut bob = proxy.client().await;
    let hello = authorization("NTLM hello:bob");
    bob.send(handshake("/socket", &hello)).await;
    let challenge = bob.response().await;
    assert_eq!(challenge.status(), 401);
    let proof = authorization(&proof_of(&challenge));
    bob.send(handshake("/socket", &proof)).await;
    assert_eq!(bob.head().await.status(), 101);
    assert_eq!(bob.exactly(3).await, b"bob");
    drop((alice, bob));
    iis.backend.has_open(0).await;
}

#[tokio::test]
async fn connection_of_several_users_is_never_pinned() {
    let trusted = "trusted_proxies = [\"127.0.0.1\"]";
    for (server, more, fields) in [
        ("", "", ""),
        (trusted, PIN, ""),
        ("", PIN, "X-Forwarded-For: 192.0.2.1\r\n"),
        ("", PIN, "Forwarded: for=192.0.2.1\r\n"),
    ] {
        let iis = Iis::start().await;
        let proxy = before(&[&iis], server, more).await;
        let mut balancer = proxy.client().await;
        let ticket = authorization("Negotiate ticket:alice") + fields;
        assert_eq!(balancer.ask("GET /", &ticket, "").await.text(), "alice");
        let answer = balancer.ask("GET /", fields, "").await;
        assert_eq!(answer.status(), 401, "{server} {more} {fields}");
    }

    let iis = Iis::start().await;
    let proxy = before(&[&iis], "", PIN).await;
    let client = Client::connect(proxy.address).await;
    let asking = client.request(Method::GET, "/");
    let ticket = asking.header("authorization", "Negotiate ticket:alice");
    assert_eq!(client.ask(ticket, b"").await.text(), "alice");
    assert_eq!(client.get("/").await.status(), 401);

    let mut old = proxy.client().await;
    let line = "GET / HTTP/1.0\r\nHost: a.example\r\nConnection: keep-alive\r\n";
    old.send(format!(
        "{line}{}\r\n",
        authorization("Negotiate ticket:alice")
    ))
    .await;
    assert_eq!(old.response().await.text(), "alice");
    old.send(format!("{line}\r\n")).await;
    assert_eq!(old.response().await.status(), 401);
}

#[tokio::test]
async fn a_pin_ends_with_what_it_stands_on() {
    let iis = Iis::start().await;
    let more = format!("{PIN}idle_timeout = \"1s\"");
    let proxy = before(&[&iis], "", &more).await;
    let mut alice = proxy.client().await;
    // The idle time, the backend's own end, and a reload.
    log_in(&mut alice, "alice").await;
    iis.backend.has_open(0).await;
    assert_eq!(alice.ask("GET /", "", "").await.status(), 401);
    log_in(&mut alice, "alice").await;
    assert_eq!(alice.ask("GET /last", "", "").await.text(), "alice");
    assert_eq!(alice.ask("GET /", "", "").await.status(), 401);

    let other = Iis::start().await;
    let (one, two) = (iis.backend.address, other.backend.address);
    let upstream = |server, more: &str| {
        format!("[upstream.app]\nservers = [\"http://{server}\"]\n{PIN}{more}\n{EVERYTHING}")
    };
    for (address, more) in [
        (one, "connect_timeout = \"2s\""),
        (two, "connect_timeout = \"2s\""),
    ] {
        log_in(&mut alice, "alice").await;
        proxy.reload(&upstream(address, more)).await;
        iis.backend.has_open(0).await;
        assert_eq!(alice.ask("GET /", "", "").await.status(), 401);
    }
}

#[tokio::test]
async fn sources_and_questions_use_no_authenticated_connection() {
    const ROUTES: &str = "[auth.login]\nkind = \"forward\"\nupstream = \"app\"\npath = \"/me\"\nuser = \"/id\"\n\
        [[route]]\npath = \"/poll\"\nupstream = \"app\"\nsource = {kind = \"poll\", every = \"50ms\"}\nshare = \"public\"\n\
        [[route]]\npath = \"/events\"\nupstream = \"app\"\nsource = \"sse\"\nshare = \"public\"\n\
        [[route]]\npath = \"/mine\"\nupstream = \"app\"\nsource = {kind = \"poll\", every = \"50ms\"}\n\
        [[route]]\npath = \"/guarded\"\nupstream = \"app\"\nauth = \"login\"\n";
    let asked = |iis: &Iis, path: &str| iis.served(path).into_iter().map(|served| served.user);
    const CHECKS: &str = "health = {path = \"/healthz\", interval = \"100ms\"}\n";
    for more in ["", PIN] {
        let iis = Iis::start().await;
        let proxy = before(&[&iis], "", &format!("{more}{CHECKS}{ROUTES}")).await;
        for (path, question) in [
            ("/poll", "/poll"),
            ("/events", "/events"),
            ("/guarded", "/me"),
        ] {
            let (request, status) = match path {
                "/guarded" => (request("GET /guarded", "Cookie: session=1\r\n", ""), 401),
                path => (handshake(path, ""), 101),
            };
            // Over the very connection that has logged in, and over another.
            let mut alice = proxy.client().await;
            log_in(&mut alice, "alice").await;
            let mut bob = proxy.client().await;
            for client in [&mut alice, &mut bob] {
                client.send(&request).await;
                assert_eq!(client.head().await.status(), status, "{path}");
            }
            eventually("it to be asked", async || {
                asked(&iis, question).next().is_some()
            })
            .await;
            assert!(
                asked(&iis, question).all(|user| user.is_none()),
                "{more} {path}"
            );
        }
        // Those that carry a credential of their own leave no connection behind, pinned or not.
        for (path, question) in [("/mine", "/mine"), ("/guarded", "/me")] {
            let fields = authorization("NTLM quiet:alice");
            let (request, status) = match path {
                "/guarded" => (request("GET /guarded", &fields, ""), 401),
                path => (handshake(path, &fields), 101),
            };
            let mut alice = proxy.client().await;
            alice.send(request).await;
            assert_eq!(alice.head().await.status(), status);
            let is_alice = |user: Option<String>| user.as_deref() == Some("alice");
            eventually("it to be asked", async || {
                asked(&iis, question).any(is_alice)
            })
            .await;
            let mut bob = proxy.client().await;
            assert_eq!(bob.ask("GET /", "", "").await.status(), 401);
        }
        eventually("checks", async || asked(&iis, "/healthz").count() > 3).await;
        assert!(asked(&iis, "/healthz").all(|user| user.is_none()));
    }
}

#[tokio::test]
async fn calls_and_key_sets_use_no_authenticated_connection() {
    const SUBPROTOCOL: &str = "Sec-WebSocket-Protocol: crossfade.v1.json\r\n";
    for more in ["", PIN] {
        let iis = Iis::start().await;
        let routes = format!(
            "{more}[auth.token]\nkind = \"jwt\"\nissuer = false\naudience = false\njwks_url = \"http://{}/keys\"\n\
             [[route]]\npath = \"/tokens\"\nupstream = \"app\"\nauth = \"token\"\n\
             [[route]]\npath = \"/call\"\nupstream = \"app\"\ncalls = [\"GET\", \"POST\"]\n",
            iis.backend.address
        );
        let proxy = before(&[&iis], "", &routes).await;
        let call = async |mut client: Peer, fields: &str, status: u16| {
            client.send(handshake("/_crossfade/ws", fields)).await;
            assert_eq!(client.head().await.status(), 101);
            let mut socket = Socket::on(client).await;
            for method in ["GET", "POST", "GET"] {
                let call = json!({"t": "req", "id": 1, "method": method, "path": "/call"});
                socket.send(call).await;
                assert_eq!(socket.frame("res").await["status"], status, "{more}");
            }
        };
        let mut alice = proxy.client().await;
        log_in(&mut alice, "alice").await;
        let asked = || iis.served("/keys").len();
        let (before, token) = (
            asked(),
            authorization("Bearer eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.e30.AAAA"),
        );
        within("the key set to be asked for", async {
            while asked() == before {
                alice.ask("GET /tokens", &token, "").await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        assert!(
            iis.served("/keys")
                .iter()
                .all(|served| served.user.is_none())
        );
        // Over the very connection that has logged in, and over another.
        call(alice, SUBPROTOCOL, 401).await;
        call(proxy.client().await, SUBPROTOCOL, 401).await;
        // One with a credential of its own leaves no connection behind.
        let fields = authorization("NTLM quiet:alice") + SUBPROTOCOL;
        call(proxy.client().await, &fields, 200).await;
        let mut bob = proxy.client().await;
        assert_eq!(bob.ask("GET /", "", "").await.status(), 401);
        call(bob, SUBPROTOCOL, 401).await;
    }
}

/// A backend of HTTP/2 that takes a whole connection for the user of the first credential on it. `GET /wait` is never
/// answered; a `Basic` credential is answered with `Persistent-Auth`.
async fn modern() -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let (mut user, mut waiting) = (401, Vec::new());
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    if request.uri().path() == "/wait" {
                        waiting.push(respond);
                        continue;
                    }
                    let credential = request.headers().get("authorization");
                    let mut answer = hyper::Response::builder();
                    if let Some(credential) = credential {
                        user = 204;
                        if credential.as_bytes().starts_with(b"Basic") {
                            answer = answer.header("persistent-auth", "true");
                        }
                    }
                    let answer = answer.status(user).body(()).unwrap();
                    respond.send_response(answer, true).unwrap();
                    if request.uri().path() == "/release" {
                        for mut respond in waiting.drain(..) {
                            let late = hyper::Response::builder().status(200).body(()).unwrap();
                            respond.send_response(late, true).unwrap();
                        }
                    }
                }
            });
        }
    });
    (url, tasks)
}

#[tokio::test]
async fn over_http_2_a_credential_travels_alone() {
    for more in ["", PIN] {
        for credential in ["NTLM x", "Negotiate x", "Basic x"] {
            let (url, _tasks) = modern().await;
            let upstream = format!("[upstream.app]\nservers = [{url:?}]\nhttp2 = true\n{more}\n");
            let proxy = Proxy::start("", &(upstream + EVERYTHING)).await;
            // A request is under way on the connection that others share.
            let mut waiting = proxy.client().await;
            waiting.send(request("GET /wait", "", "")).await;
            let mut bob = proxy.client().await;
            assert_eq!(bob.ask("GET /", "", "").await.status(), 401);
            let mut alice = proxy.client().await;
            let fields = authorization(credential);
            let answer = alice.ask("GET /release", &fields, "").await;
            assert_eq!(answer.status(), 204, "{credential}");
            for client in [&mut alice, &mut bob] {
                assert_eq!(
                    client.ask("GET /", "", "").await.status(),
                    401,
                    "{credential}"
                );
            }
            if credential == "Basic x" {
                assert_eq!(waiting.response().await.status(), 200);
            }
        }
    }
}

#[tokio::test]
async fn a_backend_that_wants_http_1_gets_it_and_pins() {
    let iis = Iis::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let behind = iis.backend.address;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            open.spawn(async move {
                let mut first = [0; 3];
                let _ = stream.peek(&mut first).await;
                if first != *b"PRI" {
                    let mut to = tokio::net::TcpStream::connect(behind).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut to).await;
                    return;
                }
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    respond.send_reset(h2::Reason::HTTP_1_1_REQUIRED);
                }
            });
        }
    });
    let upstream = format!("[upstream.app]\nservers = [{url:?}]\nhttp2 = true\n{PIN}\n");
    let proxy = Proxy::start("", &(upstream + EVERYTHING)).await;
    let mut alice = proxy.client().await;
    assert_eq!(log_in_by_ntlm(&mut alice, "alice").await.text(), "alice");
    assert_eq!(alice.ask("GET /", "", "").await.text(), "alice");
    let mut bob = proxy.client().await;
    assert_eq!(bob.ask("GET /", "", "").await.status(), 401);
}
