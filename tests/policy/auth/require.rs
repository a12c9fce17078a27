//! What a route requires holds for every spelling of its path, every method, and every way in.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::{
    Backend, JSON, Proxy, Seen, Socket,
    admin::{get, post},
    auth::{ALICE, BOB, by, key_field, keys},
    request,
};
use crate::policy::world::{ask, backend, code, join, refused, route};

/// Below `/admin`, and beside it.
pub const SPELLINGS: &[&str] = &[
    "/admin/secret",
    "//admin/secret",
    "///admin/secret",
    "/admin//secret",
    "//admin//secret",
    "/admin/secret/",
    "/admin/secret//",
    "/ADMIN/secret",
    "/Admin/secret",
    "/aDmIn/SECRET",
    "/admin/Secret",
    "/%61dmin/secret",
    "/%41dmin/secret",
    "/a%64min/secret",
    "/%61%64%6d%69%6e/secret",
    "/%61%64%6D%69%6E/%73ecret",
    "/admin%2fsecret",
    "/admin%2Fsecret",
    "/admin%252fsecret",
    "/admin%252Fsecret",
    "/%2fadmin/secret",
    "/%2f%2fadmin/secret",
    "/%252fadmin/secret",
    "/admin%5csecret",
    "/admin%5Csecret",
    "/admin%255csecret",
    "/admin\\secret",
    "\\admin\\secret",
    "/\\admin/secret",
    "/%5cadmin/secret",
    "/admin;x/secret",
    "/admin;x=1/secret",
    "/;x/admin/secret",
    "/admin;/secret",
    "/admin%3bx/secret",
    "/admin%3Bx=1/secret",
    "/admin%253bx/secret",
    "/admin/secret;x",
    "/admin/secret;jsessionid=1",
    "/./admin/secret",
    "/admin/./secret",
    "/x/../admin/secret",
    "/../admin/secret",
    "/admin/../admin/secret",
    "/%2e/admin/secret",
    "/%2e%2e/admin/secret",
    "/x/%2e%2e/admin/secret",
    "/x/%252e%252e/admin/secret",
    "/x%2f..%2fadmin/secret",
    "/x/..;/admin/secret",
    "/x/..%2fadmin/secret",
    "/x/..%5cadmin/secret",
    "/x/.%2e/admin/secret",
    "/.;/admin/secret",
    "//admin/..;/admin/secret",
    "/admin/secret%00",
    "/%00/admin/secret",
    "/admin/secret?x=1",
    "/admin/secret?/../open",
    "/admin?",
    "/admin",
    "/admin/",
    "/ADMIN",
    "/admin;x",
    "/%61dmin",
    "//admin",
    "/admin%2f",
    "/admin%20/../admin/secret",
    "/%c0%afadmin/secret",
    "/admin%c0%afsecret",
    "/%2561dmin/secret",
    "/admin%",
    "http://a.example/admin/secret",
    "http://a.example//admin/secret",
    "HTTP://A.EXAMPLE/ADMIN/secret",
    "//a.example/admin/secret",
    "/admin/%73ecret",
    "/admin/secret%2f",
    "/admin/secret%3bx",
    "/admin/%2e%2e/admin/secret",
    "/admin/..%2fadmin%2fsecret",
];

fn routes() -> String {
    let admin = "auth = \"keys\"\nrequire = {roles = [\"admin\"]}";
    format!(
        "{}{}{}{}{}",
        keys(""),
        route("/admin", admin),
        route("/admin/{*rest}", admin),
        route("/admin/feed", &format!("source = \"sse\"\n{admin}")),
        route(
            "/{*path}",
            "source = \"sse\"\ncalls = [\"GET\", \"POST\", \"PUT\"]"
        ),
    )
}

async fn world() -> (Backend, Proxy) {
    let backend = backend().await;
    let proxy = Proxy::before(&backend, "", &routes()).await;
    (backend, proxy)
}

#[tokio::test]
async fn guarded_path_in_any_spelling_needs_a_key() {
    let (backend, proxy) = world().await;
    let mut statuses = BTreeSet::new();
    assert!(SPELLINGS.len() > 75);
    for target in SPELLINGS {
        for method in ["GET", "HEAD", "POST", "OPTIONS", "PUT", "PROPFIND", "GeT"] {
            let mut client = proxy.client().await;
            client
                .send(request(&format!("{method} {target}"), "", ""))
                .await;
            let status = client.head().await.status();
            assert!(
                matches!(status, 400 | 401 | 404),
                "{method} {target}: {status}"
            );
            statuses.insert(status);
        }
        for fields in ["", "Sec-WebSocket-Protocol: crossfade.v1.raw\r\n"] {
            let sent = crate::harness::handshake(target, fields);
            let (answer, _) = crate::harness::asked(&proxy, sent).await;
            let status = answer.status();
            assert!(
                matches!(status, 400 | 401 | 404),
                "handshake {target}: {status}"
            );
        }
        let seen = backend.seen();
        assert!(seen.is_empty(), "{target}: {seen:?}");
    }
    assert!(statuses.contains(&400) && statuses.contains(&401));
}

