//! How sessions follow rollouts.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::FILE;
use super::memory::pair;
use super::support::{Client, World, event};
use crate::rollout::{StageState, TransportKind, bucket};
use crate::session::accepted::{SingleForm, example};
use crate::session::registry::{Notice, Selector};

pub(super) const ROLLED: &str = r#"
[upstream.app]
servers = ["http://127.0.0.1:9"]

[rollout.web]
percent = 100
by = "cookie"

[[route]]
path = "/stream"
name = "stream"
upstream = "app"
source = "sse"
rollout = "web"
"#;

const ALSO_FREE: &str = r#"
[[route]]
path = "/free"
upstream = "app"
source = "sse"
"#;

fn somebody() -> crate::session::Accepted {
    let mut opening = example();
    opening.handshake.candidate.cookie = Some("unit".into());
    opening
}

#[tokio::test(start_paused = true)]
async fn those_meant_are_closed_and_told() {
    let mut world = World::new(FILE);
    let mut first = world.join().await;
    let mut second = world.join().await;
    first
        .subscribe(&mut world, "/stream", |feed| feed.opened())
        .await;
    let notice = Arc::new(Notice {
        level: "warn".into(),
        msg: "soon".into(),
        d: None,
    });
    let sessions = &world.shared.sessions;
    assert_eq!(sessions.notify(notice.clone(), Some("stream")).await, 1);
    assert_eq!(
        first.read_text().await,
        r#"{"t":"notice","level":"warn","msg":"soon"}"#
    );
    assert_eq!(sessions.notify(notice, None).await, 2);
    assert_eq!(second.read().await["t"], "notice");
    assert_eq!(
        sessions
            .close(&Selector::Route("stream".into()), 4200)
            .await,
        1
    );
    assert_eq!(first.closed().await.0, 4200);
    assert_eq!(
        sessions
            .close(&Selector::Ids(vec!["node-2".into()]), 4403)
            .await,
        1
    );
    assert_eq!(second.closed().await.0, 4403);
}

