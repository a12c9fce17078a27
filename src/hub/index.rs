//! Which topics are there, which of them idle, which are over: those of one shard. Pure bookkeeping, under the shard's lock.
//! What is taken out is handed to the caller, which closes it without the lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::counts::{HubCounts, OwnerPermit, Rank, TopicPermit};
use super::key::{Owner, Place, TopicKey};
use super::topic::Topic;
use super::types::Start;
use crate::config::Route;

/// Topics that are over and can still be resumed, of one key.
const OVER: usize = 4;

pub(super) struct Topics {
    /// No new ones come: another process takes over.
    pub(crate) is_closed: bool,
    /// To the task that announces new topics to another process.
    pub(crate) newcomers: Option<mpsc::Sender<Arc<Topic>>>,
    /// The routes in force; `None` before the first reload.
    pub(crate) routes: Option<Arc<Routes>>,
    counts: Arc<HubCounts>,
    at: HashMap<Arc<Place>, Vec<Seat>>,
    /// Those without subscribers.
    idle: BTreeMap<Rank, Arc<Topic>>,
}

/// A topic's place in the index.
struct Seat {
    topic: Arc<Topic>,
    permit: TopicPermit,
    /// Since when it has no subscriber.
    idle: Option<(Rank, Instant)>,
    /// Since when it is over: only clients that resume it come to it.
    over: Option<Instant>,
    /// A task waits for its linger time.
    lingering: bool,
}

/// Routes by name, with what each reads.
pub(super) type Routes = HashMap<Arc<str>, (Arc<str>, Arc<Route>)>;

/// What comes of a topic that is over.
pub(super) struct Retired {
    /// A linger task is wanted.
    pub(crate) lingers: bool,
    /// An older one at its place that made room.
    pub(crate) removed: Option<Arc<Topic>>,
}

impl Topics {
    /// None yet.
    pub(crate) fn new(counts: Arc<HubCounts>) -> Self {
        Topics {
            is_closed: false,
            newcomers: None,
            routes: None,
            counts,
            at: HashMap::new(),
            idle: BTreeMap::new(),
        }
    }

