//! Which topics are there, which of them idle, which are over, and whose they are. Pure bookkeeping, under the node's lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Limits;
use super::key::{Owner, Place, TopicKey};
use super::mirror::Mirror;
use super::subscriber::Start;
use super::topic::Topic;
use crate::config::Route;
use crate::error::{Code, Refusal};

/// Topics that are over and can still be resumed, of one key.
const OVER: usize = 4;

pub(super) struct Topics {
    /// What the newest configuration allows.
    pub limits: Limits,
    /// Whether a task trims windows by age.
    pub sweeping: bool,
    /// No new ones come: another process takes over.
    pub is_closed: bool,
    /// Whoever tells another process of those that come.
    pub newcomers: Option<mpsc::Sender<Mirror>>,
    /// The routes in force; `None` before the first reload.
    pub routes: Option<Routes>,
    at: HashMap<Arc<Place>, Vec<Seat>>,
    count: usize,
    owners: HashMap<Owning, Owned>,
    /// Own reads, by upstream.
    own_reads: HashMap<String, usize>,
    /// Numbers those.
    own_read: u64,
    /// Those without subscribers.
    idle: BTreeMap<Rank, Arc<Topic>>,
    /// Numbers the moments at which they lost the last one.
    idled: u64,
}

/// Which idle topic is given up first: one that is over before one that goes on, then the one that idles longest.
type Rank = (bool, u64);

/// A topic's place in the house.
struct Seat {
    topic: Arc<Topic>,
    /// Since when it has no subscriber.
    idle: Option<(Rank, Instant)>,
    /// Since when it is over: only clients that resume it come to it.
    over: Option<Instant>,
    /// A task waits for its linger time.
    lingering: bool,
}

/// A route, and whose topics of it are counted.
type Owning = (Arc<str>, Owner);

/// Routes by name, with what each reads.
pub(super) type Routes = HashMap<Arc<str>, (Arc<str>, Arc<Route>)>;

/// The topics of one route and owner.
#[derive(Default)]
struct Owned {
    count: usize,
    idle: BTreeMap<Rank, Arc<Topic>>,
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
            routes: None,
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

    /// The owner of the topic that a client means, where it has no subscriber.
    pub fn idle_owner(&self, key: &TopicKey, start: &Start) -> Option<Owner> {
        let seats = self.at.get(&key.place)?;
        let seat = seats.get(meant(seats, key, start)?)?;
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

    /// The topic with this key that goes on.
    pub fn get(&self, key: &TopicKey) -> Option<Arc<Topic>> {
        let seats = self.at.get(&key.place)?;
        Some(seats.get(current(seats, key)?)?.topic.clone())
    }

    /// The topic with this key that a client means, which comes to it now.
    pub fn enter(&mut self, key: &TopicKey, start: &Start) -> Option<Arc<Topic>> {
        let seats = self.at.get_mut(&key.place)?;
        let seat = meant(seats, key, start)?;
        let seat = seats.get_mut(seat)?;
        let topic = seat.topic.clone();
        if let Some((rank, _)) = seat.idle.take() {
            self.forget_idle(&topic, rank);
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
        let mut seats = self.at.get(place)?.iter().rev();
        let seat = seats.find(|seat| seat.over.is_none())?;
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
            over: None,
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
        let rank = (seat.over.is_none(), number);
        seat.idle = Some((rank, Instant::now()));
        let wanted = !std::mem::replace(&mut seat.lingering, true);
        self.idled += 1;
        self.idle.insert(rank, topic.clone());
        if let Some(owned) = self.owners.get_mut(&owning(topic)) {
            owned.idle.insert(rank, topic.clone());
        }
        wanted
    }

    /// A topic is over, and stays for clients that resume it; whether a linger task is wanted.
    pub fn retire(&mut self, topic: &Arc<Topic>) -> bool {
        let Some(seat) = self.seat_of(topic) else {
            return false;
        };
        seat.over = Some(Instant::now());
        let wanted = !std::mem::replace(&mut seat.lingering, true);
        let idle = seat.idle.take();
        if let Some((rank, _)) = idle {
            self.forget_idle(topic, rank);
        }
        if topic.subscribers() == 0 {
            self.vacate(topic);
        }
        let seats = self.at.get(&topic.key.place).into_iter().flatten();
        let over = seats.filter(|seat| seat.over.is_some() && seat.topic.key == topic.key);
        let over: Vec<_> = over.collect();
        if over.len() > OVER
            && let Some(oldest) = over.iter().min_by_key(|seat| seat.over)
        {
            let oldest = oldest.topic.clone();
            self.remove(&oldest);
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
        if let Some((rank, _)) = seat.idle {
            self.forget_idle(topic, rank);
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

    /// Since when this topic is over, or has no subscriber. Where it goes on for a subscriber, its linger task is over.
    pub fn idle_since(&mut self, topic: &Topic) -> Option<Instant> {
        let seat = self.seat_of(topic)?;
        let since = seat.over.or(seat.idle.map(|(_, since)| since));
        seat.lingering = since.is_some();
        since
    }

    /// Removes an idle topic: one that is over where there is one, else the one that idles longest.
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

    fn forget_idle(&mut self, topic: &Topic, rank: Rank) {
        self.idle.remove(&rank);
        if let Some(owned) = self.owners.get_mut(&owning(topic)) {
            owned.idle.remove(&rank);
        }
    }

    /// The route in force that reads what this topic reads. Before the first reload that is the topic's own.
    pub fn route_of(&self, topic: &Topic) -> Option<Arc<Route>> {
        let Some(routes) = &self.routes else {
            return Some(topic.route.load_full());
        };
        let (reads, route) = routes.get(&topic.target.route.name)?;
        let url = &topic.target.url;
        let is_same = *reads == topic.key.reads && route.read_url(url) == *url;
        is_same.then(|| route.clone())
    }
}

/// The topic with this key that goes on.
fn current(seats: &[Seat], key: &TopicKey) -> Option<usize> {
    let mut seats = seats.iter();
    seats.position(|seat| seat.over.is_none() && seat.topic.key == *key)
}

/// The topic with this key that a client means which begins like this: the one that goes on, or one that is over where only
/// that one knows the client's place.
fn meant(seats: &[Seat], key: &TopicKey, start: &Start) -> Option<usize> {
    let current = current(seats, key);
    let is_known_there =
        |index: usize| seats.get(index).is_some_and(|seat| seat.topic.knows(start));
    let mut over = seats.iter().enumerate().filter(|(_, seat)| {
        let is_over = seat.over.is_some() && seat.topic.key == *key;
        is_over && seat.topic.knows(start)
    });
    match current {
        Some(index) if seats.len() == 1 || is_known_there(index) => current,
        _ => over.next().map(|(index, _)| index).or(current),
    }
}
