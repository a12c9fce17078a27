//! Who somebody is goes upstream in fields of ours: whatever passes for one of them and comes from a client does not.

use serde_json::json;

use crate::harness::{
    Backend, JSON, Message, Proxy,
    auth::{ALICE, BOB, by, key_field, keys},
    handshake,
    http2::Client,
    reply, request,
};
use crate::policy::world::{join, open, route};

/// Names that some backend takes for `X-User`, `X-Tenant` or `X-Roles`.
const ALIASES: [&str; 22] = [
    "X-User", "x-user", "X-USER", "X_User", "x_user", "X-Tenant", "X_Tenant", "X-Roles", "X_ROLES",
    "X.User", "X.Tenant", "X!User", "X~User", "X*Roles", "X+User", "X#User", "X$Tenant", "X%User",
    "X&User", "X'Roles", "X^User", "X|Roles",
];

const IDENTITY: &str = "identity = {user = \"X-User\", tenant = \"X-Tenant\", roles = \"X-Roles\"}";

/// Streams with and without somebody to know, a call, and all the rest with and without.
fn routes(vary: &str) -> String {
    let of = |name: &str, auth: &str| {
        let stream = format!("source = \"sse\"\n{vary}\n{auth}");
        let call = "methods = [\"POST\"]\ncalls = {methods = [\"POST\"], headers = [\"x-team\"]}";
        [
            route(&format!("/{name}/feed"), &stream),
            route(&format!("/{name}/call"), &format!("{call}\n{auth}")),
            route(&format!("/{name}/{{*rest}}"), auth),
        ]
        .concat()
    };
    let auth = "auth = \"keys\"";
    format!("{}{}{}", keys(IDENTITY), of("open", ""), of("known", auth))
}

/// Everything of a request that a backend may take for who it is.
fn told(seen: &Message) -> Vec<(String, String)> {
    let fold = |name: &str| -> String {
        let fold = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        name.to_ascii_lowercase().chars().map(fold).collect()
    };
    let all = seen.fields.iter().chain(&seen.trailers);
    let mut told: Vec<_> = all
        .map(|(name, value)| (fold(name), value.clone()))
        .filter(|(name, _)| matches!(name.as_str(), "x-user" | "x-tenant" | "x-roles"))
        .collect();
    told.sort();
    told
}

/// What is true of alice.
fn alice() -> Vec<(String, String)> {
    let pairs = [
        ("x-roles", "admin,staff"),
        ("x-tenant", "acme"),
        ("x-user", "alice"),
    ];
    pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec()
}

/// Of the request that reached the backend last: what is true under `/known`, and nothing under `/open`.
fn assert_true(seen: &Message, why: &str) {
    let expected = match seen.target().starts_with("/known") {
        true => alice(),
        false => Vec::new(),
    };
    assert_eq!(told(seen), expected, "{why}: {seen:?}");
    let everything = format!("{seen:?}").to_lowercase();
    assert!(!everything.contains("evil"), "{why}: {seen:?}");
}

async fn houses(backend: &Backend, vary: &str) -> Vec<(&'static str, Proxy)> {
    let mut houses = Vec::new();
    for policy in ["drop", "allow"] {
        let server = format!("underscore_headers = \"{policy}\"");
        houses.push((policy, Proxy::before(backend, &server, &routes(vary)).await));
    }
    houses
}

/// Requests, sockets and streams alike.
async fn anything() -> Backend {
    crate::policy::world::backend().await
}

#[tokio::test]
async fn identity_header_aliases_never_reach_the_backend() {
    let backend = anything().await;
    for (policy, proxy) in houses(&backend, "").await {
        for place in ["open", "known"] {
            for (n, alias) in ALIASES.iter().enumerate() {
                let field = format!("{}{alias}: evil\r\n", by(ALICE));
                let nominated = format!("Connection: keep-alive, {alias}\r\n{field}");
                let chunked = format!(
                    "POST /{place}/x HTTP/1.1\r\nHost: a.example\r\n{}Transfer-Encoding: chunked\r\n\
                     Trailer: {alias}\r\n\r\n3\r\nabc\r\n0\r\n{alias}: evil\r\n\r\n",
                    by(ALICE)
                );
                for (sent, expected) in [
                    (request(&format!("GET /{place}/x"), &field, ""), 200),
                    (request(&format!("POST /{place}/x"), &field, "abc"), 200),
                    (request(&format!("GET /{place}/x"), &nominated, ""), 200),
                    (request(&format!("GET /{place}/feed"), &field, ""), 200),
                    (chunked, 200),
                    (handshake(&format!("/{place}/x"), &field), 101),
                    (
                        handshake(&format!("/{place}/feed?as={n}{policy}"), &field),
                        101,
                    ),
                ] {
                    let before = backend.seen().len();
                    let mut client = proxy.client().await;
                    client.send(&sent).await;
                    assert_eq!(client.head().await.status(), expected, "{policy} {sent}");
                    backend.reached(before + 1).await;
                    let seen = backend.seen();
                    assert_true(&seen[before], &format!("{policy} {sent}"));
                }
            }
        }
    }
}

