//! A client that has not taken all that was sent to it, whatever that is.

use std::sync::Arc;

use tokio::time::Instant;

use super::link::Link;
use super::subscription::Subscription;
use crate::config::Queue;

/// Why a session ends whose client is too slow, with the route that it is counted for: that of the events that wait. Answers that
/// the client is owed have none.
#[derive(Debug, PartialEq)]
pub(super) enum Slowness {
    /// The client takes nothing for too long.
    Standstill(Option<Arc<str>>),
    /// It is further behind than may be, and takes next to nothing for some time.
    Behind(Option<Arc<str>>),
}

/// Judges such a client. Where it is further behind than may be and takes next to nothing for some time, its session ends, or
/// nothing more is kept for it, as its routes say.
pub(super) fn judge(
    subs: &mut [Subscription],
    link: &mut Link,
    allowed: Queue,
    now: Instant,
) -> Option<Slowness> {
    link.look_at_lag(now);
    let owes_much = link.outbox().owed() as u64 > allowed.bytes;
    let lag = link.lag.as_mut()?;
    if lag.is_at_standstill(now) {
        let first = subs.first();
        return Some(Slowness::Standstill(
            first.map(|sub| sub.route().name.clone()),
        ));
    }
    let until = lag.behind_until();
    if until.is_some_and(|until| now < until) {
        return None;
    }
    let is_behind = |sub: &&mut Subscription| sub.is_further_behind(allowed);
    let mut slow = subs.iter_mut().filter(is_behind).peekable();
    if slow.peek().is_none() && !owes_much {
        lag.catch_up();
        return None;
    }
    if until.is_none() {
        lag.fall_behind(now);
        return None;
    }
    lag.catch_up();
    for sub in slow {
        if sub.closes_when_slow(link.codec()) {
            return Some(Slowness::Behind(Some(sub.route().name.clone())));
        }
        sub.let_go();
    }
    owes_much.then_some(Slowness::Behind(None))
}