    /// All topics.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Topic>> {
        let seats = self.at.values().flatten();
        seats.map(|seat| &seat.topic)
    }

    /// The topic with this key that goes on.
    pub(crate) fn get(&self, key: &TopicKey) -> Option<Arc<Topic>> {
        let seats = self.at.get(&key.place)?;
        Some(seats.get(current(seats, key)?)?.topic.clone())
    }

    /// The topic with this key that a client means. It comes to it now, unless it would become its owner, and has no permit.
    pub(crate) fn enter(
        &mut self,
        key: &TopicKey,
        start: &Start,
        owner: Owner,
        permit: &mut Option<OwnerPermit>,
    ) -> Entered {
        let Some(seats) = self.at.get_mut(&key.place) else {
            return Entered::Nothing;
        };
        let current = current(seats, key);
        if let Some(seat) = current.and_then(|current| seats.get(current))
            && seat.topic.is_left_behind(start)
        {
            return Entered::LeftBehind(seat.topic.clone());
        }
        let seat = meant(seats, current, key, start);
        let Some(seat) = seat.and_then(|meant| seats.get_mut(meant)) else {
            return Entered::Nothing;
        };
        if let Some((rank, _)) = seat.idle {
            let is_anothers = seat.topic.presence.owner() != owner;
            if is_anothers && permit.is_none() {
                return Entered::NeedsPermit;
            }
            self.idle.remove(&rank);
            seat.permit.rouse(rank);
            seat.idle = None;
            if let Some(permit) = permit.take_if(|_| is_anothers) {
                seat.permit.pass_on(permit);
                seat.topic.presence.set_owner(owner);
            }
        }
        seat.topic.presence.expect();
        Entered::At(seat.topic.clone())
    }

    /// Where a topic's owner has left and others are there, it counts against one of those.
    pub(crate) fn pass_on(&mut self, topic: &Topic) {
        let counts = self.counts.clone();
        if let Some(seat) = self.seat_of(topic)
            && let Some(next) = topic.presence.pass_on()
        {
            let permit = counts.grant_to_owner(&topic.target, next);
            seat.permit.pass_on(permit);
        }
    }

    fn seat_of(&mut self, topic: &Topic) -> Option<&mut Seat> {
        let mut seats = self.at.get_mut(&topic.key.place)?.iter_mut();
        seats.find(|seat| std::ptr::eq(&*seat.topic, topic))
    }

    /// The number of the topic that was at this place before a reload and still has subscribers.
    pub(crate) fn channel(&self, place: &Place) -> Option<u32> {
        let mut seats = self.at.get(place)?.iter().rev();
        let seat = seats.find(|seat| seat.over.is_none())?;
        Some(seat.topic.ch)
    }

    pub(crate) fn insert(&mut self, topic: Arc<Topic>, permit: TopicPermit) {
        let seats = self.at.entry(topic.key.place.clone()).or_default();
        seats.push(Seat {
            topic,
            permit,
            idle: None,
            over: None,
            lingering: false,
        });
    }

    /// The last subscriber has gone; whether a linger task is wanted.
    pub(crate) fn vacate(&mut self, topic: &Arc<Topic>) -> bool {
        let number = self.counts.next_idle();
        let Some(seat) = self.seat_of(topic) else {
            return false;
        };
        if seat.idle.is_some() {
            return false;
        }
        let rank = (seat.over.is_none(), number);
        seat.idle = Some((rank, Instant::now()));
        seat.permit.idle(rank, topic);
        let wanted = !std::mem::replace(&mut seat.lingering, true);
        self.idle.insert(rank, topic.clone());
        wanted
    }

    /// A topic is over, and stays for clients that resume it.
    pub(crate) fn retire(&mut self, topic: &Arc<Topic>) -> Retired {
        let mut retired = Retired {
            lingers: false,
            removed: None,
        };
        let Some(seat) = self.seat_of(topic) else {
            return retired;
        };
        seat.over = Some(Instant::now());
        retired.lingers = !std::mem::replace(&mut seat.lingering, true);
        if let Some((rank, _)) = seat.idle.take() {
            seat.permit.rouse(rank);
            self.idle.remove(&rank);
        }
        if topic.presence.count() == 0 {
            self.vacate(topic);
        }
        let seats = self.at.get(&topic.key.place).into_iter().flatten();
        let over = seats.filter(|seat| seat.over.is_some() && seat.topic.key == topic.key);
        let over: Vec<_> = over.collect();
        if over.len() > OVER
            && let Some(oldest) = over.iter().min_by_key(|seat| seat.over)
        {
            let oldest = oldest.topic.clone();
            retired.removed = self.remove(&oldest);
        }
        retired
    }

    /// Takes a topic out of the index, to be closed; `None` where it is out already.
    #[must_use]
    pub(crate) fn remove(&mut self, topic: &Topic) -> Option<Arc<Topic>> {
        let seats = self.at.get_mut(&topic.key.place)?;
        let mut found = seats.iter();
        let index = found.position(|seat| std::ptr::eq(&*seat.topic, topic))?;
        let seat = seats.swap_remove(index);
        if seats.is_empty() {
            self.at.remove(&topic.key.place);
        }
        if let Some((rank, _)) = seat.idle {
            self.idle.remove(&rank);
            seat.permit.rouse(rank);
        }
        Some(seat.topic)
    }

    /// The same, where it still has no subscriber since that moment.
    pub(crate) fn remove_idle(&mut self, topic: &Topic, rank: Rank) -> Option<Arc<Topic>> {
        self.idle.get(&rank)?;
        self.remove(topic)
    }

    /// Where this topic has no subscriber, its linger time begins anew.
    pub(crate) fn linger_anew(&mut self, topic: &Topic) {
        if let Some(seat) = self.seat_of(topic)
            && let Some((_, since)) = &mut seat.idle
        {
            *since = Instant::now();
        }
    }

    /// Since when this topic is over, or has no subscriber. Where it goes on for a subscriber, its linger task is over.
    pub(crate) fn idle_since(&mut self, topic: &Topic) -> Option<Instant> {
        let seat = self.seat_of(topic)?;
        let since = seat.over.or(seat.idle.map(|(_, since)| since));
        seat.lingering = since.is_some();
        since
    }

    /// The idle topic that is to be given up first.
    pub(crate) fn idlest(&self) -> Option<(Rank, Arc<Topic>)> {
        let (rank, topic) = self.idle.first_key_value()?;
        Some((*rank, topic.clone()))
    }

    /// The route in force that reads what this topic reads. Before the first reload that is the topic's own.
    pub(crate) fn route_of(&self, topic: &Topic) -> Option<Arc<Route>> {
        let Some(routes) = &self.routes else {
            return Some(topic.route.load_full());
        };
        let (reads, route) = routes.get(&topic.target.route.name)?;
        let url = &topic.target.url;
        let is_same = *reads == topic.key.reads && route.read_url(url) == *url;
        is_same.then(|| route.clone())
    }
}

/// What a client that comes finds.
pub(super) enum Entered {
    /// Its topic.
    At(Arc<Topic>),
    /// A topic without subscribers of another owner.
    NeedsPermit,
    /// One that this client is to get no more, and no other client that begins like it.
    LeftBehind(Arc<Topic>),
    /// None.
    Nothing,
}

/// The topic with this key that goes on.
fn current(seats: &[Seat], key: &TopicKey) -> Option<usize> {
    let mut seats = seats.iter();
    seats.position(|seat| seat.over.is_none() && seat.topic.key == *key)
}

/// The topic with this key that a client means which begins like this: the one that goes on, or one that is over where only
/// that one knows the client's place.
fn meant(seats: &[Seat], current: Option<usize>, key: &TopicKey, start: &Start) -> Option<usize> {
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
