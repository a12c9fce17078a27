//! Which topics are there, which of them idle, and whose they are. Pure bookkeeping, under the node's lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Limits;
use super::key::{Owner, Place, TopicKey};
use super::mirror::Mirror;
use super::topic::Topic;
use crate::error::{Code, Refusal};

pub(super) struct Topics {
    /// What the newest configuration allows.
    pub limits: Limits,
    /// Whether a task trims windows by age.
    pub sweeping: bool,
    /// No new ones come: another process takes over.
    pub is_closed: bool,
    /// Whoever tells another process of those that come.
    pub newcomers: Option<mpsc::Sender<Mirror>>,
    /// When memory was last sought in all topics, and how much the largest were left with.
    pub last_round: Option<(Instant, usize)>,
    at: HashMap<Arc<Place>, Vec<Seat>>,
    count: usize,
    owners: HashMap<Owning, Owned>,
    /// Own reads, by upstream.
    own_reads: HashMap<String, usize>,
    /// Numbers those.
    own_read: u64,
    /// Those without subscribers, by when they lost the last one.
    idle: BTreeMap<u64, Arc<Topic>>,
    /// Numbers those moments.
    idled: u64,
}

/// A topic's place in the house.
struct Seat {
    topic: Arc<Topic>,
    /// Since when nobody subscribes, and the moment's number.
    idle: Option<(u64, Instant)>,
    /// A task waits for its linger time.
    lingering: bool,
}

/// A route, and whose topics of it are counted.
type Owning = (Arc<str>, Owner);

/// The topics of one route and owner.
#[derive(Default)]
struct Owned {
    count: usize,
    idle: BTreeMap<u64, Arc<Topic>>,
}

fn owning(topic: &Topic) -> Owning {
    (topic.target.route.name.clone(), topic.owner())
}

impl Topics {
    /// None yet.
    pub fn new(limits: Limits) -> Self {
        Topics {
            limits,
            sweeping: false,
            is_closed: false,
            newcomers: None,
            last_round: None,
            at: HashMap::new(),
            count: 0,
            owners: HashMap::new(),
            own_reads: HashMap::new(),
            own_read: 0,
            idle: BTreeMap::new(),
            idled: 0,
        }
    }

