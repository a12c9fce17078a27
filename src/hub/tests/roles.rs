//! A topic changes hands between two processes that live on: the owner becomes a follower, and the owner again.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::processes::{Client, Kind};
use super::support::*;
use crate::hub::replication::{Export, Follower, ReplicationMessage};
use crate::hub::role::Leader;
use crate::hub::topic::Topic;
use crate::hub::*;

const WALKS: u64 = 150;
const STEPS: usize = 60;

/// One process, with its half of the topic.
struct Process {
    world: World,
    topic: Arc<Topic>,
    clients: Vec<Client>,
}

impl Process {
    /// Sends the other one everything that is new.
    fn tell(&self, export: &mut Export, other: &Follower) {
        let messages = export.messages();
        messages
            .into_iter()
            .for_each(|message| other.apply(message));
    }

    fn is_owner(&self) -> bool {
        !self.topic.replica.is_follower()
    }

    fn export(&self) -> Export {
        Export::of(self.world.hub.node.clone(), self.topic.clone())
    }

    fn read(&mut self) {
        self.clients.iter_mut().for_each(Client::read);
    }
}

struct Walk {
    chance: fastrand::Rng,
    kind: Kind,
    target: Arc<Target>,
    /// The owner, and the one that follows.
    owner: Process,
    follower: Process,
    export: Export,
    import: Follower,
    feed: Publisher,
    produced: u64,
    published: Option<u64>,
}

fn requests() -> mpsc::Sender<FollowerRequest> {
    mpsc::channel(8).0
}

impl Walk {
    async fn begin(seed: u64) -> Self {
        let kind = Kind::ALL[seed as usize % 3];
        let target = kind.target(1000);
        let worlds = [World::new(ROOMY), World::new(ROOMY)];
        let client = Client::new(worlds[0].join(&target, Start::Live));
        let feed = worlds[0].feed().await;
        super::join::open(&feed);
        let export = worlds[0].hub.export().begun.remove(0);
        let Some(ReplicationMessage::Begin(record)) = export.begin() else {
            panic!("nothing to tell");
        };
        let find = |_: &str| Some(target.route.clone());
        let import = worlds[1].hub.follow(0, &record, find, requests());
        let [owner, follower] = worlds.map(|world| Process {
            topic: world.hub.node.all().remove(0),
            world,
            clients: Vec::new(),
        });
        let mut walk = Walk {
            chance: fastrand::Rng::with_seed(seed),
            kind,
            target,
            owner,
            follower,
            export,
            import: import.expect("it is new"),
            feed,
            produced: 0,
            published: None,
        };
        walk.owner.clients.push(client);
        walk
    }

    async fn step(&mut self) {
        match self.chance.u32(..10) {
            0..4 => self.publish(),
            4..6 => self.owner.tell(&mut self.export, &self.import),
            6 => {
                self.owner.read();
                self.follower.read();
            }
            7 => {
                let process = match self.chance.bool() {
                    true => &mut self.owner,
                    false => &mut self.follower,
                };
                let joined = process.world.join(&self.target, Start::Live);
                process.clients.push(Client::new(joined));
            }
            8 => self.cross(),
            _ => self.swap().await,
        }
    }

    fn publish(&mut self) {
        self.produced += self.chance.u64(1..3);
        self.kind.publish(&self.feed, self.published, self.produced);
        self.published = Some(self.produced);
    }

    /// A client of one process comes to the other with what it has seen, wherever that one stands.
    fn cross(&mut self) {
        let (from, to) = match self.chance.bool() {
            true => (&mut self.owner, &mut self.follower),
            false => (&mut self.follower, &mut self.owner),
        };
        if let Some(mut client) = from.clients.pop() {
            client.come_back(&to.world, &self.target);
            to.clients.push(client);
        }
    }

    /// The owner follows from now on, and the follower owns.
    async fn swap(&mut self) {
        let before = self.feed.clone();
        self.owner.topic.follow(Leader::new(0, requests()));
        let event = Publication::Events(vec![draft("too late", None)]);
        assert_eq!(before.publish(event, None).await, Err(Fenced));
        self.owner.tell(&mut self.export, &self.import);
        self.import.apply(ReplicationMessage::Released);
        std::mem::swap(&mut self.owner, &mut self.follower);
        self.feed = self.owner.world.feed().await;
        let from = self.kind.go_on(&self.feed, self.produced).await;
        assert!(from == self.published || self.kind != Kind::Polled);
        self.published = from;
        before.end(topic::internal());
        let Process { world, topic, .. } = &self.follower;
        self.export = self.owner.export();
        self.import = Follower::of(world.hub.node.clone(), topic.clone());
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_changes_hands_and_back_without_loss() {
    for seed in 0..walks(WALKS) {
        let mut walk = Walk::begin(seed).await;
        for _ in 0..STEPS {
            walk.step().await;
        }
        walk.swap().await;
        walk.publish();
        walk.owner.tell(&mut walk.export, &walk.import);
        for process in [&mut walk.owner, &mut walk.follower] {
            process.read();
            assert_eq!(
                process.world.running().await,
                usize::from(process.is_owner())
            );
            for client in &process.clients {
                assert_eq!(
                    (client.seen, client.losses),
                    (walk.produced, 0),
                    "seed {seed}"
                );
            }
        }
    }
}
