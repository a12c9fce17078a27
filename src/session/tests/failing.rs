//! A bug of ours costs one connection, never the house.

use bytes::Bytes;

use super::FILE;
use super::support::{Client, World};
use crate::event::Event;
use crate::protocol::json::Json;
use crate::protocol::{Input, Message, Output, Protocol, View, Violation};
use crate::session::client::example;
use crate::session::connection::Connection;

/// A protocol with a bug.
#[derive(Debug)]
struct Broken;

impl Protocol for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn decode(&self, _: Message<'_>) -> Result<Input, Violation> {
        panic!("a bug");
    }

    fn encode(&self, output: &Output<'_>) -> Option<Bytes> {
        Json.encode(output)
    }

    fn event(&self, event: &Event, view: View<'_>) -> Option<Bytes> {
        Json.event(event, view)
    }

    fn has_words(&self) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_closes_its_own_connection_and_is_counted() {
    let world = World::new(FILE);
    let mut witness = world.join().await;
    let (near, far) = tokio::io::duplex(4096);
    let mut connection = Connection::new(
        near,
        example(),
        world.shared.in_force.load_full(),
        world.shared.clone(),
    );
    connection.protocol = &Broken;
    tokio::spawn(connection);
    let mut client = Client::on(far).await;
    assert_eq!(client.read().await["t"], "welcome");
    client.send("anything").await;
    assert_eq!(client.closed().await.0, 1011);
    witness.send(r#"{"t":"ping"}"#).await;
    assert_eq!(witness.read().await["t"], "pong");
    assert_eq!(world.shared.sessions.count(), 1);
    let metrics = world.shared.telemetry.render();
    assert!(metrics.contains("crossfade_panics_total 1"), "{metrics}");
}
