//! Live connections through reloads, the dial, drains and the end.

use std::time::{Duration, Instant};

use crossfade::app::Handle;
use crossfade::rollout::sticky_cookie;
use serde_json::json;

use crate::harness::admin::{ask, get, metric, post};
use crate::harness::{App, Folder, JSON, Peer, Seen, Socket, eventually, proxy, reply};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A house before a feed; `rollout` are lines below `[rollout.web]`.
struct Live {
    app: App,
    folder: Folder,
    house: Handle,
}

impl Live {
    async fn start(rollout: &str) -> Self {
        let app = proxy().on("/slow", |_, peer| slow(peer)).app().await;
        let folder = Folder::with_rollout(rollout);
        folder.write(&adapt(&folder.read(), &app));
        let house = folder.start().await;
        Live { app, folder, house }
    }

    fn public(&self) -> &str {
        &self.house.public[0]
    }

    fn admin(&self) -> &str {
        &self.house.admin
    }

    async fn open(&self, path: &str, fields: &[&str]) -> Socket {
        let socket = Socket::open(self.public(), path, fields).await;
        socket.unwrap_or_else(|answer| panic!("{}", answer.status()))
    }

    /// Waits until so many are listed: a close frame has to be answered first.
    async fn has_sessions(&self, count: usize) {
        let total = async || get(self.admin(), "/v1/sessions").await.json["total"].clone();
        eventually("sessions", async || total().await == count).await;
    }

    async fn reload(&self, rollout: &str) {
        let text = adapt(&self.folder.text(rollout), &self.app);
        self.folder.write(&text);
        assert!(self.house.reload().await.unwrap().changed);
    }
}

/// A page that takes half a second.
async fn slow(peer: Peer) -> Option<Peer> {
    tokio::time::sleep(Duration::from_millis(500)).await;
    reply(peer, "200 OK", "", "done").await
}

fn adapt(text: &str, app: &App) -> String {
    let text = text.replace("127.0.0.1:9\"", &format!("{}\"", app.backend.address));
    text.replace("[server]", &format!("[server]\nsecret = \"{SECRET}\""))
}

/// A cookie of a unit whose bucket is in (`true`) or out of the first half.
fn cookie(is_in: bool) -> String {
    let mut values = (0u128..).map(|n| sticky_cookie::mint(SECRET.as_bytes(), n.to_be_bytes()));
    let fits = |unit: &str| (crossfade::rollout::bucket("web", unit) < 50_000) == is_in;
    let (_, value) = values.find(|(unit, _)| fits(unit)).unwrap();
    format!("cookie: crossfade_unit={value}")
}

fn origin(live: &Live) -> String {
    format!("origin: {}", live.public())
}

#[tokio::test]
async fn hundred_reloads_close_no_session_and_lose_no_event() {
    let live = Live::start("percent = 100").await;
    const CLIENTS: usize = 30;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let mut socket = live.open("/feed", &[JSON]).await;
        socket.frame("ok").await;
        clients.spawn(async move {
            for n in 1..=100 {
                assert_eq!(socket.frame("ev").await["d"]["n"], n);
            }
            socket
        });
    }
    for round in 1..=100 {
        let text = adapt(&live.folder.text("percent = 100"), &live.app);
        let pace = format!("replay = {{events = {}}}\nrollout = \"web\"", 500 + round);
        let text = text.replace("rollout = \"web\"", &pace);
        let text = match round % 2 {
            0 => text,
            _ => text.replace("name = \"rest\"", "name = \"other\""),
        };
        live.folder.write(&text);
        assert!(live.house.reload().await.unwrap().changed);
        live.app.publish();
    }
    let clients = clients.join_all().await;
    assert_eq!(clients.len(), CLIENTS);
    assert_eq!(live.house.shared().sessions.count(), CLIENTS);
    let streams = live.app.backend.seen().len();
    assert_eq!(streams, 1, "one upstream stream all the time");
}

