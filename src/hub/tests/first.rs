//! The first subscriber of a topic starts its feed on another thread; the feed reads as that subscriber.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use super::support::*;
use crate::config::Share;
use crate::hub::*;

const TOPICS: usize = 5_000;

/// Reports with whose credentials it would read.
struct Witness(SyncSender<Credentials>);

impl Feed for Witness {
    fn run(self: Box<Self>, topic: Publisher) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.0.send(topic.credentials()).unwrap();
        Box::pin(std::future::pending())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn feed_starts_with_its_first_subscribers_credentials() {
    let (told, witnessed) = sync_channel(TOPICS);
    let feeds: Feeds = Box::new(move |_| Box::new(Witness(told.clone())));
    let limits = HubLimits {
        topics_per_principal: TOPICS,
        ..ROOMY
    };
    let hub = Hub::with_key(limits, feeds, Arc::new(Telemetry::default()), TopicKey::of);
    let route = route("feed", sse(), Share::User, window(10));
    let alice = cookie("session=alice");
    let scope = Scope::User(alice.principal());
    let join = |n| {
        let target = target(&route, &format!("/feed?{n}"), scope);
        let bell = Arc::new(WakeFlag::default());
        hub.join(target, alice.clone(), Start::Live, None, bell)
    };
    let joined: Vec<_> = (0..TOPICS).map(|n| join(n).unwrap()).collect();
    for _ in &joined {
        let patience = Duration::from_secs(20);
        assert_eq!(witnessed.recv_timeout(patience).unwrap(), alice);
    }
}
