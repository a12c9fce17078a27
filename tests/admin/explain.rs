//! `explain` says what the server does: the same requests are sent and judged, and the two are compared.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::harness::{
    JSON, Proxy, Socket,
    admin::get,
    auth::{ALICE, BOB, keys},
    request,
};
use crate::policy::SPELLINGS;
use crate::policy::world::{APP, CORS, EVIL, ask, backend, route};

const HANDSHAKE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

/// Routes with every kind of policy; `web` admits alice's bucket alone.
fn routes() -> String {
    let guarded = "auth = \"keys\"\nrequire = {roles = [\"admin\"]}";
    let stream = "source = \"sse\"\ncors = \"web\"";
    [
        keys("from = [\"header\", \"cookie:key\", \"message\", \"query:k\"]\ncsrf = {header = \"x-csrf\", cookie = \"csrf\"}"),
        CORS.to_owned(),
        "[rollout.web]\npercent = 5\nby = \"user\"\nnever = [\"bob\"]\nheader = \"x-try\"\n".to_owned(),
        "[rollout.off]\nkill = true\nby = \"ip\"\n[rate_limit.many]\nrequests = \"1000/s\"\n".to_owned(),
        route("/API/Tickets", guarded),
        route("/admin/{*rest}", guarded),
        route("/open/{id}", "encoded = [\"%2F\"]"),
        route("/open/{id}/keys", guarded),
        route("/mine/{id}", "auth = \"keys\"\nencoded = [\"%2F\"]"),
        route("/mine/{id}/keys", guarded),
        route("/feed", &format!("{stream}\nrollout = \"off\"")),
        route("/board", &format!("{stream}\nauth = \"keys\"\nrollout = \"web\"")),
        route("/live", &format!("{stream}\nrate_limit = \"many\"")),
        route("/write", "auth = \"keys\"\ncors = \"web\""),
        route("/only", "methods = [\"PUT\"]"),
        route("/nowhere", "host = \"other.example\""),
        route("/api/{*path}", ""),
        route("/x/{*path}", ""),
    ]
    .concat()
}

pub fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        write!(all, "%{byte:02X}").unwrap();
        all
    })
}

async fn explained(proxy: &Proxy, method: &str, path: &str, fields: &[String]) -> Value {
    let mut query = format!("/v1/explain?method={method}&path={}", encoded(path));
    for field in fields.iter().map(String::as_str).chain(["Host: a.example"]) {
        write!(query, "&header={}", encoded(field)).unwrap();
    }
    let answer = get(&proxy.handle.admin, &query).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text);
    answer.json
}

/// The status and the code of a problem; neither where the request passed.
fn refusal(status: u16, body: &Value) -> Value {
    match status {
        101 | 200 => json!([null, null]),
        status => json!([status, body["code"]]),
    }
}

async fn assert_same(proxy: &Proxy, method: &str, path: &str, fields: &[&str]) {
    let mut fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
    fields.push("Connection: close".to_owned());
    let lines: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let answer = ask(proxy, &format!("{method} {path}"), &lines).await;
    let body = match answer.status() {
        200 | 204 => Value::Null,
        _ if method == "HEAD" => Value::Null,
        _ => answer.json(),
    };
    let told = explained(proxy, method, path, &fields).await;
    let verdict = &told["verdict"];
    let row = format!(
        "{method} {path} {fields:?}: {} {body} {told}",
        answer.status()
    );
    let mut expected = refusal(answer.status(), &body);
    if method == "HEAD" {
        expected[1] = verdict["code"].clone();
    }
    assert_eq!(
        json!([verdict["status"], verdict["code"]]),
        expected,
        "{row}"
    );
    if let Some(detail) = body["detail"].as_str() {
        assert!(verdict["why"].as_str().unwrap().ends_with(detail), "{row}");
    }
}