#[tokio::test]
async fn a_removed_route_closes_its_own_connections_only() {
    let live = Live::start("percent = 100").await;
    let mut gone = live.open("/feed", &[JSON]).await;
    gone.frame("ok").await;
    let text = live.folder.read();
    let second =
        "[[route]]\nname = \"second\"\npath = \"/second\"\nupstream = \"app\"\nsource = \"sse\"\n";
    live.folder.write(&format!("{text}\n{second}"));
    live.house.reload().await.unwrap();
    let mut stays = live.open("/second", &[JSON]).await;
    stays.frame("ok").await;

    live.folder.write(&format!(
        "{}\n{second}",
        text.replace("path = \"/feed\"", "path = \"/moved\"")
            .replace("\"feed\"", "\"moved\"")
    ));
    let applied = live.house.reload().await.unwrap();
    assert_eq!(applied.routes.removed, ["feed"]);
    assert_eq!(applied.closed, 1);
    assert_eq!(gone.closed().await, 4201);
    live.app.publish();
    assert_eq!(stays.frame("ev").await["d"]["n"], 1);
}

#[tokio::test]
async fn kill_drains_all_within_1s_and_closes_within_its_window() {
    let live = Live::start("percent = 100\nkill_drain = \"2s\"").await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut socket = live.open("/feed", &[JSON]).await;
        socket.frame("ok").await;
        clients.push(socket);
    }
    let mut raw = live.open("/feed", &[]).await;

    let before = get(live.admin(), "/v1/rollouts/web").await.json;
    assert_eq!(before["sessions"], 21);

    let since = Instant::now();
    post(live.admin(), "/v1/rollouts/web/kill", "").await;
    for socket in &mut clients {
        let drain = socket.frame("drain").await;
        assert_eq!(
            (drain["next"].as_str(), drain["why"].as_str()),
            (Some("native"), Some("killed"))
        );
        assert!(drain["in_ms"].as_u64().unwrap() <= 2000);
    }
    assert!(
        since.elapsed() < Duration::from_secs(1),
        "{:?}",
        since.elapsed()
    );
    // Whoever asks now stays outside: a browser is told by a close, everybody else by 403.
    let mut late = live.open("/feed", &[JSON]).await;
    assert_eq!(late.closed().await, 4302);
    let refused = Socket::open(live.public(), "/feed", &[])
        .await
        .err()
        .unwrap();
    assert_eq!(refused.status(), 403);
    for socket in &mut clients {
        assert_eq!(socket.closed().await, 4302);
    }
    assert_eq!(raw.closed().await, 4302);
    assert!(
        since.elapsed() < Duration::from_secs(4),
        "{:?}",
        since.elapsed()
    );
    live.has_sessions(0).await;
    let rollout = get(live.admin(), "/v1/rollouts/web").await.json;
    assert_eq!(rollout["sessions"], 0);

    post(live.admin(), "/v1/rollouts/web/resume", "").await;
    live.open("/feed", &[JSON]).await.frame("ok").await;
}

#[tokio::test]
async fn lowered_percent_drains_only_units_that_are_out() {
    let live = Live::start("percent = 100\ndrain = \"1s\"").await;
    let origin = origin(&live);
    let mut inside = live.open("/feed", &[JSON, &origin, &cookie(true)]).await;
    let mut outside = live.open("/feed", &[JSON, &origin, &cookie(false)]).await;
    inside.frame("ok").await;
    outside.frame("ok").await;
    ask(
        live.admin(),
        "PATCH",
        "/v1/rollouts/web",
        &[],
        r#"{"percent":50}"#,
    )
    .await;
    assert_eq!(outside.frame("drain").await["next"], "native");
    assert_eq!(outside.closed().await, 4300);
    live.app.publish();
    assert_eq!(inside.frame("ev").await["d"]["n"], 1);

    // A percentage that the file lowers does the same.
    live.reload("percent = 0\ndrain = \"1s\"").await;
    assert_eq!(inside.closed().await, 4300);
}

