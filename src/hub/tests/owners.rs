//! Against whose number of topics a topic counts: one client's cap is no other's.

use std::sync::Arc;

use super::support::*;
use crate::config::{Route, Share};
use crate::error::Code;
use crate::hub::*;

const ALICE: Owner = Owner([1, 1]);
const BOB: Owner = Owner([1, 2]);

/// A hub that allows each owner two topics of its one public route.
struct Owners {
    world: World,
    route: Arc<Route>,
}

impl Owners {
    fn new(limits: HubLimits) -> Self {
        Owners {
            world: World::new(limits),
            route: route("list", sse(), Share::Public, window(10)),
        }
    }

    fn join(&self, owner: Owner, url: &str) -> Result<Subscriber, Code> {
        let target = Target {
            owner,
            ..Target::clone(&target(&self.route, url, Scope::Public))
        };
        let none = Credentials::default();
        let joined = self.world.join_as(&Arc::new(target), none, Start::Live);
        joined
            .map(|joined| joined.subscriber)
            .map_err(|refusal| refusal.code)
    }

    fn is_full(&self, owner: Owner) -> bool {
        match self.join(owner, "/another") {
            Ok(_) => false,
            Err(code) => code == Code::TooManySubs,
        }
    }
}

fn two_each() -> HubLimits {
    HubLimits {
        topics_per_principal: 2,
        ..ROOMY
    }
}

#[tokio::test(start_paused = true)]
async fn a_cap_that_one_client_reaches_is_no_others() {
    let owners = Owners::new(two_each());
    let _kept = ["/1", "/2"].map(|url| owners.join(ALICE, url).unwrap());
    assert!(owners.is_full(ALICE));
    // A topic that another client has made is no new topic for any client.
    let _bobs = owners.join(BOB, "/3").unwrap();
    let _shared = owners.join(ALICE, "/3").unwrap();
    assert!(!owners.is_full(BOB));
}

#[tokio::test(start_paused = true)]
async fn a_topic_counts_against_a_present_subscriber() {
    let owners = Owners::new(two_each());
    let alices = ["/1", "/2"].map(|url| owners.join(ALICE, url).unwrap());
    let again = owners.join(ALICE, "/1").unwrap();
    let bobs = ["/1", "/2"].map(|url| owners.join(BOB, url).unwrap());
    // One of her two on the first topic goes: it is hers yet. The second is only Bob's by now.
    drop(alices);
    let more = owners.join(ALICE, "/3").unwrap();
    assert!(owners.is_full(ALICE) && !owners.is_full(BOB));
    drop(again);
    assert!(!owners.is_full(ALICE) && owners.is_full(BOB));
    // No owner's number is left when all topics are gone.
    drop((bobs, more));
    tokio::time::sleep(std::time::Duration::from_secs(61)).await;
    assert_eq!(owners.world.hub.topics().len(), 0);
    let _two = ["/1", "/2"].map(|url| owners.join(BOB, url).unwrap());
    assert!(owners.is_full(BOB));
}

#[tokio::test(start_paused = true)]
async fn an_idle_topic_counts_against_its_new_subscriber() {
    let owners = Owners::new(two_each());
    let alices = ["/1", "/2"].map(|url| owners.join(ALICE, url).unwrap());
    let _bobs = owners.join(BOB, "/3").unwrap();
    drop(alices);
    let _one = owners.join(BOB, "/1").unwrap();
    assert_eq!(owners.join(BOB, "/2").err(), Some(Code::TooManySubs));
    let _two = ["/2", "/4"].map(|url| owners.join(ALICE, url).unwrap());
    assert!(owners.is_full(ALICE));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_owner_has_no_cap_of_its_own() {
    let owners = Owners::new(HubLimits {
        topics: 20,
        ..two_each()
    });
    let urls = (0..20).map(|n| format!("/{n}"));
    let _kept: Vec<_> = urls
        .map(|url| owners.join(Owner::UNKNOWN, &url).unwrap())
        .collect();
    assert!(owners.is_full(Owner::UNKNOWN) && owners.is_full(ALICE));
}

#[tokio::test(start_paused = true)]
async fn limits_follow_the_configuration() {
    let owners = Owners::new(two_each());
    let mut kept = ["/1", "/2"].map(|url| owners.join(ALICE, url).unwrap());
    let limits = HubLimits {
        topics_per_principal: 4,
        ..ROOMY
    };
    owners.world.hub.set_limits(limits);
    let more = ["/3", "/4"].map(|url| owners.join(ALICE, url).unwrap());
    assert!(owners.is_full(ALICE));
    // What is above a lowered cap stays; topics without subscribers make room until it fits.
    owners.world.hub.set_limits(two_each());
    assert!(owners.is_full(ALICE));
    drop(more);
    assert!(owners.is_full(ALICE));
    assert_eq!(owners.world.hub.topics().len(), 2);
    kept[0] = owners.join(ALICE, "/2").unwrap();
    assert!(!owners.is_full(ALICE));
    let limits = HubLimits { topics: 1, ..ROOMY };
    owners.world.hub.set_limits(limits);
    assert_eq!(owners.join(BOB, "/new").err(), Some(Code::TooManySubs));
    drop(kept);
}

#[tokio::test(start_paused = true)]
async fn what_a_topic_counts_against_is_handed_over() {
    let here = Owners::new(two_each());
    let _kept = ["/1", "/2"].map(|url| here.join(ALICE, url).unwrap());
    let exports = here.world.hub.export().begun;
    let there = Owners::new(two_each());
    let (requests, _asked) = tokio::sync::mpsc::channel(1);
    let mut followers = Vec::new();
    for (number, export) in exports.iter().enumerate() {
        let Some(replication::ReplicationMessage::Begin(topic)) = export.begin() else {
            panic!("not told of");
        };
        let find = |_: &str| Some(there.route.clone());
        followers.extend(
            there
                .world
                .hub
                .follow(number as u64, &topic, find, requests.clone()),
        );
    }
    assert_eq!(followers.len(), 2);
    // Both are Alice's, whichever client was subscribed over there: she gets both, and no third.
    let _again = ["/1", "/2"].map(|url| there.join(ALICE, url).unwrap());
    assert!(there.is_full(ALICE) && !there.is_full(BOB));
}

#[tokio::test(start_paused = true)]
async fn topics_that_differ_in_one_parameter_name_it() {
    let owners = Owners::new(ROOMY);
    let urls = [
        "/list?page=1&_=17",
        "/list?page=1&%5f=18",
        "/list?_=19&page=1",
        "/list?page=1&_=20",
        "/list?page=2&_=21",
        "/list",
        "/other?page=1&_=22",
    ];
    let kept = urls.map(|url| owners.join(ALICE, url).unwrap());
    let splits = owners.world.hub.splits();
    let split = Split {
        route: "list".into(),
        parameter: "_".into(),
        topics: 4,
    };
    assert_eq!(splits, [split]);
    drop(kept);
    let owners = Owners::new(ROOMY);
    let many = "a&".repeat(40);
    let urls = [
        "/a?x=1".to_owned(),
        "/b?x=2".into(),
        format!("/c?{many}d=1"),
        format!("/c?{many}d=2"),
    ];
    let _kept = urls.map(|url| owners.join(ALICE, &url).unwrap());
    assert_eq!(owners.world.hub.splits(), []);
}
