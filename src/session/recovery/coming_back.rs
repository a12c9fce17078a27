//! A client of Socket.IO names its session of before: it is subscribed again behind what it has, and only then told whether that has
//! worked.

use tokio::time::Instant;

use super::{Record, RecordedSubscription, SecretId, Trail};
use crate::error::Side;
use crate::event::Position;
use crate::protocol::{Output, Tag};
use crate::session::connection::Session;
use crate::session::frame::{Frame, SubWish, Wants};
use crate::session::namespace::{self, Missed};
use crate::session::subscription::Subscription;

/// What a CONNECT says of a session before.
#[derive(Debug)]
pub(crate) struct Offer {
    /// Which it was.
    pub(crate) pid: String,
    /// The position of the last event, where the client has any.
    pub(crate) offset: Option<String>,
}

/// A client on its way back: its CONNECT is not answered yet.
pub(crate) struct ComingBack {
    id: SecretId,
    record: Record,
    /// The position that the client has named.
    named: Option<Position>,
    /// Where its subscriptions go on, by their channels of before.
    places: Vec<(u32, Option<Position>)>,
    /// Subscriptions that are not there yet.
    missing: usize,
    /// What came of each of the record's subscriptions: the channel now.
    found: Vec<Option<u32>>,
}

/// Begins with what the client offers. False where there is nothing to come back to.
pub(crate) fn begin(session: &mut Session, offer: &Offer, now: Instant) -> bool {
    let Some(coming) = find(session, offer, now) else {
        return false;
    };
    let wishes: Vec<SubWish> = (coming.record.subscriptions.iter())
        .map(|sub| coming.wish(sub))
        .collect();
    session.access.namespace.get_or_insert_default().coming_back = Some(Box::new(coming));
    for (index, wish) in wishes.into_iter().enumerate() {
        let frame = Frame::new(Wants::Sub(Tag::Number(index as u64), wish));
        session.advance(frame, None, now);
    }
    finish_when_there(session, now);
    true
}

fn find(session: &mut Session, offer: &Offer, now: Instant) -> Option<ComingBack> {
    let id = SecretId::parse(&offer.pid)?;
    let named = match &offer.offset {
        Some(offset) => Some(Position::named(offset)?),
        None => None,
    };
    let name = session.cx.realm.namespace_name()?;
    let user = session.cx.owner().map(|owner| owner.identity.principal());
    let sessions = &session.cx.shared.sessions;
    let fits = |record: &Record| record.namespace == **name && record.user == user;
    let found = sessions.recoveries.take(&id, now, fits)?;
    if let Some(number) = found.still_runs {
        sessions.supersede(number);
    }
    let record = found.record;
    Some(ComingBack {
        id,
        named,
        places: record.trail.places(named)?,
        missing: record.subscriptions.len(),
        found: vec![None; record.subscriptions.len()],
        record,
    })
}

impl ComingBack {
    fn wish(&self, sub: &RecordedSubscription) -> SubWish {
        SubWish {
            filter: sub.filter.clone(),
            after: self.place(sub.ch).map(|place| place.to_string()),
            ..SubWish::of(sub.path.clone())
        }
    }

    /// Where a subscription of before goes on; `None`: from its beginning.
    fn place(&self, ch: u32) -> Option<Position> {
        let place = self.places.iter().find(|(known, _)| *known == ch);
        place.and_then(|(_, at)| *at)
    }

    /// One of its subscriptions is there, or cannot be.
    fn note(&mut self, index: u64, sub: Option<&Subscription>) {
        self.missing = self.missing.saturating_sub(1);
        let is_there = |sub: &&Subscription| !sub.has_lost();
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(found) = self.found.get_mut(place) {
            *found = sub.filter(is_there).map(|sub| sub.ch);
        }
    }