#[tokio::test]
async fn repeated_or_mixed_alias_reaches_no_backend() {
    let backend = anything().await;
    for (policy, proxy) in houses(&backend, "").await {
        for fields in [
            "X-User: evil\r\nX-User: evil2\r\n",
            "X-User: evil\r\nX_User: evil\r\n",
            "X_User: evil\r\nX.User: evil\r\nX_User: evil\r\n",
            "X-Tenant: evil\r\nX_Roles: evil\r\nx-user: evil\r\n",
            "Connection: X-User, X-Tenant, X-Roles\r\nX_User: evil\r\n",
            "Connection: x_user, X.Roles\r\nX-Roles: evil\r\n",
        ] {
            for target in ["/open/x", "/known/x"] {
                let before = backend.seen().len();
                let sent = request(&format!("GET {target}"), &(by(ALICE) + fields), "");
                let mut client = proxy.client().await;
                client.send(sent).await;
                let status = client.response().await.status();
                match status {
                    // Two that are allowed and fold into one: which of them counts nobody knows.
                    400 => assert_eq!(policy, "allow", "{fields}"),
                    status => assert_eq!(status, 200, "{policy} {fields}"),
                }
                for seen in &backend.seen()[before..] {
                    assert_true(seen, &format!("{policy} {fields}"));
                }
            }
        }
    }
}

#[tokio::test]
async fn the_same_holds_over_http2() {
    let backend = anything().await;
    for (policy, proxy) in houses(&backend, "").await {
        let client = Client::connect(proxy.address).await;
        for alias in ALIASES {
            let alias = alias.to_lowercase();
            for target in ["/open/x", "/known/x"] {
                for (method, body) in [
                    (hyper::Method::GET, &b""[..]),
                    (hyper::Method::POST, b"abc"),
                ] {
                    let before = backend.seen().len();
                    let asked = client.request(method, target).header("x-api-key", ALICE);
                    let answer = client.ask(asked.header(alias.as_str(), "evil"), body).await;
                    assert_eq!(answer.status(), 200, "{policy} {alias}");
                    let seen = backend.seen();
                    assert_true(&seen[before], &format!("{policy} {alias}"));
                }
            }
            // Behind a body.
            let before = backend.seen().len();
            let asked = client.request(hyper::Method::POST, "/known/x");
            let (answer, mut body) = client.begin(asked.header("x-api-key", ALICE), false).await;
            body.send_data(bytes::Bytes::from_static(b"abc"), false)
                .unwrap();
            let mut trailers = hyper::HeaderMap::new();
            let name: hyper::header::HeaderName = alias.parse().unwrap();
            trailers.insert(name, "evil".parse().unwrap());
            body.send_trailers(trailers).unwrap();
            crate::harness::http2::whole(answer).await.unwrap();
            assert_true(
                &backend.seen()[before],
                &format!("{policy} {alias} as a trailer"),
            );
        }
    }
}

#[tokio::test]
async fn websocket_request_carries_our_identity_not_the_clients() {
    let backend = anything().await;
    for (policy, proxy) in houses(&backend, "").await {
        let mut socket = join(&proxy, ALICE).await;
        for (id, alias) in ALIASES.iter().enumerate() {
            for place in ["open", "known"] {
                let before = backend.seen().len();
                let path = format!("/{place}/call");
                socket
                    .send(json!({"t": "req", "id": id, "method": "POST", "path": path,
                        "headers": {*alias: "evil", "x-team": "red"}, "d": {}}))
                    .await;
                let answer = socket.either("res", "err").await;
                assert_eq!(answer["t"], "res", "{policy} {alias}: {answer}");
                let seen = backend.seen();
                assert_true(&seen[before], &format!("{policy} {alias}"));
                assert_eq!(seen[before].field("x-team"), Some("red"));
            }
        }
    }
}

