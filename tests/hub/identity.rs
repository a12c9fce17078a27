//! Nobody sees another one's data.

use serde_json::json;

use crate::harness::{proxy, reply};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_principal_has_a_stream_of_its_own() {
    let proxy = proxy().sse("/whose").start().await;
    let mut sockets = Vec::new();
    for n in 0..30 {
        let user = format!("user={}", n % 5);
        let mut socket = proxy.join(&[&format!("cookie: {user}")]).await;
        socket.subscribe(1, "/whose").await;
        sockets.push((user, socket));
    }
    assert_eq!(proxy.backend().seen().len(), 5, "one stream per user");
    for _ in 0..20 {
        proxy.app().publish();
        for (user, socket) in &mut sockets {
            assert_eq!(socket.frame("ev").await["d"]["who"], *user);
        }
    }
}

#[tokio::test]
async fn private_looking_answer_is_delivered_to_no_client() {
    let proxy = proxy()
        .poll("/private")
        .line("source = {kind = \"poll\"}")
        .line("share = \"public\"")
        .on("/private", |_, peer| {
            reply(peer, "200 OK", "set-cookie: a=b\r\n", "{}")
        })
        .start()
        .await;
    let mut socket = proxy.join(&["cookie: user=1"]).await;
    socket
        .send(json!({"t": "sub", "id": 1, "path": "/private"}))
        .await;
    let refused = socket.frame("err").await;
    assert_eq!(
        (&refused["id"], &refused["code"]),
        (&1.into(), &"internal".into())
    );
    assert_eq!(proxy.backend().only().field("cookie"), None);
    let alarm = r#"crossfade_share_refused_total{reason="set-cookie",route="private"} 1"#;
    let metrics = proxy.metrics();
    assert!(
        metrics
            .lines()
            .any(|line| line.replace('_', "-") == alarm.replace('_', "-")),
        "{metrics}"
    );
}
