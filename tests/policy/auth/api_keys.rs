//! Keys that were given away.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{WS, problem};
use crate::harness::{JSON, Proxy, auth::bearer, proxy};

const GOOD: &str = "cfk_k1_a-secret-that-nobody-guesses";
const OVER: &str = "cfk_k2_another-secret";

async fn started() -> Proxy {
    let line = |id: &str, key: &str, rest: &str| {
        let hash = Sha256::digest(key);
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("\"{id} sha256:{hash} {rest}\"")
    };
    let good = line("k1", GOOD, "user=ci tenant=acme roles=reader");
    let over = line("k2", OVER, "user=old expires=2020-01-01");
    let identity = "identity = {user = \"X-User\", tenant = \"X-Tenant\", roles = \"X-Roles\"}";
    let policy =
        format!("[auth.machines]\nkind = \"api_key\"\nkeys = [{good}, {over}]\n{identity}\n");
    let routes = r#"
[[route]]
path = "/{*path}"
upstream = "app"
auth = "machines"

[[route]]
path = "/stream"
upstream = "app"
source = "sse"
auth = "machines"

[[route]]
path = "/writers"
upstream = "app"
auth = "machines"
require = {roles = ["writer"]}
"#;
    proxy().toml(&policy).toml(routes).start().await
}

#[tokio::test]
async fn a_key_opens_as_a_field_of_its_own_or_as_a_bearer() {
    let proxy = started().await;
    let (own, as_bearer) = (format!("x-api-key: {GOOD}"), bearer(GOOD));
    for by in [&*own, &*as_bearer] {
        assert_eq!(proxy.ask("GET /page", &[by]).await.status(), 200);
        assert_eq!(proxy.shake("/stream", &[by]).await.status(), 101);
        let (mut many, _) = proxy.welcomed(WS, &[by]).await;
        many.subscribe(1, "/stream").await;
    }
    // A page can send it in a message alone.
    let mut socket = proxy.open("/stream", &[JSON]).await;
    socket.send(json!({"t": "hello", "token": GOOD})).await;
    socket.frame("ok").await;
    for request in proxy.backend().seen() {
        let told = ["x-user", "x-tenant", "x-roles"].map(|name| request.field(name));
        assert_eq!(told, [Some("ci"), Some("acme"), Some("reader")]);
    }
}

#[tokio::test]
async fn bad_expired_or_insufficient_key_reaches_no_backend() {
    let proxy = started().await;
    for (by, expected) in [
        (String::new(), (401, "unauthorized")),
        (format!("x-api-key: {GOOD}x"), (401, "unauthorized")),
        ("x-api-key: cfk_k1_".into(), (401, "unauthorized")),
        ("x-api-key: ci".into(), (401, "unauthorized")),
        (bearer("cfk_k9_a-secret"), (401, "unauthorized")),
        (format!("x-api-key: {OVER}"), (401, "token_expired")),
    ] {
        let fields: Vec<&str> = Some(&*by).filter(|by| !by.is_empty()).into_iter().collect();
        for answer in [
            proxy.ask("GET /page", &fields).await,
            proxy.shake("/stream", &fields).await,
        ] {
            let (status, code, detail) = problem(&answer);
            assert_eq!((status, &*code), expected, "{by}");
            assert!(!detail.contains("cfk"), "{detail}");
        }
    }
    let good = format!("x-api-key: {GOOD}");
    assert_eq!(proxy.ask("GET /writers", &[&good]).await.status(), 403);
    // Two of them are none.
    let twice = proxy.ask("GET /page", &[&good, &good]).await;
    assert_eq!(twice.status(), 401);
    assert_eq!(proxy.backend().seen().len(), 0);
}