    /// What the session's record is from now on; `None` where something of it is lost.
    fn recovered(&mut self) -> Option<Record> {
        let mut trail = Trail::default();
        let mut subscriptions = Vec::new();
        let last = self.named.and_then(|named| self.record.trail.whose(named));
        let mut has_last = 0;
        for (sub, ch) in self.record.subscriptions.iter().zip(&self.found) {
            let ch = (*ch)?;
            trail.begin(ch, self.place(sub.ch));
            if Some(sub.ch) == last {
                has_last = ch;
            }
            subscriptions.push(RecordedSubscription { ch, ..sub.clone() });
        }
        // The client goes on to name this position until there is a newer event.
        if let Some(named) = self.named {
            trail.sent(has_last, named);
        }
        Some(Record {
            subscriptions,
            trail,
            ..std::mem::take(&mut self.record)
        })
    }
}

/// Whether a client's CONNECT waits for its subscriptions.
pub(crate) fn is_under_way(session: &Session) -> bool {
    let state = session.access.namespace.as_ref();
    state.is_some_and(|state| state.coming_back.is_some())
}

/// One of the subscriptions is there, by its number among them; `None`: it cannot be.
pub(crate) fn note(session: &mut Session, tag: &Tag, ch: Option<u32>, now: Instant) {
    let Tag::Number(index) = tag else {
        return;
    };
    let state = session.access.namespace.as_mut();
    let Some(coming) = state.and_then(|state| state.coming_back.as_mut()) else {
        return;
    };
    let mut subs = session.subscriptions.iter();
    coming.note(*index, subs.find(|sub| Some(sub.ch) == ch));
    finish_when_there(session, now);
}

/// Answers the CONNECT when all subscriptions are there, or cannot be.
fn finish_when_there(session: &mut Session, now: Instant) {
    let Some(state) = session.access.namespace.as_mut() else {
        return;
    };
    let is_there = |coming: &mut Box<ComingBack>| coming.missing == 0;
    let Some(mut coming) = state.coming_back.take_if(is_there) else {
        return;
    };
    if session.closing_until.is_some() {
        return;
    }
    match coming.recovered() {
        Some(record) => {
            let (sid, pid) = (record.sid.clone(), coming.id.text());
            let number = session.cx.member().number;
            let recoveries = &session.cx.shared.sessions.recoveries;
            let recoverable = recoveries.enter(coming.id, record, number);
            state.recoverable = Some(recoverable);
            session.link.say(&Output::Connected {
                sid: &sid,
                pid: Some(&pid),
            });
        }
        None => {
            session.subscriptions.clear();
            let missed = coming.record.subscriptions.iter();
            let missed = missed.map(|sub| (sub.path.clone(), coming.place(sub.ch)));
            let missed = Missed {
                places: missed.collect(),
                named: coming.named,
            };
            namespace::begin(session, Some(&missed), now);
        }
    }
}

/// Lets the client come back after this end, or forgets its session.
pub(crate) fn part(session: &mut Session) {
    let state = session.access.namespace.as_mut();
    let Some(recoverable) = state.and_then(|state| state.recoverable.take()) else {
        return;
    };
    let may_come_back = match session.life.ended_by {
        None => true,
        Some((Side::Downstream, code)) => code != 1000,
        Some((_, code)) => matches!(code, 4100..=4299 | 4400..=4499 | 1011),
    };
    if may_come_back {
        recoverable.wait(session.cx.shared.hub.reserve(), Instant::now());
    }
}

/// Begins the record of a new session. Returns the secret id by which its client comes back.
pub(crate) fn enter(session: &mut Session, sid: &str) -> Option<String> {
    let name = session.cx.realm.namespace_name()?;
    let id = SecretId::random()?;
    let user = session.cx.owner().map(|owner| owner.identity.principal());
    let record = Record {
        namespace: name.to_string(),
        sid: sid.to_owned(),
        user,
        ..Record::default()
    };
    let number = session.cx.member().number;
    let recoveries = &session.cx.shared.sessions.recoveries;
    let recoverable = recoveries.enter(id, record, number);
    session.access.namespace.get_or_insert_default().recoverable = Some(recoverable);
    Some(id.text())
}