#[tokio::test]
async fn explain_of_a_request_says_what_the_server_does() {
    let backend = backend().await;
    let proxy = Proxy::before(&backend, "", &routes()).await;
    let paths = [
        "/API/Tickets",
        "/api/tickets",
        "/api//tickets",
        "/API//Tickets",
        "/api/Tickets/",
        "/api/%74ickets",
        "/API%2FTickets",
        "/api;x/tickets",
        "/nowhere",
        "/only",
        "/_crossfade",
        "/_crossfade/ws",
        "/_crossfade/nothing",
        "/_crossfade/transport?path=/api/tickets",
        "/_crossfade/transport?path=/nowhere",
        "/_crossfade/transport?path=/board",
        "/_crossfade/ticket?path=/board",
        "/feed",
        "/board",
        "/live",
        "/write",
        "/open/a%2Fb",
        "/open/a%2Fkeys",
        "/open/a%2Fkeys;x",
        "/x/%zz",
        "/x/%00",
        "/x/a#b",
        "/x/\u{e4}",
        "/api/\"a\"",
    ];
    for path in paths.into_iter().chain(SPELLINGS.iter().copied()) {
        if path.starts_with('/') {
            assert_same(&proxy, "GET", path, &[]).await;
        }
    }
    let alice = format!("X-Api-Key: {ALICE}");
    let bob = format!("X-Api-Key: {BOB}");
    let cookie = format!("Cookie: key={ALICE}; csrf=1");
    for path in [
        "/API/Tickets",
        "/api/tickets",
        "/open/a%2Fkeys",
        "/write",
        "/board",
    ] {
        for key in [&*alice, &bob, "X-Api-Key: cfk_alice_wrong", &cookie] {
            assert_same(&proxy, "GET", path, &[key]).await;
            assert_same(&proxy, "POST", path, &[key]).await;
        }
    }
    // What is presented in the URL counts for other readings of the path as well.
    for key in [ALICE, BOB, "cfk_alice_wrong"] {
        assert_same(&proxy, "GET", &format!("/mine/a%2Fkeys?k={key}"), &[]).await;
    }
    let (app, evil) = (format!("Origin: {APP}"), format!("Origin: {EVIL}"));
    for fields in [
        &[&*cookie, "X-Csrf: 1"][..],
        &[&cookie, "X-Csrf: 2"],
        &[&alice, &app],
        &[&alice, &evil],
        &[&evil],
        &[&app],
    ] {
        for method in ["GET", "POST", "HEAD", "DELETE", "OPTIONS"] {
            assert_same(&proxy, method, "/write", fields).await;
        }
    }
    let preflight = ["Access-Control-Request-Method: PUT", &app];
    assert_same(&proxy, "OPTIONS", "/only", &preflight).await;
    for method in ["PUT", "TRACE", "CONNECT", "POST"] {
        assert_same(&proxy, method, "/only", &[]).await;
        assert_same(&proxy, method, "/_crossfade/transport", &[]).await;
        assert_same(&proxy, method, "/_crossfade/ticket", &[]).await;
    }
    assert_same(&proxy, "GET", "/any", &["Expect: nothing"]).await;
}

