//! What the logs of all topics may hold together, and who gives where it is too much.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::log::Spare;
use super::node::Node;
use super::topic::{Topic, lock, now};
use crate::telemetry::Telemetry;

/// Between two rounds over all topics for memory: what cannot be freed is not sought all the time.
const ROUND: Duration = Duration::from_millis(100);

/// A reader that reads has taken what it was told of by then. The log keeps longer what it needs, unless memory is short.
pub(super) const READ_WITHIN: Duration = Duration::from_secs(1);

pub(super) struct Budget {
    telemetry: Arc<Telemetry>,
    /// `limits.memory` as the newest configuration has it.
    memory: AtomicUsize,
    /// What the system leaves room for.
    ceiling: AtomicUsize,
    /// Bytes that all logs hold.
    held: AtomicUsize,
    /// When memory was last sought in all topics, and how much the largest were left with.
    last_round: Mutex<Option<(Instant, usize)>>,
}

impl Budget {
    /// Nothing is held yet.
    pub fn new(memory: usize, telemetry: Arc<Telemetry>) -> Self {
        Budget {
            telemetry,
            memory: AtomicUsize::new(memory),
            ceiling: AtomicUsize::new(usize::MAX),
            held: AtomicUsize::new(0),
            last_round: Mutex::default(),
        }
    }

    /// A log holds `now` bytes instead of `before`.
    pub fn recount(&self, before: usize, now: usize) {
        if now >= before {
            self.held.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.held.fetch_sub(before - now, Ordering::Relaxed);
        }
        self.telemetry
            .queue_bytes_changed(now as i64 - before as i64);
    }

    /// What all logs hold, in bytes.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether more is held than may be.
    pub fn is_exceeded(&self) -> bool {
        self.excess().is_some()
    }

    /// Another budget; what is above it goes with the next publication or sweep.
    pub fn set_memory(&self, bytes: usize) {
        self.memory.store(bytes, Ordering::Relaxed);
    }

    /// A bound from without, beside the budget; what is above it goes with the next publication or sweep.
    pub fn set_ceiling(&self, bytes: usize) {
        self.ceiling.store(bytes, Ordering::Relaxed);
    }

    fn excess(&self) -> Option<usize> {
        let memory = self.memory.load(Ordering::Relaxed);
        let memory = memory.min(self.ceiling.load(Ordering::Relaxed));
        self.held().checked_sub(memory).filter(|&by| by > 0)
    }

    /// Frees what is above the budget, as [`Budget::squeeze_largest`] does.
    pub fn keep(&self, publishing: &Topic, all: impl FnOnce() -> Vec<Arc<Topic>>) {
        let Some(excess) = self.excess() else {
            return;
        };
        {
            let mut last_round = lock(&self.last_round);
            let now = Instant::now();
            match *last_round {
                // Between two rounds whatever grows beyond what the largest were left with is one of the largest.
                Some((last, level)) if now - last < ROUND => {
                    drop(last_round);
                    let above = publishing.held().saturating_sub(level);
                    return self.squeeze(publishing, above.min(excess), self.spare());
                }
                _ => *last_round = Some((now, usize::MAX)),
            }
        }
        let level = self.squeeze_largest(all());
        if let Some((_, known)) = &mut *lock(&self.last_round) {
            *known = level;
        }
    }

    /// Takes what is above the budget from the largest topics, so that none of them is left with more than another: first what
    /// no reader needs, then what readers have left waiting. What a reader has not come to yet stays, unless the system has no room
    /// for it. Returns what the largest are left with.
    pub fn squeeze_largest(&self, mut topics: Vec<Arc<Topic>>) -> usize {
        self.squeeze_down(&mut topics, Spare::Unneeded);
        self.squeeze_down(&mut topics, self.spare())
    }

    /// What may be taken from readers: what they have had time to take, and everything where the system has no room for it.
    fn spare(&self) -> Spare {
        let has_room = self.held() <= self.ceiling.load(Ordering::Relaxed);
        match now().checked_sub(READ_WITHIN) {
            Some(since) if has_room => Spare::Left(since),
            _ => Spare::All,
        }
    }

    fn squeeze_down(&self, topics: &mut [Arc<Topic>], spare: Spare) -> usize {
        let Some(excess) = self.excess() else {
            return usize::MAX;
        };
        topics.sort_by_cached_key(|topic| std::cmp::Reverse(topic.held()));
        let sizes = || topics.iter().map(|topic| topic.held());
        let (mut level, mut sum) = (0, 0);
        for ((held, count), next) in sizes().zip(1..).zip(sizes().skip(1).chain([0])) {
            sum += held;
            level = sum.saturating_sub(excess) / count;
            if level >= next {
                break;
            }
        }
        for topic in topics.iter() {
            self.squeeze(topic, topic.held().saturating_sub(level), spare);
        }
        // Some may have had nothing to give: then the others give more.
        for topic in topics.iter() {
            let Some(excess) = self.excess() else {
                break;
            };
            self.squeeze(topic, excess, spare);
        }
        level
    }

    fn squeeze(&self, topic: &Topic, excess: usize, spare: Spare) {
        let freed = match excess {
            0 => 0,
            _ => topic.squeeze(excess, spare),
        };
        if freed > 0 {
            self.telemetry
                .window_squeezed(&topic.target.route.name, freed);
        }
    }

    /// Counts `bytes` beside the logs, which give way; false, and nothing is counted, where there is no room all the same.
    fn reserve(&self, bytes: usize, all: impl FnOnce() -> Vec<Arc<Topic>>) -> bool {
        self.recount(0, bytes);
        if self.is_exceeded() {
            self.squeeze_largest(all());
        }
        let has_room = !self.is_exceeded();
        if !has_room {
            self.recount(bytes, 0);
        }
        has_room
    }
}

/// Bytes that are counted as long as this is there.
pub struct Reserved {
    node: Arc<Node>,
    bytes: usize,
}

impl Reserved {
    /// No bytes yet.
    pub(super) fn nothing(node: Arc<Node>) -> Self {
        Reserved { node, bytes: 0 }
    }

    /// Counts so many bytes instead; false where there is no room for more.
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let has_room = more == 0 || self.node.budget.reserve(more, || self.node.all());
        if has_room {
            self.bytes += more;
        }
        has_room
    }
}

impl std::fmt::Debug for Reserved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.bytes)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.node.budget.recount(self.bytes, 0);
    }
}
