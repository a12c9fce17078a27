//! What metrics and the admin API say of clients of Socket.IO.

use serde_json::{Value, json};

use crate::harness::{Proxy, eventually, proxy};

const NAMESPACES: &str = r#"
[rollout.chat]
percent = 100

[socketio]
recovery = false
legacy = "polling"

[[socketio.namespace]]
name = "/pipeline/{id}"
rollout = "chat"
greet = {event = "connected"}

[[socketio.namespace.on]]
event = "join"
subscribe = "/ids"

[[socketio.namespace]]
name = "/open"
"#;

impl Proxy {
    /// The sample of a metric whose labels these are; `None` where there is none.
    fn sample(&self, metric: &str, labels: &[&str]) -> Option<u64> {
        let text = self.metrics();
        let mut lines = text.lines().filter(|line| {
            let is_it = line.starts_with(&format!("crossfade_{metric}{{"));
            is_it && labels.iter().all(|label| line.contains(label))
        });
        let line = lines.next()?;
        assert_eq!(lines.next(), None, "{labels:?}");
        line.rsplit_once(' ')?.1.parse().ok()
    }

    fn packets(&self, event: &str, direction: &str) -> Option<u64> {
        let (event, direction) = (
            format!("event=\"{event}\""),
            format!("direction=\"{direction}\""),
        );
        let labels = [r#"namespace="/pipeline/{id}""#, &event, &direction];
        self.sample("namespace_messages_total", &labels)
    }

    fn in_cohort(&self, cohort: &str) -> Option<u64> {
        let cohort = format!("cohort=\"{cohort}\"");
        let labels = [r#"namespace="/pipeline/{id}""#, &cohort];
        self.sample("namespace_sessions", &labels)
    }
}

#[tokio::test]
async fn packets_count_by_the_configured_names() {
    let proxy = proxy().sse("/ids").toml(NAMESPACES).start().await;
    let mut socket = proxy.engine().await;
    socket.say("40/pipeline/secret,").await;
    let connected = socket.text().await.unwrap();
    assert!(connected.starts_with("40/pipeline/secret,{"), "{connected}");
    let greeted = socket.text().await.unwrap();
    assert_eq!(greeted, r#"42/pipeline/secret,["connected"]"#);
    socket.say(r#"42/pipeline/secret,1["join"]"#).await;
    socket.text().await.unwrap();
    proxy.app().publish();
    proxy.app().publish();
    socket.text().await.unwrap();
    socket.text().await.unwrap();
    socket.say(r#"42/pipeline/secret,2["unlisted"]"#).await;
    socket.text().await.unwrap();
    assert_eq!(proxy.packets("join", "in"), Some(1));
    assert_eq!(proxy.packets("message", "out"), Some(2));
    assert_eq!(proxy.packets("connected", "out"), Some(1));
    // CONNECT, and an event without a rule; what answers them, and the ack of the other.
    assert_eq!(proxy.packets("-", "in"), Some(2));
    assert_eq!(proxy.packets("-", "out"), Some(3));
    assert_eq!(proxy.in_cohort("websocket"), Some(1));
    let text = proxy.metrics();
    for word in ["secret", "unlisted"] {
        assert!(!text.contains(word), "{text}");
    }
    drop(socket);
    eventually("the session is gone", async || {
        proxy.in_cohort("websocket") == Some(0)
    })
    .await;
}

#[tokio::test]
async fn client_that_polls_as_legacy_counts_as_legacy() {
    let proxy = proxy().sse("/ids").toml(NAMESPACES).start().await;
    proxy.tell("/v1/rollouts/chat/kill", &json!({})).await;
    let answer = proxy
        .ask("GET /socket.io/?EIO=4&transport=polling", &[])
        .await;
    let open: Value = serde_json::from_str(&answer.text()[1..]).unwrap();
    let sid = open["sid"].as_str().unwrap();
    assert_eq!(proxy.post(sid, "40/pipeline/7,").await, 200);
    let seen = proxy.poll(sid).await;
    assert!(seen.contains("connected"), "{seen}");
    assert_eq!(proxy.in_cohort("legacy"), Some(1));
    assert_eq!(proxy.in_cohort("websocket"), Some(0));
    let labels = [r#"protocol="socketio""#, r#"cohort="legacy""#];
    assert_eq!(proxy.sample("sessions", &labels), Some(1));
}