#[tokio::test]
async fn explain_of_a_handshake_says_what_the_server_does() {
    let backend = backend().await;
    let proxy = Proxy::before(&backend, "", &routes()).await;
    let alice = format!("x-api-key: {ALICE}");
    let bob = format!("x-api-key: {BOB}");
    let wrong = "x-api-key: cfk_alice_wrong";
    let (app, evil) = (format!("Origin: {APP}"), format!("Origin: {EVIL}"));
    let cookie = format!("Cookie: key={ALICE}");
    for path in [
        "/feed",
        "/board",
        "/live",
        "/write",
        "/API/Tickets",
        "/api/tickets",
        "/api//tickets",
        "/_crossfade/ws",
        "/_crossfade/nothing",
        "/_crossfade/transport",
        "/open/a%2Fkeys",
        "/nowhere",
    ] {
        for fields in [
            &[][..],
            &[&*alice],
            &[&bob],
            &[wrong],
            &[&cookie],
            &[&cookie, &app],
            &[&alice, &evil],
            &[&bob, "x-try: websocket"],
            &[JSON],
            &[JSON, wrong],
            &[JSON, &bob],
            &[JSON, &alice],
            &["Sec-WebSocket-Protocol: other"],
            &["Sec-WebSocket-Protocol: crossfade.v1.raw", &alice],
        ] {
            let mut sent: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
            sent.extend(HANDSHAKE.map(str::to_owned));
            let lines: String = sent.iter().map(|field| format!("{field}\r\n")).collect();
            let mut client = proxy.client().await;
            let line = format!("GET {path}");
            client.send(request(&line, &lines, "")).await;
            let answer = client.response().await;
            let told = explained(&proxy, "GET", path, &sent).await;
            let verdict = &told["verdict"];
            let row = format!("{path} {fields:?}: {} {told}", answer.status());
            if verdict["status"] == 101 {
                // A client that can read a close code is told by it.
                let code = Socket::on(client).await.closed().await;
                let words = format!("closed by {code}: ");
                assert!(
                    verdict["why"].as_str().unwrap().contains(&words),
                    "{row} {code}"
                );
                assert_eq!(answer.status(), 101, "{row}");
                continue;
            }
            let body = match answer.status() {
                101 | 200 => Value::Null,
                _ => answer.json(),
            };
            let expected = refusal(answer.status(), &body);
            assert_eq!(
                json!([verdict["status"], verdict["code"]]),
                expected,
                "{row}"
            );
        }
    }
    let version = ["sec-websocket-version: 8", "upgrade: websocket"].map(str::to_owned);
    let told = explained(&proxy, "GET", "/live", &version).await;
    assert_eq!(told["verdict"]["status"], 426);
}

#[tokio::test]
async fn explain_for_a_user_asks_no_authority() {
    let backend = backend().await;
    let routes = format!(
        "[auth.forward]\nkind = \"forward\"\nupstream = \"app\"\npath = \"/me\"\nuser = \"id\"\ntenant = \"org\"\n{}",
        route(
            "/board",
            "auth = \"forward\"\nrequire = {roles = [\"admin\"], claims = {level = 3}}\nsource = \"sse\"\n\
             share = {claims = [\"org\"]}"
        )
    );
    let proxy = Proxy::before(&backend, "", &routes).await;
    let explain = async |query: &str| {
        let path = format!("/v1/explain?path=/board&{query}");
        get(&proxy.handle.admin, &path).await.json
    };
    let verdict = async |query: &str| explain(query).await["verdict"]["status"].clone();
    assert_eq!(verdict("").await, 401);
    let open = explain("header=Cookie:%20session=1").await;
    assert_eq!(open["verdict"]["status"], json!(null));
    assert!(
        open["verdict"]["why"]
            .as_str()
            .unwrap()
            .starts_with("[auth.forward] would have"),
        "{open}"
    );
    assert_eq!(verdict("user=alice").await, 403);
    assert_eq!(verdict("user=alice&role=admin").await, 403);
    assert_eq!(
        verdict("user=alice&role=admin&claim=level=3").await,
        json!(null)
    );
    assert_eq!(
        verdict("user=alice&role=admin&claim=level=%223%22").await,
        403
    );
    let handshake = "user=alice&role=admin&claim=level=3&websocket=true";
    assert_eq!(verdict(handshake).await, 403);
    assert_eq!(
        verdict(&format!("{handshake}&claim=org=acme")).await,
        json!(null)
    );
    let policies = json!({
        "cors": null, "auth": "forward", "require": {"roles": ["admin"], "claims": {"level": [3]}},
        "rate_limit": null, "share": {"claims": ["org"]},
    });
    assert_eq!(open["policies"], policies);
    assert!(backend.seen().is_empty());
}