#[tokio::test]
async fn where_another_route_stays_in_only_the_subscription_ends() {
    let live = Live::start("percent = 100\nkill_drain = \"1s\"").await;
    let second = "\n[[route]]\npath = \"/second\"\nupstream = \"app\"\nsource = \"sse\"\n";
    live.folder.write(&(live.folder.read() + second));
    live.house.reload().await.unwrap();
    let mut socket = live.open("/_crossfade/ws", &[JSON]).await;
    socket.frame("welcome").await;
    // No route's own connection bears the same label wherever it is counted.
    for counted in [
        r#"crossfade_sessions{cohort="websocket",protocol="json",route="-"}"#,
        r#"crossfade_connects_total{protocol="json",reason="bucket",result="accepted",route="-"}"#,
    ] {
        assert!(metric(live.admin(), counted).await > 0.0, "{counted}");
    }
    let first = socket.subscribe(1, "/feed").await;
    let other = socket.subscribe(2, "/second").await;
    post(live.admin(), "/v1/rollouts/web/kill", "").await;
    let end = socket.frame("end").await;
    assert_eq!(
        (end["ch"].as_u64(), end["code"].as_str()),
        (Some(first), Some("legacy"))
    );
    live.app.publish();
    assert_eq!(socket.frame("ev").await["ch"], other);
    socket
        .send(json!({"t": "sub", "id": 3, "path": "/feed"}))
        .await;
    let refused = socket.frame("err").await;
    assert_eq!(
        (refused["id"].as_u64(), refused["code"].as_str()),
        (Some(3), Some("legacy"))
    );
}

