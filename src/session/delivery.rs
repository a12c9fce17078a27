//! What goes out: the subscriptions' turns, and how long their events take.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::link::Link;
use super::recovery::{Record, Recoverable};
use super::subscription::{BATCH_BYTES, FrameBatch, Subscription, SubscriptionVerdict, Traced};
use crate::telemetry::{Meters, Telemetry};

/// Events that subscriptions add in one round.
const BATCH_FRAMES: usize = 64;

/// How far the subscriptions' events are on their way.
#[derive(Default)]
pub(super) struct Delivery {
    /// Where the next round over the subscriptions starts.
    turn: usize,
    /// The event whose latency is known when the outbox is empty.
    oldest: Option<(std::time::Instant, Arc<Meters>)>,
    /// An event of the outbox whose way is traced, likewise.
    traced: Option<Box<Traced>>,
}

/// What a round over the subscriptions came to.
#[derive(Default)]
pub(super) struct Filled {
    /// There is more than this round had room for.
    pub(crate) has_more: bool,
    /// Channels that cannot go on, and why.
    pub(crate) ends: Vec<(u32, SubscriptionVerdict)>,
}

impl Delivery {
    /// Lets the subscriptions add what comes next, each in its turn.
    pub(crate) fn fill(
        &mut self,
        subs: &mut [Subscription],
        link: &mut Link,
        recoverable: Option<&Recoverable>,
        now: Instant,
    ) -> Filled {
        let mut filled = Filled::default();
        // Also where the last one has just gone.
        let mut record = recoverable.map(|recoverable| keep(recoverable, subs, link));
        if subs.is_empty() {
            return filled;
        }
        let trail = record.as_deref_mut().map(|record| &mut record.trail);
        let (codec, out) = link.parts();
        if out.bytes() >= BATCH_BYTES {
            filled.has_more = true;
            return filled;
        }
        let mut desk = FrameBatch {
            codec,
            now,
            out,
            frames: BATCH_FRAMES,
            trail,
            scratch: Vec::new(),
            oldest: self.oldest.take(),
            traced: self.traced.take(),
        };
        let count = subs.len();
        let first = self.turn % count;
        for index in (first..count).chain(0..first) {
            if desk.is_full() {
                filled.has_more = true;
                break;
            }
            self.turn = index + 1;
            let Some(sub) = subs.get_mut(index) else {
                break;
            };
            match sub.proceed(&mut desk) {
                SubscriptionVerdict::Waits => {}
                SubscriptionVerdict::HasMore => filled.has_more = true,
                verdict => filled.ends.push((sub.ch, verdict)),
            }
        }
        self.oldest = desk.oldest.take();
        self.traced = desk.traced.take();
        filled
    }

    /// Nothing waits any more: the latency of what did is known. `one_way` is the time that it takes to the client.
    pub(crate) fn sent(
        &mut self,
        telemetry: &Telemetry,
        protocol: &'static str,
        one_way: Duration,
    ) {
        if let Some(traced) = self.traced.take() {
            telemetry.traces.trace_delivery(
                &traced.cause,
                &traced.route.name,
                protocol,
                traced.read,
            );
        }
        if let Some((read, meters)) = self.oldest.take() {
            let latency = read.elapsed() + one_way;
            meters.event_latency.observe(latency.as_secs_f64());
        }
    }
}

/// The record, which knows what has come and gone: from now on events may be sent.
fn keep<'a>(
    recoverable: &'a Recoverable,
    subs: &[Subscription],
    link: &Link,
) -> MutexGuard<'a, Record> {
    let mut record = recoverable.record();
    let is_known = {
        let known = record.subscriptions.iter().map(|known| known.ch);
        known.eq(subs.iter().map(|sub| sub.ch))
    };
    // A client may leave and join the same between two looks: what has asked is not kept for ever.
    if !is_known || !record.asked.is_empty() {
        for sub in subs {
            record.begin(sub.ch, sub.begins_at());
        }
        record.follow(subs.iter().map(Subscription::record).collect());
    }
    record.trail.hear_answers(link.answered_pings());
    record
}
