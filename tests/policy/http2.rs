//! Handshakes over streams of HTTP/2 are under the same rules.

use bytes::Bytes;
use h2::ext::Protocol;
use hyper::http::request::Builder;
use hyper::{Method, Response};

use crate::harness::{
    Backend, Proxy,
    auth::{ALICE, BOB, keys},
    http2::Client,
    within,
};
use crate::policy::world::{APP, CORS, EVIL, backend, route};

async fn world() -> (Backend, Proxy) {
    let backend = backend().await;
    let rules = "auth = \"keys\"\ncors = \"web\"";
    let identity = "identity = {user = \"X-User\", tenant = \"X-Tenant\", roles = \"X-Roles\"}";
    let routes = format!(
        "{CORS}{}[rate_limit.few]\nconnections_per_user = 1\n[websocket]\n{rules}\nrate_limit = \"few\"\n{}{}{}",
        keys(identity),
        route("/feed/{id}", &format!("source = \"sse\"\n{rules}")),
        route(
            "/few",
            &format!("source = \"sse\"\n{rules}\nrate_limit = \"few\"")
        ),
        route(
            "/admin/{*rest}",
            &format!("source = \"sse\"\n{rules}\nrequire = {{roles = [\"admin\"]}}")
        ),
    );
    let routes = routes + &route("/{*path}", rules);
    let proxy = Proxy::before(&backend, "", &routes).await;
    (backend, proxy)
}

fn handshake(client: &Client, path: &str) -> Builder {
    client
        .request(Method::CONNECT, path)
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
}

/// The answer, and the stream that keeps a socket open.
async fn asked(
    client: &Client,
    request: Builder,
) -> (Response<h2::RecvStream>, h2::SendStream<Bytes>) {
    let (response, to) = client.begin(request, false).await;
    let response = within("an answer", response).await;
    (response.expect("an answer"), to)
}

#[tokio::test]
async fn http2_handshake_checks_origin_and_key_before_it_opens() {
    let (backend, proxy) = world().await;
    let client = Client::connect(proxy.address).await;
    for path in ["/feed/1", "/_crossfade/ws", "/tunnel"] {
        for (origin, key, status) in [
            (EVIL, ALICE, 403),
            ("null", ALICE, 403),
            (EVIL, "", 403),
            (APP, "", 401),
            (APP, "cfk_alice_wrong", 401),
        ] {
            let request = handshake(&client, path).header("origin", origin);
            let request = match key {
                "" => request,
                key => request.header("x-api-key", key),
            };
            let (answer, _to) = asked(&client, request).await;
            assert_eq!(answer.status().as_u16(), status, "{path} {origin} {key}");
        }
    }
    let bob = handshake(&client, "/admin/feed").header("x-api-key", BOB);
    let (answer, _to) = asked(&client, bob).await;
    assert_eq!(answer.status().as_u16(), 403);
    assert!(backend.seen().is_empty());
    for path in ["/feed/1", "/_crossfade/ws"] {
        let request = handshake(&client, path).header("origin", APP);
        let (answer, _to) = asked(&client, request.header("x-api-key", ALICE)).await;
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        let mut names = answer.headers().keys().map(|name| name.as_str());
        assert!(
            !names.any(|name| name.starts_with("access-control-")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn no_alias_reaches_the_backend_by_such_a_handshake() {
    let (backend, proxy) = world().await;
    let client = Client::connect(proxy.address).await;
    for (n, alias) in [
        "x-user", "x_user", "x.user", "x!user", "x-tenant", "x_tenant", "x-roles", "x~roles",
    ]
    .into_iter()
    .enumerate()
    {
        for path in [format!("/feed/{n}"), "/tunnel".to_owned()] {
            let before = backend.seen().len();
            let request = handshake(&client, &path).header("x-api-key", ALICE);
            let (answer, _to) = asked(&client, request.header(alias, "evil")).await;
            assert_eq!(answer.status().as_u16(), 200, "{path} {alias}");
            backend.reached(before + 1).await;
            let seen = &backend.seen()[before];
            assert!(!format!("{seen:?}").contains("evil"), "{seen:?}");
            assert_eq!(seen.field("x-user"), Some("alice"), "{path} {alias}");
            assert_eq!(seen.field("x-tenant"), Some("acme"));
            assert_eq!(seen.field("x-roles"), Some("admin,staff"));
        }
    }
}

#[tokio::test]
async fn such_a_socket_is_one_of_its_users_connections() {
    let (_backend, proxy) = world().await;
    let client = Client::connect(proxy.address).await;
    let ask = |path: &str| handshake(&client, path).header("x-api-key", ALICE);
    let (first, held) = asked(&client, ask("/_crossfade/ws")).await;
    assert_eq!(first.status().as_u16(), 200);
    for path in ["/few", "/_crossfade/ws"] {
        let (answer, _to) = asked(&client, ask(path)).await;
        assert_eq!(answer.status().as_u16(), 429, "{path}");
        let key = crate::harness::auth::key_field(ALICE);
        let status = crate::policy::world::refused(&proxy, path, &[&key]).await;
        assert_eq!(status, 429, "{path} over HTTP/1.1");
    }
    drop((first, held));
    within("a place", async {
        loop {
            let (answer, _to) = asked(&client, ask("/few")).await;
            if answer.status().as_u16() == 200 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
}
