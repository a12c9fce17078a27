//! What a subscription adds to the outbox: net changes, documents and events, as far as one round has room for it.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Subscription, SubscriptionVerdict};
use crate::config::{DeliverMode, Emit, Poll, Route, Slow, Source};
use crate::event::{Cause, Event, EventKind, GapWhy};
use crate::hub::ReadProgress;
use crate::protocol::{Codec, EventView, Output};
use crate::session::coalesce::{keep_newest, net_change};
use crate::session::filter::Seen;
use crate::session::recovery::Trail;
use crate::telemetry::Meters;
use crate::transport::outbox::Outbox;

/// An event on its way to a socket, whose trace ends there.
pub(in crate::session) struct Traced {
    pub cause: Arc<Cause>,
    pub route: Arc<Route>,
    /// When it was read from the backend.
    pub read: std::time::Instant,
}

/// What a subscription needs of its session to go on.
pub(in crate::session) struct FrameBatch<'a> {
    pub codec: &'a mut dyn Codec,
    pub now: Instant,
    pub out: &'a mut Outbox,
    /// Frames that may still be added in this round.
    pub frames: usize,
    /// In which order events are sent, where the client may come back.
    pub trail: Option<&'a mut Trail>,
    /// Reused between reads.
    pub scratch: Vec<Arc<Event>>,
    /// The event that waited longest among those added, with where its latency is counted.
    pub oldest: Option<(std::time::Instant, Arc<Meters>)>,
    /// An event whose way through the process is traced.
    pub traced: Option<Box<Traced>>,
}

/// Bytes that may be added in one round, as a soft limit.
pub(in crate::session) const BATCH_BYTES: usize = 256 * 1024;

impl FrameBatch<'_> {
    /// Whether this round has no room left.
    pub(crate) fn is_full(&self) -> bool {
        self.frames == 0 || self.out.bytes() >= BATCH_BYTES
    }

    /// Adds what the session says beside events, where the protocol has a word for it.
    pub(crate) fn say(&mut self, output: &Output<'_>) {
        self.codec.encode(output, &mut |packet| {
            self.out.push(packet);
            self.frames = self.frames.saturating_sub(1);
        });
    }
}

impl Subscription {
    pub(super) fn gather_net_change(&mut self, codec: &dyn Codec) {
        self.resuming = false;
        let Some(Source::Poll(poll)) = &self.route.source else {
            self.prelude.extend(self.subscriber.go_on());
            return;
        };
        if self.wants_documents(codec) {
            // The document follows, as after any change.
            self.prelude.extend(self.subscriber.go_on());
            return;
        }
        if emits_patches(poll)
            && self.subscriber.waiting().messages > 1
            && let Some(document) = self.subscriber.skip_to_document()
        {
            self.prelude.push_back(document);
            return;
        }
        let mut entries = Vec::new();
        match self.subscriber.read(&mut entries, usize::MAX) {
            ReadProgress::CaughtUp | ReadProgress::More => {
                self.prelude.extend(net_change(entries, poll));
            }
            // Too long ago to say what changed; the document says what is.
            ReadProgress::Overrun => match self.subscriber.skip_to_document() {
                Some(document) => self.prelude.push_back(document),
                None => self.prelude.extend(self.subscriber.go_on()),
            },
        }
    }

    /// Whether `deliver` wants to wait for more.
    pub(super) fn is_held(&self, now: Instant) -> bool {
        let Some(deliver) = &self.route.deliver else {
            return false;
        };
        let is_early = self.held_until.is_some_and(|until| now < until);
        is_early && self.subscriber.waiting().messages < deliver.max as u64
    }

    /// Whether patches mean nothing to this client: it cannot distinguish them from documents, or sees a part of the document only.
    fn wants_documents(&self, codec: &dyn Codec) -> bool {
        let Some(Source::Poll(poll)) = &self.route.source else {
            return false;
        };
        let filter = self.filter.as_deref();
        let sees_part = || filter.is_some_and(|filter| !filter.is_about_names_only());
        emits_patches(poll) && (!codec.tells_patches() || sees_part())
    }

    /// The newest document in place of all patches to it; a gap that waits comes before.
    fn deliver_document(&mut self, desk: &mut FrameBatch<'_>) -> SubscriptionVerdict {
        let mut entries = std::mem::take(&mut desk.scratch);
        let mut verdict = SubscriptionVerdict::Waits;
        while verdict == SubscriptionVerdict::Waits && self.subscriber.is_behind() {
            entries.clear();
            match self.subscriber.skip_to_document() {
                Some(document) => entries.push(document),
                None => {
                    let progress = self.subscriber.read(&mut entries, 1);
                    entries.retain(|event| event.kind != EventKind::Event);
                    if progress == ReadProgress::Overrun {
                        verdict = self.overrun(desk);
                    }
                }
            }
            for event in &entries {
                if let Some(why) = self.emit(event, desk) {
                    verdict = SubscriptionVerdict::Lost(why);
                }
            }
        }
        entries.clear();
        desk.scratch = entries;
        verdict
    }

