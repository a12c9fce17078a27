//! A session outlives its transport where its client may come back.

use std::time::Duration;

use super::FILE;
use super::memory::pair;
use super::support::{Client, World, event};
use crate::session::accepted::{Accepted, example};
use crate::session::resume_secret::{Keep, SecretId};

const WINDOW: Duration = Duration::from_secs(30);

fn id(last: u8) -> SecretId {
    SecretId([last; 16])
}

fn kept(last: u8) -> Accepted {
    Accepted {
        keep: Some(Keep {
            id: id(last),
            window: WINDOW,
        }),
        ..example()
    }
}

/// Until as many sessions are parked.
async fn parked(world: &World, count: usize) {
    while world.shared.sessions.parked() != count {
        tokio::task::yield_now().await;
    }
}

fn come_back(world: &World, last: u8) -> Client {
    let (transport, far) = pair(1 << 20);
    let attached = world.shared.sessions.attach(&id(last), transport);
    assert!(attached.is_ok(), "no session of this id");
    Client::on(far)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_misses_nothing() {
    let mut world = World::new(FILE);
    let mut client = world.connect(kept(1)).await;
    client.read().await;
    let (feed, ok) = client
        .subscribe(&mut world, "/stream", |feed| feed.opened())
        .await;
    let held = world.shared.hub.held();
    drop(client);
    parked(&world, 1).await;
    assert!(world.shared.hub.held() > held, "it costs memory");
    feed.events(vec![event("", "", "1"), event("", "", "2")]);
    // Longer than a client may be silent that is there.
    tokio::time::sleep(WINDOW - Duration::from_secs(1)).await;
    let mut client = come_back(&world, 1);
    for data in [1, 2] {
        let seen = client.read().await;
        assert_eq!((&seen["ch"], &seen["d"]), (&ok["ch"], &data.into()));
    }
    parked(&world, 0).await;
    feed.events(vec![event("", "", "3")]);
    assert_eq!(client.read().await["d"], 3);
    assert_eq!(world.shared.sessions.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_had_not_left_comes_over_the_new_transport() {
    let world = World::new(FILE);
    // It takes one message, the welcome.
    let (transport, far) = pair(1);
    let in_force = world.shared.in_force.load_full();
    let session = crate::session::run(transport, kept(2), in_force, world.shared.clone());
    tokio::spawn(session);
    let mut client = Client::on(far);
    client.send(r#"{"t":"hello","id":7}"#).await;
    while world.shared.sessions.list().await[0].queued.messages == 0 {}
    drop(client);
    parked(&world, 1).await;
    let mut client = come_back(&world, 2);
    assert_eq!(client.read_text().await, r#"{"t":"ok","id":7}"#);
}

#[tokio::test(start_paused = true)]
async fn a_transport_may_be_replaced_while_it_is_there() {
    let world = World::new(FILE);
    let mut before = world.connect(kept(3)).await;
    before.read().await;
    let mut client = come_back(&world, 3);
    client.send(r#"{"t":"ping"}"#).await;
    assert_eq!(client.read_text().await, r#"{"t":"pong"}"#);
    assert_eq!(world.shared.sessions.parked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_client_stays_away_ends() {
    let mut world = World::new(FILE);
    let mut client = world.connect(kept(4)).await;
    client.read().await;
    let began = tokio::time::Instant::now();
    let (_feed, _) = client
        .subscribe(&mut world, "/stream", |feed| feed.opened())
        .await;
    drop(client);
    world.shared.sessions.gone().await;
    assert_eq!(began.elapsed().as_secs(), WINDOW.as_secs());
    assert_eq!(world.shared.sessions.parked(), 0);
    let (transport, _far) = pair(1);
    assert!(world.shared.sessions.attach(&id(4), transport).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_a_parked_session_at_once() {
    let world = World::new(FILE);
    let mut client = world.connect(kept(5)).await;
    client.read().await;
    drop(client);
    parked(&world, 1).await;
    let everyone = crate::session::registry::Selector::All;
    assert_eq!(world.shared.sessions.close(&everyone, 4200).await, 1);
    world.shared.sessions.gone().await;
    assert_eq!(world.shared.sessions.parked(), 0);
}