#[tokio::test]
async fn an_admins_drain_empties_the_node_and_can_be_taken_back() {
    let live = Live::start("percent = 100").await;
    let mut first = live.open("/feed", &[JSON]).await;
    first.frame("ok").await;
    let drained = post(live.admin(), "/v1/drain", r#"{"window":"500ms"}"#).await;
    assert_eq!(
        (drained.status, &drained.json["sessions"]),
        (202, &json!(1))
    );
    let refused = Socket::open(live.public(), "/feed", &[JSON])
        .await
        .err()
        .unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let drain = first.frame("drain").await;
    assert_eq!(drain["next"], "same");
    assert_eq!(first.closed().await, 4200);
    live.has_sessions(0).await;

    ask(live.admin(), "DELETE", "/v1/drain", &[], "").await;
    let mut second = live.open("/feed", &[JSON]).await;
    second.frame("ok").await;
    post(live.admin(), "/v1/drain", r#"{"window":"1h"}"#).await;
    second.frame("drain").await;
    let cancelled = ask(live.admin(), "DELETE", "/v1/drain", &[], "").await;
    assert_eq!(cancelled.json["sessions"], 1);
    live.app.publish();
    assert_eq!(second.frame("ev").await["d"]["n"], 1);
    assert_eq!(get(live.admin(), "/readyz").await.status, 200);
}

#[tokio::test]
async fn admin_api_lists_and_reaches_connected_sessions() {
    let live = Live::start("percent = 100").await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut socket = live.open("/feed", &[JSON]).await;
        socket.frame("ok").await;
        clients.push(socket);
    }
    let page = get(live.admin(), "/v1/sessions?limit=2").await.json;
    assert_eq!(
        (&page["total"], page["sessions"].as_array().unwrap().len()),
        (&json!(3), 2)
    );
    let first = &page["sessions"][0];
    let keys: Vec<&String> = first.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "id",
            "user",
            "remote",
            "protocol",
            "transport",
            "namespace",
            "cohort",
            "connected_at",
            "queued",
            "subscriptions"
        ]
    );
    let subscription = &first["subscriptions"][0];
    assert_eq!(
        (&subscription["route"], &subscription["path"]),
        (&json!("feed"), &json!("/feed"))
    );
    let next = page["next"].as_str().unwrap();
    let rest = get(live.admin(), &format!("/v1/sessions?limit=2&after={next}"))
        .await
        .json;
    assert_eq!(
        (&rest["next"], rest["sessions"].as_array().unwrap().len()),
        (&json!(null), 1)
    );

    let id = first["id"].as_str().unwrap();
    let foreign = get(live.admin(), &format!("/v1/sessions?after={id}x")).await;
    assert_eq!(foreign.status, 422);

    let topics = get(live.admin(), "/v1/topics").await.json;
    assert_eq!(topics["total"], 1);
    let topic = &topics["topics"][0];
    assert_eq!(
        (&topic["subscribers"], &topic["live"]),
        (&json!(3), &json!(true))
    );
    let keys: Vec<&String> = topic.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "route",
            "path",
            "scope",
            "subscribers",
            "at",
            "live",
            "why",
            "history"
        ]
    );

    let notice = r#"{"msg":"soon","level":"warn","d":{"x":1},"route":"feed"}"#;
    let notified = post(live.admin(), "/v1/sessions/notify", notice).await;
    assert_eq!(notified.json, json!({ "notified": 3 }));
    let seen = clients[0].frame("notice").await;
    assert_eq!(
        seen,
        json!({"t": "notice", "level": "warn", "msg": "soon", "d": {"x": 1}})
    );

    let id = first["id"].as_str().unwrap();
    let order = json!({ "ids": [id], "code": 4403 }).to_string();
    let closed = post(live.admin(), "/v1/sessions/close", &order).await;
    assert_eq!(closed.json, json!({ "closed": 1 }));
    assert_eq!(clients[0].closed().await, 4403);
    live.has_sessions(2).await;
    // Who was closed a moment ago is still among the sessions, and is not closed again.
    let id = get(live.admin(), "/v1/sessions").await.json["sessions"][0]["id"].clone();
    let order = json!({ "ids": [id] }).to_string();
    let closed = post(live.admin(), "/v1/sessions/close", &order).await;
    assert_eq!(closed.json, json!({ "closed": 1 }));
    let all = post(live.admin(), "/v1/sessions/close", r#"{"all":true}"#).await;
    assert_eq!(all.json, json!({ "closed": 1 }));
    assert_eq!(clients[1].closed().await, 4200);
    live.has_sessions(0).await;
    let health = get(live.admin(), "/v1/health").await.json;
    let source = &health["sources"][0];
    assert_eq!(
        (&source["route"], &source["kind"]),
        (&json!("feed"), &json!("sse"))
    );
}

#[tokio::test]
async fn shutdown_finishes_requests_and_drains_all_sessions() {
    let mut live = Live::start("percent = 100").await;
    let text = adapt(&live.folder.text("percent = 100"), &live.app);
    live.folder
        .write(&text.replace("[server]", "[server]\ndrain_timeout = \"4s\""));
    live.house.reload().await.unwrap();
    let public = live.public().to_owned();
    let address = public.strip_prefix("http://").unwrap().parse().unwrap();
    let mut client = live.open("/feed", &[JSON]).await;
    client.frame("ok").await;

    let since = Instant::now();
    let lame_duck = async {
        // Still accepted at first: load balancers have to notice.
        let mut peer = crate::harness::Peer::connect(address).await;
        let slow = peer.ask("GET /slow", "", "").await;
        assert_eq!((slow.status(), slow.text().as_str()), (200, "done"));
        // Under way when nothing more is accepted, 0.8 s after the start.
        let rest = Duration::from_millis(700).saturating_sub(since.elapsed());
        tokio::time::sleep(rest).await;
        let slow = peer.ask("GET /slow", "", "").await;
        assert_eq!((slow.status(), slow.text().as_str()), (200, "done"));
        let refused = tokio::net::TcpStream::connect(address).await;
        assert!(refused.is_err(), "nothing more is accepted");
    };
    let told = async {
        let drain = client.frame("drain").await;
        assert_eq!(
            (drain["next"].as_str(), drain["why"].as_str()),
            (Some("same"), Some("deploy"))
        );
        client.closed().await
    };
    let (_, _, code) = tokio::join!(live.house.drain(), lame_duck, told);
    assert_eq!(code, 4200);
    assert!(
        since.elapsed() < Duration::from_secs(4),
        "{:?}",
        since.elapsed()
    );
}

