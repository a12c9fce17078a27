//! Which topics give memory where all logs together hold too much.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::budget::MemoryBudget;
use super::clock::now;
use super::history::Spare;
use super::shards::lock;
use super::topic::Topic;

/// Between two rounds over all topics for memory: what cannot be freed is not sought all the time.
const ROUND: Duration = Duration::from_millis(100);

/// Takes what is above the budget.
pub(super) struct Squeeze {
    budget: Arc<MemoryBudget>,
    /// When memory was last sought in all topics, and how much the largest were left with.
    last_round: Mutex<Option<(Instant, usize)>>,
}

impl Squeeze {
    /// Nothing was sought yet.
    pub(crate) fn new(budget: Arc<MemoryBudget>) -> Self {
        Squeeze {
            budget,
            last_round: Mutex::default(),
        }
    }

    /// Frees what is above the budget, as [`Squeeze::largest`] does.
    pub(crate) fn keep(&self, publishing: &Topic, all: impl FnOnce() -> Vec<Arc<Topic>>) {
        let Some(excess) = self.budget.excess() else {
            return;
        };
        {
            let mut last_round = lock(&self.last_round);
            let now = Instant::now();
            match *last_round {
                // Between two rounds whatever grows beyond what the largest were left with is one of the largest.
                Some((last, level)) if now - last < ROUND => {
                    drop(last_round);
                    let above = publishing.log.held().saturating_sub(level);
                    let spare = self.budget.spare(now.into_std());
                    return self.squeeze(publishing, above.min(excess), spare);
                }
                _ => *last_round = Some((now, usize::MAX)),
            }
        }
        let level = self.largest(all());
        if let Some((_, known)) = &mut *lock(&self.last_round) {
            *known = level;
        }
    }

    /// Takes what is above the budget from the largest topics, so that none of them is left with more than another: first what
    /// no reader needs, then what readers have left waiting. What a reader has not come to yet stays, unless the system has no room
    /// for it. Returns what the largest are left with.
    pub(crate) fn largest(&self, mut topics: Vec<Arc<Topic>>) -> usize {
        self.squeeze_down(&mut topics, Spare::Unneeded);
        self.squeeze_down(&mut topics, self.budget.spare(now()))
    }

    fn squeeze_down(&self, topics: &mut [Arc<Topic>], spare: Spare) -> usize {
        let Some(excess) = self.budget.excess() else {
            return usize::MAX;
        };
        topics.sort_by_cached_key(|topic| std::cmp::Reverse(topic.log.held()));
        let sizes = || topics.iter().map(|topic| topic.log.held());
        let (mut level, mut sum) = (0, 0);
        for ((held, count), next) in sizes().zip(1..).zip(sizes().skip(1).chain([0])) {
            sum += held;
            level = sum.saturating_sub(excess) / count;
            if level >= next {
                break;
            }
        }
        for topic in topics.iter() {
            self.squeeze(topic, topic.log.held().saturating_sub(level), spare);
        }
        // Some may have had nothing to give: then the others give more.
        for topic in topics.iter() {
            let Some(excess) = self.budget.excess() else {
                break;
            };
            self.squeeze(topic, excess, spare);
        }
        level
    }

    fn squeeze(&self, topic: &Topic, excess: usize, spare: Spare) {
        let freed = match excess {
            0 => 0,
            _ => topic.log.squeeze(excess, spare),
        };
        if freed > 0 {
            self.budget.squeezed(&topic.target.route.name, freed);
        }
    }

    /// Counts `bytes` beside the logs, which give way; false, and nothing is counted, where there is no room all the same.
    pub(crate) fn reserve(&self, bytes: usize, all: impl FnOnce() -> Vec<Arc<Topic>>) -> bool {
        self.budget.recount(0, bytes);
        if self.budget.is_exceeded() {
            self.largest(all());
        }
        let has_room = !self.budget.is_exceeded();
        if !has_room {
            self.budget.recount(bytes, 0);
        }
        has_room
    }
}
