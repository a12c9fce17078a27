//! How many topics there are: in all, of one owner on one route, and of one upstream's own reads. Counted exactly, whichever
//! shards they lie in: each topic has a permit, which is given back with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::key::{Owner, Target};
use super::shards::{Shards, lock};
use super::topic::Topic;
use super::types::HubLimits;

/// Own reads at once of one upstream.
const OWN_READS: usize = 1000;

/// Which idle topic is given up first: one that is over before one that goes on, then the one that idles longest.
pub(super) type Rank = (bool, u64);

/// A route, and whose topics of it are counted.
type Owning = (Arc<str>, Owner);

pub(super) struct HubCounts {
    /// What the newest configuration allows, in all and of one owner.
    most: AtomicUsize,
    most_of_owner: AtomicUsize,
    topics: AtomicUsize,
    /// Numbers the moments at which topics lost their last subscriber.
    idled: AtomicU64,
    owners: Shards<HashMap<Owning, Owned>>,
    /// By upstream.
    own_reads: Mutex<HashMap<String, usize>>,
}

/// The topics of one route and owner.
#[derive(Default)]
struct Owned {
    count: usize,
    idle: BTreeMap<Rank, Arc<Topic>>,
}

/// One topic among all.
pub(super) struct TopicPermit {
    counts: Arc<HubCounts>,
    owner: OwnerPermit,
    _own_read: Option<OwnReadPermit>,
}

/// One topic among those of its owner; an unknown owner's are not counted.
pub(super) struct OwnerPermit {
    counts: Arc<HubCounts>,
    owning: Option<Owning>,
}

/// One topic among those that read one upstream for one subscriber each.
pub(super) struct OwnReadPermit {
    counts: Arc<HubCounts>,
    upstream: String,
}

impl HubCounts {
    /// None yet.
    pub(crate) fn new(limits: HubLimits) -> Self {
        HubCounts {
            most: AtomicUsize::new(limits.topics),
            most_of_owner: AtomicUsize::new(limits.topics_per_principal),
            topics: AtomicUsize::new(0),
            idled: AtomicU64::new(0),
            owners: Shards::new(HashMap::new),
            own_reads: Mutex::default(),
        }
    }

    /// Other limits.
    pub(crate) fn set_limits(&self, limits: HubLimits) {
        self.most.store(limits.topics, Ordering::Relaxed);
        let of_owner = limits.topics_per_principal;
        self.most_of_owner.store(of_owner, Ordering::Relaxed);
    }

    /// Topics now.
    pub(crate) fn topics(&self) -> usize {
        self.topics.load(Ordering::Relaxed)
    }

    /// A number for a topic that has just lost its last subscriber.
    pub(crate) fn next_idle(&self) -> u64 {
        self.idled.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts one topic more, where there is room.
    pub(crate) fn take(&self) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        let more = |topics: usize| (topics < most).then_some(topics + 1);
        let taken = (self.topics).fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok()
    }

    /// For the topic that [`HubCounts::take`] has counted.
    pub(crate) fn permit(
        self: &Arc<Self>,
        owner: OwnerPermit,
        own_read: Option<OwnReadPermit>,
    ) -> TopicPermit {
        TopicPermit {
            counts: self.clone(),
            owner,
            _own_read: own_read,
        }
    }

    /// Room for one own read more of this upstream.
    pub(crate) fn permit_of_own_read(self: &Arc<Self>, upstream: &str) -> Option<OwnReadPermit> {
        let mut own_reads = lock(&self.own_reads);
        let count = own_reads.entry(upstream.to_owned()).or_default();
        let has_room = *count < OWN_READS;
        has_room.then(|| {
            *count += 1;
            OwnReadPermit {
                counts: self.clone(),
                upstream: upstream.to_owned(),
            }
        })
    }

    /// Room for one topic more of this target's owner; else the owner's topic that idles longest, if any.
    pub(crate) fn permit_of_owner(
        self: &Arc<Self>,
        target: &Target,
    ) -> Result<OwnerPermit, Option<(Rank, Arc<Topic>)>> {
        if let Some(owning) = owning(target, target.owner) {
            let mut owners = self.owners.lock(self.owners.of(&owning));
            let owned = owners.entry(owning).or_default();
            if owned.count >= self.most_of_owner.load(Ordering::Relaxed) {
                let idlest = owned.idle.first_key_value();
                return Err(idlest.map(|(rank, topic)| (*rank, topic.clone())));
            }
            owned.count += 1;
        }
        Ok(OwnerPermit {
            counts: self.clone(),
            owning: owning(target, target.owner),
        })
    }

    /// The same without asking whether there is room.
    pub(crate) fn grant_to_owner(self: &Arc<Self>, target: &Target, owner: Owner) -> OwnerPermit {
        let owning = owning(target, owner);
        if let Some(owning) = &owning {
            let mut owners = self.owners.lock(self.owners.of(owning));
            owners.entry(owning.clone()).or_default().count += 1;
        }
        OwnerPermit {
            counts: self.clone(),
            owning,
        }
    }
}

impl TopicPermit {
    /// Counts against another owner.
    pub(crate) fn pass_on(&mut self, owner: OwnerPermit) {
        self.owner = owner;
    }

    /// Its topic may be given up from now on, for the owner's next.
    pub(crate) fn idle(&self, rank: Rank, topic: &Arc<Topic>) {
        self.owner.with_owned(|owned| {
            owned.idle.insert(rank, topic.clone());
        });
    }

    /// Its topic has a subscriber again, or is gone.
    pub(crate) fn rouse(&self, rank: Rank) {
        self.owner.with_owned(|owned| {
            owned.idle.remove(&rank);
        });
    }
}

impl Drop for TopicPermit {
    fn drop(&mut self) {
        self.counts.topics.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for OwnReadPermit {
    fn drop(&mut self) {
        let mut own_reads = lock(&self.counts.own_reads);
        if let Some(count) = own_reads.get_mut(&self.upstream) {
            *count -= 1;
            if *count == 0 {
                own_reads.remove(&self.upstream);
            }
        }
    }
}

impl OwnerPermit {
    fn with_owned(&self, change: impl FnOnce(&mut Owned)) {
        let Some(owning) = &self.owning else {
            return;
        };
        let owners = &self.counts.owners;
        let mut owners = owners.lock(owners.of(owning));
        if let Some(owned) = owners.get_mut(owning) {
            change(owned);
            if owned.count == 0 {
                owners.remove(owning);
            }
        }
    }
}

impl Drop for OwnerPermit {
    fn drop(&mut self) {
        self.with_owned(|owned| owned.count -= 1);
    }
}

/// Whose topics are counted with this one; `None` where that is not known.
fn owning(target: &Target, owner: Owner) -> Option<Owning> {
    (owner != Owner::UNKNOWN).then(|| (target.route.name.clone(), owner))
}