#[tokio::test]
async fn user_without_the_role_is_refused_in_any_spelling() {
    let (backend, proxy) = world().await;
    for target in SPELLINGS {
        let mut client = proxy.client().await;
        client
            .send(request(&format!("GET {target}"), &by(BOB), ""))
            .await;
        let status = client.head().await.status();
        assert!(matches!(status, 400 | 403 | 404), "{target}: {status}");
        assert!(backend.seen().is_empty(), "{target}");
    }
    // What is open stays so, and what is odd and harmless too.
    for target in [
        "/x",
        "/administrator",
        "/x//y/",
        "/X/%41",
        "/x;y=1",
        "/x%2fy",
    ] {
        let before = backend.seen().len();
        let answer = ask(&proxy, &format!("GET {target}"), "").await;
        assert_eq!(answer.status(), 200, "{target}");
        assert_eq!(backend.seen().len(), before + 1, "{target}");
    }
}

#[tokio::test]
async fn an_encoded_path_meets_the_policies_of_all_its_readings() {
    let backend = backend().await;
    let staff = "auth = \"keys\"\nrequire = {roles = [\"staff\"]}";
    let admin = "auth = \"keys\"\nrequire = {roles = [\"admin\"]}";
    let routes = [
        keys(""),
        route("/open/{id}", "encoded = [\"%2F\"]"),
        route("/open/{id}/keys", admin),
        route("/closed/{id}", staff),
        route("/closed/{id}/keys", admin),
        route("/{*path}", ""),
    ];
    let proxy = Proxy::before(&backend, "", &routes.concat()).await;
    for (target, key, status) in [
        ("/open/a%2Fb", "", 200),
        ("/open/a%2Fkeys", "", 401),
        ("/open/a%2Fkeys", BOB, 403),
        ("/open/a%2Fkeys", ALICE, 200),
        ("/open/a%2Fkeys;x", ALICE, 400),
        ("/open/a%C0%AFkeys", ALICE, 400),
        ("/open/a%2F..%2Fkeys", ALICE, 400),
        // Where all readings meet the same policies, nothing has to be listed.
        ("/closed/a%2Fb;jsessionid=1", "", 401),
        ("/closed/a%2Fb;jsessionid=1", BOB, 200),
        ("/closed/%25%C0%BD", BOB, 200),
        ("/closed/a%2Fkeys", ALICE, 400),
    ] {
        let before = backend.seen().len();
        let fields = if key.is_empty() {
            String::new()
        } else {
            by(key)
        };
        let answer = ask(&proxy, &format!("GET {target}"), &fields).await;
        assert_eq!(answer.status(), status, "{target} {key}");
        let seen = backend.seen().split_off(before);
        assert_eq!(seen.len(), usize::from(status == 200), "{target} {key}");
        assert!(seen.iter().all(|seen| seen.target() == target), "{seen:?}");
        let socket = refused(&proxy, target, &[&key_field(key)]).await;
        let status = if status == 200 { 101 } else { status };
        assert_eq!(socket, status, "a handshake at {target} {key}");
    }
}

/// Bridged routes that take `%2F`, and a route of other policies that a reading of their paths leads to.
fn encoded_routes() -> String {
    let open = "source = \"sse\"\ncalls = [\"POST\"]\nshare = \"public\"\nencoded = [\"%2F\"]";
    let staff = format!("{open}\nauth = \"keys\"\nrequire = {{roles = [\"staff\"]}}");
    let admin = "auth = \"keys\"\nrequire = {roles = [\"admin\"]}";
    [
        keys("from = [\"header\", \"ticket\"]"),
        route("/open/{id}", open),
        route("/open/{id}/keys", admin),
        route("/staff/{id}", &staff),
        route("/staff/{id}/keys", admin),
        route("/{*path}", ""),
    ]
    .concat()
}

/// The word that answers a frame: `ok`, `res`, or an error's code.
async fn answered(socket: &mut Socket, frame: serde_json::Value) -> String {
    socket.send(frame).await;
    loop {
        let frame = match socket.next().await {
            Seen::Frame(frame) => frame,
            closed => panic!("{closed:?}"),
        };
        match frame["t"].as_str() {
            Some("err") => return frame["code"].as_str().unwrap().to_owned(),
            Some(word @ ("ok" | "res")) => return word.to_owned(),
            _ => {}
        }
    }
}