#[tokio::test(start_paused = true)]
async fn a_kill_sends_everyone_native_within_its_window() {
    let mut world = World::new(ROLLED);
    let mut raw = world.single("/stream", SingleForm::Raw { wrap: false });
    raw.handshake.candidate = somebody().handshake.candidate;
    let mut json = world.single("/stream", SingleForm::Json);
    json.handshake.candidate = somebody().handshake.candidate;
    let mut clients = Vec::new();
    for opening in [raw, json, somebody()] {
        clients.push(world.connect(opening).await);
    }
    world.feed().await.opened();
    assert_eq!(clients[1].read().await["t"], "welcome");
    assert_eq!(clients[1].read().await["t"], "ok");
    assert_eq!(clients[2].read().await["t"], "welcome");
    let began = Instant::now();
    world.stage("web", 100_000, StageState::Killed);
    let drain = clients[1].read().await;
    assert_eq!(
        (&drain["t"], &drain["next"]),
        (&"drain".into(), &"native".into())
    );
    assert!(drain["in_ms"].as_u64().is_some_and(|ms| ms <= 5000));
    assert_eq!(clients[2].read().await["t"], "drain");
    for client in &mut clients {
        assert_eq!(client.closed().await.0, 4302);
    }
    assert!(began.elapsed() <= Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn a_lowered_percentage_and_a_rollback_have_codes_of_their_own() {
    for (percent, state, code) in [
        (0, StageState::Running, 4300),
        (100_000, StageState::RolledBack, 4301),
    ] {
        let world = World::new(ROLLED);
        let mut client = world.connect(somebody()).await;
        client.read().await;
        world.stage("web", percent, state);
        assert_eq!(client.read().await["t"], "drain");
        assert_eq!(client.closed().await.0, code);
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_that_is_in_again_stays() {
    let world = World::new(ROLLED);
    let mut client = world.connect(somebody()).await;
    client.read().await;
    world.stage("web", 0, StageState::Running);
    assert_eq!(client.read().await["t"], "drain");
    world.stage("web", 100_000, StageState::Running);
    for _ in 0..20 {
        client.stays_silent().await;
    }
    client.send(r#"{"t":"ping"}"#).await;
    assert_eq!(client.read().await["t"], "pong");
}

/// Sessions by the bucket of their unit; half of them carry one stream.
struct Crowd {
    sessions: Vec<(u32, Client, Arc<AtomicUsize>)>,
}

impl Crowd {
    /// So many that a percentage lets in.
    async fn gather(world: &World, count: usize, percent: u32) -> Self {
        world.stage("web", percent, StageState::Running);
        let units = (0..).map(|number| format!("unit-{number}"));
        let buckets = units.map(|unit| (bucket("web", &unit), unit));
        let let_in = buckets.filter(|(bucket, _)| *bucket < percent).take(count);
        let mut sessions = Vec::new();
        for (index, (bucket, unit)) in let_in.enumerate() {
            let mut opening = match index % 2 {
                0 => example(),
                _ => world.single("/stream", SingleForm::Json),
            };
            opening.handshake.candidate.cookie = Some(unit);
            let (mut client, looks) = world.connect_counted(opening).await;
            assert_eq!(client.read().await["t"], "welcome");
            sessions.push((bucket, client, looks));
        }
        Crowd { sessions }
    }

    /// The buckets of those that something wakes.
    async fn woken_by(&self, change: impl FnOnce()) -> Vec<u32> {
        let looks = || {
            let looks = |(_, _, looks): &(_, _, Arc<AtomicUsize>)| looks.load(Ordering::Relaxed);
            self.sessions.iter().map(looks).collect::<Vec<_>>()
        };
        let settled = || tokio::time::sleep(Duration::from_millis(1));
        settled().await;
        let before = looks();
        change();
        settled().await;
        let woken = looks()
            .into_iter()
            .zip(before)
            .map(|(now, then)| now > then);
        let all = self.sessions.iter().zip(woken);
        all.filter_map(|((bucket, ..), woken)| woken.then_some(*bucket))
            .collect()
    }

    fn buckets(&self, range: Range<u32>) -> Vec<u32> {
        let buckets = self.sessions.iter().map(|(bucket, ..)| *bucket);
        buckets.filter(|bucket| range.contains(bucket)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_percentage_wakes_the_sessions_concerned() {
    let mut world = World::new(ROLLED);
    let crowd = Crowd::gather(&world, 1000, 5_000).await;
    world.feed().await.opened();
    let percent = |percent| {
        let world = &world;
        move || world.stage("web", percent, StageState::Running)
    };
    // None of them has anything to do with it.
    assert_eq!(crowd.woken_by(percent(10_000)).await, [0; 0]);
    let lowered = crowd.woken_by(percent(3_000)).await;
    assert_eq!(lowered, crowd.buckets(3_000..5_000));
    assert!((300..500).contains(&lowered.len()), "{}", lowered.len());
    // Those that leave and are in again.
    let raised = crowd.woken_by(percent(4_000)).await;
    assert_eq!(raised, crowd.buckets(3_000..4_000));
    assert_eq!(crowd.woken_by(percent(4_000)).await, [0; 0]);
    let killed = crowd.woken_by(|| world.stage("web", 4_000, StageState::Killed));
    assert_eq!(killed.await, crowd.buckets(0..5_000));
}

#[tokio::test(start_paused = true)]
async fn a_kill_wakes_no_stream_of_another_rollout() {
    let another = r#"
[rollout.other]
percent = 100
by = "cookie"

[[route]]
path = "/other"
upstream = "app"
source = "sse"
rollout = "other"
"#;
    let file = format!("{ROLLED}{another}{ALSO_FREE}");
    let world = World::new(&file);
    let mut sessions = Vec::new();
    for (bucket, path) in (0..).zip(["/stream", "/other", "/free"]) {
        let (mut client, looks) = world
            .connect_counted(world.single(path, SingleForm::Json))
            .await;
        assert_eq!(client.read().await["t"], "welcome");
        sessions.push((bucket, client, looks));
    }
    let crowd = Crowd { sessions };
    let kill = |rollout| {
        let world = &world;
        move || world.stage(rollout, 100_000, StageState::Killed)
    };
    assert_eq!(crowd.woken_by(kill("other")).await, [1]);
    assert_eq!(crowd.woken_by(kill("web")).await, [0]);
    // Where a reload gives the routes to other rollouts, these count.
    world.stage("web", 100_000, StageState::Running);
    world.stage("other", 100_000, StageState::Running);
    let swapped = file
        .replace(r#"rollout = "web""#, r#"rollout = "none""#)
        .replace(r#"rollout = "other""#, r#"rollout = "web""#)
        .replace(r#"rollout = "none""#, r#"rollout = "other""#);
    world.reload(&swapped);
    assert_eq!(crowd.woken_by(kill("other")).await, [0]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_leaves_for_legacy_counts_there() {
    let world = World::new(ROLLED);
    let mut client = world.connect(somebody()).await;
    client.read().await;
    let cohorts = || {
        let metrics = world.shared.telemetry.render();
        let sessions = |cohort| {
            let sample =
                format!(r#"crossfade_sessions{{cohort="{cohort}",protocol="json",route="-"}} "#);
            let line = metrics.lines().find_map(|line| line.strip_prefix(&sample));
            line.map_or(0, |count| count.parse().expect("a number"))
        };
        (sessions("websocket"), sessions("legacy"))
    };
    let listed = async || world.shared.sessions.list().await[0].cohort;
    assert_eq!(
        (cohorts(), listed().await),
        ((1, 0), TransportKind::WebSocket)
    );
    world.stage("web", 0, StageState::Running);
    assert_eq!(client.read().await["next"], "native");
    assert_eq!((cohorts(), listed().await), ((0, 1), TransportKind::Legacy));
    world.stage("web", 100_000, StageState::Running);
    client.stays_silent().await;
    assert_eq!(
        (cohorts(), listed().await),
        ((1, 0), TransportKind::WebSocket)
    );
    world.stage("web", 0, StageState::Killed);
    assert_eq!(client.closed().await.0, 4302);
    drop(client);
    world.shared.sessions.gone().await;
    assert_eq!(cohorts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn where_other_routes_stay_in_only_the_subscription_ends() {
    let mut world = World::new(&format!("{ROLLED}{ALSO_FREE}"));
    let mut client = world.connect(somebody()).await;
    client.read().await;
    let (_feed, ok) = client
        .subscribe(&mut world, "/stream", |feed| feed.opened())
        .await;
    world.stage("web", 100_000, StageState::Killed);
    let end = client.read().await;
    assert_eq!((&end["t"], &end["ch"]), (&"end".into(), &ok["ch"]));
    assert_eq!(
        (&end["code"], &end["final"]),
        (&"legacy".into(), &false.into())
    );
    client.send(r#"{"t":"sub","id":4,"path":"/stream"}"#).await;
    let refused = client.read().await;
    assert_eq!(
        (&refused["code"], &refused["status"]),
        (&"legacy".into(), &403.into())
    );
    client
        .subscribe(&mut world, "/free", |feed| feed.opened())
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_kill_between_handshake_and_session_is_not_missed() {
    let world = World::new(ROLLED);
    let (transport, far) = pair(4096);
    let session = crate::session::run(
        transport,
        somebody(),
        world.shared.in_force.load_full(),
        world.shared.clone(),
    );
    world.stage("web", 100_000, StageState::Killed);
    tokio::spawn(session);
    let mut client = Client::on(far);
    assert_eq!(client.read().await["t"], "welcome");
    assert_eq!(client.read().await["t"], "drain");
    assert_eq!(client.closed().await.0, 4302);
}

#[tokio::test(start_paused = true)]
async fn a_notice_waits_for_a_client_that_reads_again() {
    let mut world = World::new(FILE);
    let mut client = world.connect_narrow(example(), 64).await;
    client.read().await;
    let (feed, _) = client
        .subscribe(&mut world, "/stream", |feed| feed.opened())
        .await;
    feed.events(vec![event("", "", &format!("\"{}\"", "x".repeat(500)))]);
    tokio::task::yield_now().await;
    let notice = Arc::new(Notice {
        level: "info".into(),
        msg: "late".into(),
        d: None,
    });
    assert_eq!(world.shared.sessions.notify(notice, None).await, 1);
    tokio::task::yield_now().await;
    assert_eq!(client.read().await["t"], "ev");
    assert_eq!(client.read().await["msg"], "late");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_drain_keeps_no_client_that_a_rollout_moved() {
    let world = World::new(ROLLED);
    world.stage("web", 100_000, StageState::Running);
    let mut client = world.connect(somebody()).await;
    assert_eq!(client.read().await["t"], "welcome");
    world.stage("web", 0, StageState::Running);
    assert_eq!(client.read().await["next"], "native");
    // Sooner than the rollout wanted.
    world.shared.sessions.drain(Duration::ZERO, "admin");
    world.shared.sessions.cancel_drain();
    assert_eq!(client.closed().await.0, 4300);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_takes_back_leaves_a_drain_as_it_is() {
    let world = World::new(ROLLED);
    world.stage("web", 100_000, StageState::Running);
    let mut client = world.connect(somebody()).await;
    assert_eq!(client.read().await["t"], "welcome");
    world
        .shared
        .sessions
        .drain(Duration::from_secs(60), "admin");
    assert_eq!(client.read().await["next"], "same");
    world.stage("web", 0, StageState::Running);
    assert_eq!(client.read().await["next"], "native");
    world.stage("web", 100_000, StageState::Running);
    assert_eq!(client.closed().await.0, 4200);
}