#[tokio::test]
async fn what_vary_takes_along_are_no_aliases() {
    let backend = anything().await;
    for (policy, proxy) in houses(&backend, "vary = [\"x-team\", \"x-use\"]").await {
        for alias in ALIASES {
            for place in ["open", "known"] {
                let before = backend.seen().len();
                let alias = format!("{alias}: evil");
                let alias = alias.to_lowercase();
                let team = format!("x-team: {before}");
                let path = format!("/{place}/feed");
                let key = key_field(ALICE);
                let mut socket = open(&proxy, &path, &[JSON, &key, &alias, &team]).await;
                socket.frame("ok").await;
                backend.reached(before + 1).await;
                let seen = backend.seen();
                assert_true(&seen[before], &format!("{policy} {alias}"));
                let kept = before.to_string();
                assert_eq!(seen[before].field("x-team"), Some(kept.as_str()));
            }
        }
    }
}

#[tokio::test]
async fn an_authority_is_asked_without_them() {
    let backend = Backend::start(|request, peer| async move {
        match request.target() {
            "/me" => {
                reply(
                    peer,
                    "200 OK",
                    "Content-Type: application/json\r\n",
                    r#"{"id":"carol"}"#,
                )
                .await
            }
            _ => reply(peer, "200 OK", "", "ok").await,
        }
    })
    .await;
    let auth = format!(
        "[auth.session]\nkind = \"forward\"\nupstream = \"app\"\npath = \"/me\"\nuser = \"id\"\n\
         headers = [\"authorization\", \"x-session\"]\ncache = \"0s\"\n{IDENTITY}\n"
    );
    let routes = auth + &route("/{*path}", "auth = \"session\"");
    for policy in ["drop", "allow"] {
        let server = format!("underscore_headers = \"{policy}\"");
        let proxy = Proxy::before(&backend, &server, &routes).await;
        for (n, alias) in ALIASES.iter().enumerate() {
            let before = backend.seen().len();
            let fields = format!("Cookie: sid={n}\r\nX-Session: {n}{policy}\r\n{alias}: evil\r\n");
            let mut client = proxy.client().await;
            let answer = client.ask("GET /page", &fields, "").await;
            assert_eq!(answer.status(), 200, "{policy} {alias}");
            let seen = backend.seen().split_off(before);
            let targets: Vec<_> = seen.iter().map(Message::target).collect();
            assert_eq!(targets, ["/me", "/page"], "{policy} {alias}");
            assert_eq!(told(&seen[0]), [], "{policy} {alias}");
            let carol = ("x-user".to_owned(), "carol".to_owned());
            assert_eq!(told(&seen[1]), [carol], "{policy} {alias}");
            let cookie = format!("sid={n}");
            assert_eq!(seen[0].field("cookie"), Some(cookie.as_str()));
        }
    }
}

#[tokio::test]
async fn missing_tenant_or_roles_are_left_out_and_not_forgeable() {
    let backend = anything().await;
    let auth = keys(IDENTITY)
        .replace("tenant=acme ", "")
        .replace("roles=staff", "");
    let routes = auth + &route("/{*path}", "auth = \"keys\"");
    let proxy = Proxy::before(&backend, "", &routes).await;
    let fields = by(BOB) + "X-Tenant: evil\r\nX-Roles: admin\r\n";
    let mut client = proxy.client().await;
    assert_eq!(client.ask("GET /x", &fields, "").await.status(), 200);
    let told = told(&backend.only());
    assert_eq!(told, [("x-user".to_owned(), "bob".to_owned())]);
}

#[tokio::test]
async fn shared_stream_carries_its_share_key_and_no_more() {
    let backend = anything().await;
    let auth = "auth = \"keys\"";
    let routes = [
        keys(IDENTITY),
        route(
            "/shared",
            &format!("source = \"sse\"\nshare = {{claims = [\"tenant\"]}}\n{auth}"),
        ),
        route(
            "/public",
            &format!("source = \"sse\"\nshare = \"public\"\n{auth}"),
        ),
        route(
            "/own",
            &format!("source = \"sse\"\nshare = \"connection\"\n{auth}"),
        ),
    ];
    let proxy = Proxy::before(&backend, "", &routes.concat()).await;
    for (path, expected) in [
        ("/shared", vec![alice()[1].clone()]),
        ("/public", Vec::new()),
        ("/own", alice()),
    ] {
        let before = backend.seen().len();
        let evil = "x-user: evil";
        let _socket = open(&proxy, path, &[JSON, &key_field(ALICE), evil]).await;
        backend.reached(before + 1).await;
        let seen = &backend.seen()[before];
        assert_eq!(told(seen), expected, "{path}: {seen:?}");
    }
    // Of the same tenant is the same stream; of nobody is none.
    let mut bob = open(&proxy, "/shared", &[JSON, &key_field(BOB)]).await;
    bob.frame("ok").await;
    let status = crate::policy::world::refused(&proxy, "/public", &[]).await;
    assert_eq!((status, backend.seen().len()), (401, 3));
}