    /// All topics.
    pub fn all(&self) -> Vec<Arc<Topic>> {
        let seats = self.at.values().flatten();
        seats.map(|seat| seat.topic.clone()).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// How many there are of one route and owner.
    pub fn count_of(&self, owning: &Owning) -> usize {
        self.owners.get(owning).map_or(0, |owned| owned.count)
    }

    /// Whose the topic with this key is, where nobody subscribes to it.
    pub fn idle_owner(&self, key: &TopicKey) -> Option<Owner> {
        let mut seats = self.at.get(&key.place)?.iter();
        let seat = seats.find(|seat| seat.topic.key == *key)?;
        seat.idle.map(|_| seat.topic.owner())
    }

    /// Where a topic's owner has left and others are there, it counts against one of those.
    pub fn pass_on(&mut self, topic: &Topic) {
        if self.seat_of(topic).is_none() {
            return;
        }
        if let Some((before, next)) = topic.pass_on() {
            let route = &topic.target.route.name;
            self.disown(&(route.clone(), before));
            let owned = self.owners.entry((route.clone(), next)).or_default();
            owned.count += 1;
        }
    }

    fn disown(&mut self, owning: &Owning) {
        if let Some(owned) = self.owners.get_mut(owning) {
            owned.count -= 1;
            if owned.count == 0 {
                self.owners.remove(owning);
            }
        }
    }

    /// Whether there is one with this key.
    pub fn has(&self, key: &TopicKey) -> bool {
        let seats = self.at.get(&key.place);
        seats.is_some_and(|seats| seats.iter().any(|seat| seat.topic.key == *key))
    }

    /// The topic with this key, which somebody comes to now.
    pub fn enter(&mut self, key: &TopicKey) -> Option<Arc<Topic>> {
        let mut seats = self.at.get_mut(&key.place)?.iter_mut();
        let seat = seats.find(|seat| seat.topic.key == *key)?;
        let topic = seat.topic.clone();
        if let Some((number, _)) = seat.idle.take() {
            self.forget_idle(&topic, number);
        }
        Some(topic)
    }

    fn seat_of(&mut self, topic: &Topic) -> Option<&mut Seat> {
        let mut seats = self.at.get_mut(&topic.key.place)?.iter_mut();
        seats.find(|seat| std::ptr::eq(&*seat.topic, topic))
    }

    /// How many topics of one subscriber's own this upstream fills.
    pub fn own_reads(&self, upstream: &str) -> usize {
        self.own_reads.get(upstream).copied().unwrap_or_default()
    }

    /// A number for another one.
    pub fn next_own_read(&mut self) -> u64 {
        self.own_read += 1;
        self.own_read
    }

    /// The number of the topic that was at this place before a reload and still has subscribers.
    pub fn channel(&self, place: &Place) -> Option<u32> {
        let seat = self.at.get(place)?.last()?;
        Some(seat.topic.ch)
    }

    pub fn insert(&mut self, topic: Arc<Topic>) {
        self.count += 1;
        let owned = self.owners.entry(owning(&topic)).or_default();
        owned.count += 1;
        if topic.key.is_own_read() {
            let upstream = topic.target.route.upstream.name.clone();
            *self.own_reads.entry(upstream).or_default() += 1;
        }
        let seats = self.at.entry(topic.key.place.clone()).or_default();
        seats.push(Seat {
            topic,
            idle: None,
            lingering: false,
        });
    }

    /// The last subscriber has gone; whether a linger task is wanted.
    pub fn vacate(&mut self, topic: &Arc<Topic>) -> bool {
        let number = self.idled;
        let Some(seat) = self.seat_of(topic) else {
            return false;
        };
        if seat.idle.is_some() {
            return false;
        }
        seat.idle = Some((number, Instant::now()));
        let wanted = !seat.lingering;
        seat.lingering = true;
        self.idled += 1;
        self.idle.insert(number, topic.clone());
        if let Some(owned) = self.owners.get_mut(&owning(topic)) {
            owned.idle.insert(number, topic.clone());
        }
        wanted
    }

    /// Takes a topic out of the house and stops its feed. Does nothing where it is out already.
    pub fn remove(&mut self, topic: &Topic) {
        let Some(seats) = self.at.get_mut(&topic.key.place) else {
            return;
        };
        let mut found = seats.iter();
        let Some(index) = found.position(|seat| std::ptr::eq(&*seat.topic, topic)) else {
            return;
        };
        let seat = seats.swap_remove(index);
        if seats.is_empty() {
            self.at.remove(&topic.key.place);
        }
        self.count -= 1;
        if let Some((number, _)) = seat.idle {
            self.forget_idle(topic, number);
        }
        let upstream = &topic.target.route.upstream.name;
        if topic.key.is_own_read()
            && let Some(count) = self.own_reads.get_mut(upstream)
        {
            *count -= 1;
            if *count == 0 {
                self.own_reads.remove(upstream);
            }
        }
        self.disown(&owning(topic));
        topic.close(None);
    }

    /// Where nobody subscribes to this topic, its linger time begins anew.
    pub fn linger_anew(&mut self, topic: &Topic) {
        if let Some(seat) = self.seat_of(topic)
            && let Some((_, since)) = &mut seat.idle
        {
            *since = Instant::now();
        }
    }

    /// Since when nobody subscribes to this topic. Where somebody does, its linger task is over.
    pub fn idle_since(&mut self, topic: &Topic) -> Option<Instant> {
        let seat = self.seat_of(topic)?;
        seat.lingering = seat.idle.is_some();
        seat.idle.map(|(_, since)| since)
    }

    /// Removes the topic that idles longest.
    ///
    /// # Errors
    /// `too_many_subs` with this detail, where none idles.
    pub fn evict(&mut self, detail: &'static str) -> Result<(), Refusal> {
        let idlest = self.idle.values().next().cloned();
        self.make_way(idlest, detail)
    }

    /// The same among those of one route and owner.
    ///
    /// # Errors
    /// As [`Topics::evict`].
    pub fn evict_of(&mut self, owning: &Owning, detail: &'static str) -> Result<(), Refusal> {
        let owned = self.owners.get(owning);
        let idlest = owned.and_then(|owned| owned.idle.values().next().cloned());
        self.make_way(idlest, detail)
    }

    fn make_way(
        &mut self,
        idlest: Option<Arc<Topic>>,
        detail: &'static str,
    ) -> Result<(), Refusal> {
        match idlest {
            Some(topic) => {
                self.remove(&topic);
                Ok(())
            }
            None => Err(Refusal::new(Code::TooManySubs, detail)),
        }
    }

    fn forget_idle(&mut self, topic: &Topic, number: u64) {
        self.idle.remove(&number);
        if let Some(owned) = self.owners.get_mut(&owning(topic)) {
            owned.idle.remove(&number);
        }
    }
}
