//! A bug of ours costs one connection, never the process.

use super::FILE;
use super::memory::pair;
use super::support::{Client, World};
use crate::event::Event;
use crate::packet::Packet;
use crate::protocol::json::JsonCodec;
use crate::protocol::{Codec, EventView, Input, Message, Output, Violation};
use crate::session::accepted::example;
use crate::session::connection::Session;
use crate::session::link::Link;

/// A protocol with a bug.
#[derive(Debug)]
struct Broken;

impl Codec for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn decode(&mut self, _: Message<'_>, _: &mut Vec<Input>) -> Result<(), Violation> {
        panic!("a bug");
    }

    fn encode(&mut self, output: &Output<'_>, send: &mut dyn FnMut(Packet)) {
        JsonCodec.encode(output, send);
    }

    fn event(&mut self, event: &Event, view: EventView<'_>, send: &mut dyn FnMut(Packet)) {
        JsonCodec.event(event, view, send);
    }

    fn has_words(&self) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_closes_its_own_connection_and_is_counted() {
    let world = World::new(FILE);
    let mut witness = world.join().await;
    let (transport, _) = pair(4096);
    let mut session = Session::new(
        transport,
        example(),
        world.shared.in_force.load_full(),
        world.shared.clone(),
    );
    let (transport, far) = pair(4096);
    session.link = Link::new(transport, Box::new(Broken));
    tokio::spawn(session);
    let mut client = Client::on(far);
    assert_eq!(client.read().await["t"], "welcome");
    client.send("anything").await;
    assert_eq!(client.closed().await.0, 1011);
    witness.send(r#"{"t":"ping"}"#).await;
    assert_eq!(witness.read().await["t"], "pong");
    assert_eq!(world.shared.sessions.count(), 1);
    let metrics = world.shared.telemetry.render();
    assert!(metrics.contains("crossfade_panics_total 1"), "{metrics}");
}
