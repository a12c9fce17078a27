//! A Socket.IO server of before beside crossfade: the rollout says which of the two a client meets.

use serde_json::json;

use crate::harness::admin::ask;
use crate::harness::backend::reply;
use crate::harness::{Proxy, proxy};

const TWO: &str = r#"
[rollout.web]
percent = 0
by = "ip"
drain = "100ms"
kill_drain = "100ms"

[socketio]
recovery = false
rollout = "web"
legacy_upstream = "app"

[[socketio.namespace]]
name = "/"
"#;

async fn world() -> Proxy {
    let theirs = |_, peer| reply(peer, "200 OK", "", r#"0{"sid":"theirs"}"#);
    let app = proxy().everything().on("/socket.io/", theirs);
    app.toml(TWO).start().await
}

async fn let_all_in(proxy: &Proxy) {
    let (admin, json) = (&proxy.handle.admin, ["content-type: application/json"]);
    let path = "/v1/rollouts/web";
    let told = ask(admin, "PATCH", path, &json, r#"{"percent":100}"#).await;
    assert_eq!(told.status, 200, "{:?}", told.json);
}

const OPEN: &str = "GET /socket.io/?EIO=4&transport=polling";

#[tokio::test]
async fn clients_that_are_out_meet_the_server_of_before() {
    let proxy = world().await;
    let answer = proxy.ask(OPEN, &[]).await;
    assert_eq!(answer.text(), r#"0{"sid":"theirs"}"#);
    let poll = format!("{OPEN}&sid=theirs");
    assert_eq!(proxy.ask(&poll, &[]).await.status(), 200);
    let post = "POST /socket.io/?EIO=4&transport=polling&sid=theirs";
    let posted = proxy.client().await.ask(post, "", "40").await;
    assert_eq!(posted.status(), 200);
    assert_eq!(proxy.backend().seen().len(), 3);
    // Now it is in: its session there is none of ours, and it begins anew.
    let_all_in(&proxy).await;
    let refused = proxy.ask(&poll, &[]).await;
    assert_eq!(
        (refused.status(), &refused.json()["code"]),
        (400, &json!(1))
    );
    assert!(
        proxy
            .ask(OPEN, &[])
            .await
            .text()
            .starts_with(r#"0{"sid":""#)
    );
    assert_eq!(proxy.backend().seen().len(), 3);
}

#[tokio::test]
async fn clients_that_are_sent_away_are_told_of_the_server_of_before() {
    let proxy = world().await;
    let_all_in(&proxy).await;
    let sid = proxy.polling().await;
    assert_eq!(proxy.post(&sid, "40").await, 200);
    assert!(proxy.poll(&sid).await.starts_with("40{"));
    let mut socket = proxy.engine().await;
    socket.say("40").await;
    assert!(socket.text().await.unwrap().starts_with("40{"));
    proxy.tell("/v1/rollouts/web/kill", &json!({})).await;
    let drain = socket.text().await.unwrap();
    assert!(drain.starts_with(r#"42["crossfade:drain",{"#), "{drain}");
    assert!(drain.contains(r#""next":"legacy","why":"kill""#), "{drain}");
    assert_eq!(socket.text().await, Err(4302));
    // The one that polls leaves too: it does not stay as with `legacy = "polling"`.
    let mut seen = proxy.poll(&sid).await;
    while !seen.ends_with('1') {
        seen = seen + "\u{1e}" + &proxy.poll(&sid).await;
    }
    assert!(seen.contains(r#""next":"legacy""#), "{seen}");
    let answer = proxy.ask(OPEN, &[]).await;
    assert_eq!(answer.text(), r#"0{"sid":"theirs"}"#);
}

#[tokio::test]
async fn drain_names_the_last_event_of_each_stream() {
    let file = TWO
        .replace("percent = 0", "percent = 100")
        .replace("legacy_upstream = \"app\"", "legacy = \"native\"");
    let file = format!("{file}subscribe = [\"/ids\"]\n");
    let proxy = proxy().sse("/ids").toml(&file).start().await;
    let mut socket = proxy.engine().await;
    socket.say("40").await;
    assert!(socket.text().await.unwrap().starts_with("40{"));
    proxy.backend().reached(1).await;
    proxy.app().publish();
    let event = socket.text().await.unwrap();
    assert_eq!(event, r#"42["message",{"n":1}]"#);
    proxy.tell("/v1/rollouts/web/kill", &json!({})).await;
    let drain = socket.text().await.unwrap();
    let at = r#""next":"native","why":"kill","at":[{"path":"/ids","id":"1","o":""#;
    assert!(drain.contains(at), "{drain}");
    assert_eq!(socket.text().await.unwrap(), "41");
}
