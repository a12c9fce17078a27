//! What the admin API and the discovery document say of Socket.IO's namespaces.

use serde_json::{Value, json};

use crate::harness::{Proxy, proxy};

const NAMESPACES: &str = r#"
[rollout.chat]
percent = 100

[rollout.other]
percent = 100

[socketio]
legacy = "polling"

[[socketio.namespace]]
name = "/open"
subscribe = ["/ids"]

[[socketio.namespace]]
name = "/pipeline/{id}"
rollout = "chat"
greet = {event = "connected"}
"#;

impl Proxy {
    async fn rollout(&self, name: &str) -> Value {
        self.admin(&format!("/v1/rollouts/{name}")).await.json
    }

    async fn websocket_namespaces(&self) -> Value {
        let answer = self.ask("GET /_crossfade/transport", &[]).await;
        let document: Value = serde_json::from_str(&answer.text()).unwrap();
        document["websocket_namespaces"].clone()
    }
}

#[tokio::test]
async fn rollout_counts_the_sessions_of_its_namespaces() {
    let proxy = proxy().sse("/ids").toml(NAMESPACES).start().await;
    let mut socket = proxy.engine().await;
    for namespace in ["/pipeline/7", "/open"] {
        socket.say(&format!("40{namespace},")).await;
        let joined = socket.text().await.unwrap();
        assert!(joined.starts_with(&format!("40{namespace},{{")), "{joined}");
        if namespace == "/pipeline/7" {
            socket.text().await.unwrap();
        }
    }
    let chat = proxy.rollout("chat").await;
    assert_eq!(chat["namespaces"], json!(["/pipeline/{id}"]));
    assert_eq!(
        (&chat["routes"], &chat["sessions"]),
        (&json!([]), &json!(1))
    );
    let other = proxy.rollout("other").await;
    assert_eq!(
        (&other["namespaces"], &other["sessions"]),
        (&json!([]), &json!(0))
    );
}

#[tokio::test]
async fn session_shows_the_namespace_and_no_secret() {
    let proxy = proxy().sse("/ids").toml(NAMESPACES).start().await;
    let sid = proxy.polling().await;
    assert_eq!(proxy.post(&sid, "40/pipeline/7,").await, 200);
    let seen = proxy.poll(&sid).await;
    let (_, secrets) = seen.split_once('{').unwrap();
    let answer = proxy.admin("/v1/sessions").await;
    let session = &answer.json["sessions"][0];
    assert_eq!(session["protocol"], "socketio");
    assert_eq!(session["transport"], "polling");
    assert_eq!(session["namespace"], "/pipeline/7");
    assert_eq!(session["cohort"], "websocket");
    let text = answer.json.to_string();
    assert!(!text.contains(&sid), "{text}");
    let (secrets, _) = secrets.split_once('}').unwrap();
    let secrets: Value = serde_json::from_str(&format!("{{{secrets}}}")).unwrap();
    for name in ["sid", "pid"] {
        let secret = secrets[name].as_str().unwrap();
        assert!(!text.contains(secret), "{name} in {text}");
    }
    let mut plain = proxy.socket().join().await;
    plain.subscribe(1, "/ids").await;
    let answer = proxy.admin("/v1/sessions").await;
    assert_eq!(answer.json["sessions"][1]["namespace"], json!(null));
}

#[tokio::test]
async fn explanation_judges_each_namespace() {
    let proxy = proxy().sse("/ids").toml(NAMESPACES).start().await;
    proxy.tell("/v1/rollouts/chat/kill", &json!({})).await;
    let path = "/v1/explain?path=/socket.io/&user=alice";
    let explained = proxy.admin(path).await.json;
    assert_eq!(explained["action"], "bridge");
    assert_eq!(explained["rollout"], json!(null));
    let told = |at: usize| {
        let namespace = &explained["namespaces"][at];
        let rollout = &namespace["rollout"];
        [
            &namespace["name"],
            &rollout["transport"],
            &rollout["reason"],
        ]
        .map(|word| word.as_str().unwrap().to_owned())
    };
    assert_eq!(told(0), ["/open", "websocket", "none"]);
    assert_eq!(told(1), ["/pipeline/{id}", "legacy", "killed"]);
    let explained = proxy.admin("/v1/explain?path=/ids").await.json;
    assert_eq!(explained.get("namespaces"), None);
}

#[tokio::test]
async fn discovery_lists_the_namespaces_of_the_client() {
    let proxy = proxy().sse("/ids").toml(NAMESPACES).start().await;
    let all = json!(["/open", "/pipeline/{id}"]);
    assert_eq!(proxy.websocket_namespaces().await, all);
    proxy.tell("/v1/rollouts/chat/kill", &json!({})).await;
    assert_eq!(proxy.websocket_namespaces().await, json!(["/open"]));
    proxy.tell("/v1/rollouts/chat/resume", &json!({})).await;
    assert_eq!(proxy.websocket_namespaces().await, all);
}