#[tokio::test]
async fn leaving_at_once_says_going_away() {
    let mut live = Live::start("percent = 100").await;
    let mut client = live.open("/feed", &[JSON]).await;
    client.frame("ok").await;
    let since = Instant::now();
    let stop = live.house.stop();
    let closed = async {
        loop {
            if let Seen::Closed(code) = client.next().await {
                break code;
            }
        }
    };
    let ((), code) = tokio::join!(stop, closed);
    assert_eq!(code, 1001);
    assert!(since.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn another_secret_makes_another_unit_and_needs_no_restart() {
    let live = Live::start("percent = 100").await;
    let origin = origin(&live);
    let kept = cookie(true);
    let sets_cookie = async || {
        let mut peer = crate::harness::Peer::connect(live.public()[7..].parse().unwrap()).await;
        let fields = format!("{kept}\r\n{origin}\r\n");
        let answer = peer.ask("GET /_crossfade/transport", &fields, "").await;
        assert_eq!(answer.status(), 200);
        answer.field("set-cookie").is_some()
    };
    assert!(!sets_cookie().await, "the cookie is ours");
    let text = live.folder.read();
    live.folder
        .write(&text.replace(SECRET, "another-secret-another-secret-another"));
    assert!(live.house.reload().await.unwrap().changed);
    assert!(sets_cookie().await, "it no longer is");
}

#[tokio::test]
async fn a_page_of_sessions_goes_on_where_one_has_left() {
    let live = Live::start("percent = 100").await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut socket = live.open("/feed", &[JSON]).await;
        let welcome = socket.frame("welcome").await;
        clients.push((socket, welcome["conn"].clone()));
    }
    live.has_sessions(4).await;
    let page = get(live.admin(), "/v1/sessions?limit=2").await.json;
    let next = page["next"].as_str().unwrap();
    // The last one of the page leaves, and so does the first.
    let ids = [&page["sessions"][0]["id"], &page["sessions"][1]["id"]];
    let order = json!({ "ids": ids }).to_string();
    post(live.admin(), "/v1/sessions/close", &order).await;
    live.has_sessions(2).await;
    let path = format!("/v1/sessions?limit=2&after={next}");
    let rest = get(live.admin(), &path).await.json;
    let shown: Vec<_> = rest["sessions"].as_array().unwrap().iter().collect();
    let shown: Vec<_> = shown.iter().map(|session| &session["id"]).collect();
    assert_eq!(shown, [&clients[2].1, &clients[3].1]);
    assert_eq!(rest["next"], json!(null));
}

#[tokio::test]
async fn a_rollout_counts_multiplexed_sessions() {
    let live = Live::start("percent = 100").await;
    let sessions = async || {
        let rollouts = get(live.admin(), "/v1/rollouts").await.json;
        rollouts["rollouts"][0]["sessions"].clone()
    };
    let mut own = live.open("/feed", &[JSON]).await;
    own.frame("ok").await;
    let mut many = live.open("/_crossfade/ws", &[JSON]).await;
    many.frame("welcome").await;
    assert_eq!(sessions().await, json!(1), "it listens to nothing yet");
    let ch = many.subscribe(1, "/feed").await;
    assert_eq!(sessions().await, json!(2));
    many.send(json!({"t": "unsub", "id": 2, "ch": ch})).await;
    many.frame("ok").await;
    assert_eq!(sessions().await, json!(1));
}