#[tokio::test]
async fn an_encoded_path_in_a_frame_is_judged_as_over_http() {
    let backend = backend().await;
    let proxy = Proxy::before(&backend, "", &encoded_routes()).await;
    for (path, key, status, word) in [
        ("/open/a%2Fb", "", 200, "ok"),
        ("/open/a%2Fkeys", "", 401, "unauthorized"),
        ("/open/a%2Fkeys", BOB, 403, "forbidden"),
        ("/open/a%2Fkeys", ALICE, 200, "ok"),
        ("/staff/a%2Fkeys", "", 401, "unauthorized"),
        ("/staff/a%2Fkeys", BOB, 403, "forbidden"),
        ("/staff/a%2Fkeys", ALICE, 200, "ok"),
        ("/open/a%2Fkeys;x", ALICE, 400, "bad_frame"),
        ("/open/a%C0%AFkeys", ALICE, 400, "bad_frame"),
    ] {
        let (row, key_line) = (format!("{path} {key}"), key_field(key));
        let (fields, mut with_key) = match key {
            "" => (String::new(), vec![JSON]),
            key => (by(key), vec![JSON, &key_line]),
        };
        let line = format!("GET {path}");
        assert_eq!(ask(&proxy, &line, &fields).await.status(), status, "{row}");
        // What is asked about the path under the prefix.
        let asked = path.replace('%', "%25").replace(';', "%3B");
        let line = format!("GET /_crossfade/transport?path={asked}");
        let answer = ask(&proxy, &line, &fields).await;
        assert_eq!(answer.status(), status, "{row}: {answer:?}");
        // A subscription, a request, and a handshake on the path itself.
        let before = backend.seen().len();
        let mut socket = crate::policy::world::open(&proxy, "/_crossfade/ws", &with_key).await;
        socket.frame("welcome").await;
        let frame = json!({"t": "sub", "id": 1, "path": path});
        assert_eq!(answered(&mut socket, frame).await, word, "{row}");
        let frame = json!({"t": "req", "id": 2, "method": "POST", "path": path, "d": {}});
        let done = if word == "ok" { "res" } else { word };
        assert_eq!(answered(&mut socket, frame).await, done, "{row}");
        let status = if status == 200 { 101 } else { status };
        if status == 101 {
            let mut stream = crate::policy::world::open(&proxy, path, &with_key).await;
            stream.frame("ok").await;
        } else {
            with_key.remove(0);
            assert_eq!(refused(&proxy, path, &with_key).await, status, "{row}");
            assert_eq!(backend.seen().len(), before, "{row}");
        }
    }
}