    pub(super) fn deliver(&mut self, desk: &mut FrameBatch<'_>) -> SubscriptionVerdict {
        if self.subscriber.is_let_go() {
            return self.overrun(desk);
        }
        if self.wants_documents(&*desk.codec) {
            return self.deliver_document(desk);
        }
        let deliver = self.route.deliver;
        let keeps_newest = deliver.is_some_and(|deliver| deliver.mode == DeliverMode::Latest);
        // The newest of each name is known only when all are looked at.
        let count = if keeps_newest {
            usize::MAX
        } else {
            desk.frames
        };
        let mut events = std::mem::take(&mut desk.scratch);
        let progress = self.subscriber.read(&mut events, count);
        if progress == ReadProgress::Overrun {
            desk.scratch = events;
            return self.overrun(desk);
        }
        if keeps_newest {
            keep_newest(&mut events);
        }
        let mut rest = events.drain(..);
        let mut verdict = match progress {
            ReadProgress::More => SubscriptionVerdict::HasMore,
            ReadProgress::CaughtUp | ReadProgress::Overrun => SubscriptionVerdict::Waits,
        };
        for event in rest.by_ref() {
            if let Some(why) = self.emit(&event, desk) {
                verdict = SubscriptionVerdict::Lost(why);
                break;
            }
            if desk.is_full() {
                break;
            }
        }
        // The cursor has passed them: what the outbox had no room for comes first next time.
        self.prelude.extend(rest);
        desk.scratch = events;
        if verdict == SubscriptionVerdict::Waits && !self.prelude.is_empty() {
            verdict = SubscriptionVerdict::HasMore;
        }
        self.held_until = deliver.map(|deliver| desk.now + deliver.every);
        verdict
    }

    /// Goes on where its client was too slow, or memory has run short.
    fn overrun(&mut self, desk: &mut FrameBatch<'_>) -> SubscriptionVerdict {
        let is_told = desk.codec.has_words() || self.is_polled();
        if !is_told && self.subscriber.has_lost() {
            return SubscriptionVerdict::Lost(GapWhy::Slow);
        }
        let document = match self.route.slow {
            Slow::Latest => self.subscriber.skip_to_document(),
            // For a raw client of a polled route: the document follows the gap that it does not get.
            Slow::Close | Slow::Gap => None,
        };
        match document {
            Some(document) => self.prelude.push_back(document),
            None => self.prelude.extend(self.subscriber.skip_with_gap()),
        }
        SubscriptionVerdict::HasMore
    }

    /// Adds one entry. Returns the loss that the protocol has no word for.
    pub(super) fn emit(&mut self, event: &Event, desk: &mut FrameBatch<'_>) -> Option<GapWhy> {
        if let EventKind::Gap { why, .. } = &event.kind
            && !desk.codec.has_words()
        {
            return self.loss_without_words(*why);
        }
        let (mut event, mut part) = (event, None);
        let instead;
        if let Some(filter) = &self.filter {
            let (seen, is_larger) = filter.apply(event, self.route.source.as_ref());
            if is_larger {
                self.subscriber.recount(event);
            }
            match seen {
                Seen::Hidden => return None,
                Seen::Whole => {}
                Seen::Part(seen) => part = Some(seen),
                Seen::Instead(seen) => {
                    instead = seen;
                    event = &instead;
                }
            }
        }
        let view = EventView {
            ch: self.ch,
            route: &self.route,
            path: &self.subscriber.target().url,
            data: part.as_deref(),
        };
        let made = event.encodings.bytes();
        let mut packets = 0;
        desk.codec.event(event, view, &mut |packet| {
            self.meters.bytes_out.inc_by(desk.out.push(packet) as u64);
            packets += 1;
        });
        if event.encodings.bytes() != made {
            self.subscriber.recount(event);
        }
        if packets > 0 {
            self.meters.messages_out.inc_by(packets);
            let is_gap = matches!(event.kind, EventKind::Gap { .. });
            if let Some(trail) = desk.trail.as_deref_mut().filter(|_| !is_gap) {
                trail.sent(self.ch, event.position);
            }
            desk.frames = desk.frames.saturating_sub(packets as usize);
            if let Some(cause) = event.cause.as_ref().filter(|cause| cause.claim()) {
                desk.traced = Some(Box::new(Traced {
                    cause: cause.clone(),
                    route: self.route.clone(),
                    read: event.at,
                }));
            }
            let is_awaited = event.kind == EventKind::Event && event.at >= self.awaits_since;
            if desk.oldest.is_none() && is_awaited {
                desk.oldest = Some((event.at, self.meters.clone()));
            }
        }
        None
    }

    /// Upstream loss cannot be reported without words. Ours closes a stream, while a polled route's
    /// document follows and makes up for it. A reload that reads something else from now on closes
    /// nothing: the operator asked for it.
    fn loss_without_words(&self, why: GapWhy) -> Option<GapWhy> {
        let is_ours = match why {
            GapWhy::Expired | GapWhy::Epoch | GapWhy::Slow => true,
            GapWhy::UpstreamReconnect | GapWhy::TooLarge | GapWhy::Config => false,
        };
        (is_ours && !self.is_polled()).then_some(why)
    }
}

fn emits_patches(poll: &Poll) -> bool {
    matches!(poll.emit, Emit::JsonPatch | Emit::MergePatch)
}
