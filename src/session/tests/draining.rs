//! How sessions follow a drain.

use std::time::Duration;

use tokio::time::Instant;

use super::FILE;
use super::support::World;
use crate::session::accepted::example;

#[tokio::test(start_paused = true)]
async fn a_drain_is_told_at_once_and_over_inside_its_window() {
    let world = World::new(FILE);
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(world.join().await);
    }
    let began = Instant::now();
    assert_eq!(
        world
            .shared
            .sessions
            .drain(Duration::from_secs(10), "deploy"),
        20
    );
    let mut instants = Vec::new();
    for client in &mut clients {
        let drain = client.read().await;
        assert_eq!(drain["t"], "drain");
        assert_eq!(
            (&drain["next"], &drain["why"]),
            (&"same".into(), &"deploy".into())
        );
        assert!(drain["retry_ms"][0].as_u64() < drain["retry_ms"][1].as_u64());
        instants.push(drain["in_ms"].as_u64().expect("milliseconds"));
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    let mut late = world.connect(example()).await;
    assert_eq!(late.read().await["t"], "welcome");
    assert_eq!(late.read().await["t"], "drain");
    late.send(r#"{"t":"sub","id":1,"path":"/stream"}"#).await;
    assert_eq!(late.read().await["code"], "draining");
    for client in &mut clients {
        assert_eq!(client.closed().await.0, 4200);
    }
    drop((clients, late));
    world.shared.sessions.gone().await;
    assert!(began.elapsed() <= Duration::from_secs(11));
    instants.sort();
    instants.dedup();
    assert!(instants.len() > 10, "{instants:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_drain_lets_them_stay() {
    let world = World::new(FILE);
    let mut client = world.join().await;
    world.shared.sessions.drain(Duration::from_secs(1), "admin");
    assert_eq!(client.read().await["t"], "drain");
    world.shared.sessions.cancel_drain();
    client.stays_silent().await;
    client.send(r#"{"t":"ping"}"#).await;
    assert_eq!(client.read().await["t"], "pong");
}