#[tokio::test]
async fn an_encoded_subscription_ends_with_any_of_its_policies() {
    let backend = backend().await;
    let proxy = Proxy::before(&backend, "", &encoded_routes()).await;
    let mut socket = join(&proxy, ALICE).await;
    for (id, path) in [(1, "/open/a%2Fkeys"), (2, "/open/a%2Fb")] {
        let frame = json!({"t": "sub", "id": id, "path": path});
        assert_eq!(answered(&mut socket, frame).await, "ok", "{path}");
    }
    // A reload that asks for more, then an admin who takes the user back; what asks nobody goes on.
    proxy.edit(|text| text.replace("roles = [\"admin\"]", "roles = [\"root\"]"));
    proxy.handle.reload().await.unwrap();
    assert_eq!(socket.frame("end").await["code"], "forbidden");
    proxy.edit(|text| text.replace("roles = [\"root\"]", "roles = [\"admin\"]"));
    proxy.handle.reload().await.unwrap();
    let frame = json!({"t": "sub", "id": 3, "path": "/open/a%2Fkeys"});
    assert_eq!(answered(&mut socket, frame).await, "ok");
    let admin = &proxy.handle.admin;
    let revoked = post(admin, "/v1/revoke", r#"{"user":"alice"}"#).await;
    assert_eq!(revoked.status, 200);
    let end = socket.frame("end").await;
    assert_eq!(end["code"], "unauthorized", "{end}");
    let frame = json!({"t": "sub", "id": 4, "path": "/open/a%2Fb"});
    assert_eq!(answered(&mut socket, frame).await, "conflict");
}

#[tokio::test]
async fn explain_tells_the_other_readings_of_a_path() {
    let backend = backend().await;
    let proxy = Proxy::before(&backend, "", &encoded_routes()).await;
    let explain = async |path: &str| {
        let path = path.replace('%', "%25").replace(';', "%3B");
        let answer = get(&proxy.handle.admin, &format!("/v1/explain?path={path}")).await;
        answer.json
    };
    let why = |answer: &serde_json::Value| answer["verdict"]["why"].as_str().unwrap().to_owned();
    let taken = explain("/open/a%2FKeys").await;
    let admin = json!({"auth": "keys", "require": {"roles": ["admin"], "claims": {}}});
    let reading = json!({"path": "/open/a/keys", "route": "/open/{id}/keys", "policies": admin});
    assert_eq!(taken["readings"], json!([reading]), "{taken}");
    assert_eq!(taken["route"], "/open/{id}");
    assert!(why(&taken).starts_with("unauthorized: "), "{taken}");
    let refused = explain("/open/a%2Fkeys;x").await;
    assert_eq!(refused["readings"], json!([reading]), "{refused}");
    assert!(
        why(&refused).contains("a backend may take it for `/open/a/keys`"),
        "{refused}"
    );
    for plain in ["/open/a", "/open/a%2Fb", "/other;x"] {
        let answer = explain(plain).await;
        assert!(
            answer.get("readings").is_none() && why(&answer).starts_with("passes: "),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn anonymous_and_known_user_get_401_and_403() {
    let (backend, proxy) = world().await;
    for method in [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "get",
    ] {
        let line = format!("{method} /admin/secret");
        for (fields, status, word) in [
            (String::new(), 401, "unauthorized"),
            (by("cfk_alice_wrong"), 401, "unauthorized"),
            (by("nonsense"), 401, "unauthorized"),
            (by(BOB), 403, "forbidden"),
        ] {
            let answer = ask(&proxy, &line, &fields).await;
            assert_eq!(answer.status(), status, "{line} {fields}");
            let challenge = answer.field("www-authenticate");
            assert_eq!(challenge.is_some(), status == 401, "{line}");
            if method != "HEAD" {
                assert_eq!(code(&answer), word, "{line}");
            }
        }
    }
    assert!(backend.seen().is_empty());
    for method in ["GET", "POST", "OPTIONS", "PROPFIND"] {
        let line = format!("{method} /admin/secret");
        assert_eq!(ask(&proxy, &line, &by(ALICE)).await.status(), 200, "{line}");
    }
    let refusals = proxy.metrics();
    for reason in ["unauthorized", "forbidden"] {
        let counted = format!("crossfade_refused_total{{reason=\"{reason}\"}}");
        assert!(refusals.contains(&counted), "{refusals}");
    }
}

#[tokio::test]
async fn a_handshake_is_told_by_status_or_by_close_code() {
    let (backend, proxy) = world().await;
    for (key, status) in [(BOB, 403), ("cfk_bob_wrong", 401)] {
        let key = key_field(key);
        assert_eq!(refused(&proxy, "/admin/feed", &[&key]).await, status);
        let raw = "sec-websocket-protocol: crossfade.v1.raw";
        assert_eq!(refused(&proxy, "/admin/feed", &[&key, raw]).await, status);
        assert_eq!(refused(&proxy, "/admin/socket", &[&key]).await, status);
        let mut socket = crate::policy::world::open(&proxy, "/admin/feed", &[JSON, &key]).await;
        let code = if status == 403 { 4003 } else { 4001 };
        assert_eq!(socket.closed().await, code);
    }
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn no_spelling_gets_through_on_the_multiplexed_connection() {
    let (backend, proxy) = world().await;
    let (mut nobody, mut bob) = (
        crate::policy::world::open(&proxy, "/_crossfade/ws", &[JSON]).await,
        join(&proxy, BOB).await,
    );
    nobody.frame("welcome").await;
    for (socket, word) in [(&mut nobody, "unauthorized"), (&mut bob, "forbidden")] {
        for target in SPELLINGS {
            for method in ["", "GET", "POST", "PUT"] {
                let frame = match method {
                    "" => json!({"t": "sub", "id": 1, "path": target}),
                    method => {
                        json!({"t": "req", "id": 1, "method": method, "path": target, "d": {}})
                    }
                };
                socket.send(frame).await;
                let answer = loop {
                    match socket.next().await {
                        Seen::Frame(frame) if frame["t"] == "state" => {}
                        Seen::Frame(frame) => break frame,
                        closed => panic!("{method} {target}: {closed:?}"),
                    }
                };
                assert_eq!(answer["t"], "err", "{method} {target}: {answer}");
                let code = answer["code"].as_str().unwrap();
                let fits = [word, "not_found", "bad_frame", "forbidden"].contains(&code);
                assert!(fits, "{method} {target}: {answer}");
                if *target == "/admin/secret" {
                    assert_eq!(code, word, "{method}: {answer}");
                }
                assert!(backend.seen().is_empty(), "{method} {target}");
            }
        }
    }
    // The same connection may have what is open.
    nobody
        .send(json!({"t": "sub", "id": 2, "path": "/x"}))
        .await;
    nobody.frame("ok").await;
}
