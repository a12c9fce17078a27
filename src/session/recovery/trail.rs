//! How far a client has read each of its subscriptions, known from the one position that it names. Pure.
//!
//! A client of Socket.IO remembers the position of its last event only. What it has of its other subscriptions follows from the order
//! in which events were sent: everything before that one.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::event::Position;

/// Runs that are remembered. A client that lags further behind cannot come back.
const MOST: usize = 4_096;

/// See the module.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Trail {
    runs: VecDeque<Run>,
    /// Where the subscriptions stood when the first run began, where something was forgotten.
    forgotten: Vec<(u32, Option<Position>)>,
    /// Runs that were forgotten.
    passed: u64,
    /// The client has read everything before this run, once it answers the next ping.
    mark: u64,
    /// Pings that it has answered.
    answered: u32,
}

/// Events of one subscription that were sent behind one another, none of another between.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Run {
    ch: u32,
    /// The offset of its first event; [`NONE`] where it has none yet: `last` is where the subscription began.
    first: u64,
    /// `None`: from its beginning, with the document.
    last: Option<Position>,
}

/// An offset that no event has.
const NONE: u64 = u64::MAX;

impl Run {
    fn has(&self, position: Position) -> bool {
        let last = self.last.filter(|last| last.epoch == position.epoch);
        last.is_some_and(|last| (self.first..=last.offset).contains(&position.offset))
    }
}

impl Trail {
    /// A subscription begins here; `None` where the client first gets what a new one gets.
    pub(crate) fn begin(&mut self, ch: u32, at: Option<Position>) {
        self.push(Run {
            ch,
            first: NONE,
            last: at,
        });
    }

    /// An event of a subscription was sent.
    pub(crate) fn sent(&mut self, ch: u32, at: Position) {
        if let Some(run) = self.runs.back_mut()
            && run.ch == ch
            && run.first != NONE
            && let Some(last) = &mut run.last
            && last.epoch == at.epoch
            && last.offset <= at.offset
        {
            *last = at;
            return;
        }
        self.push(Run {
            ch,
            first: at.offset,
            last: Some(at),
        });
    }

    fn push(&mut self, run: Run) {
        if self.runs.len() >= MOST {
            self.forget_first();
        }
        self.runs.push_back(run);
    }

    fn forget_first(&mut self) {
        if let Some(run) = self.runs.pop_front() {
            self.passed += 1;
            note(&mut self.forgotten, run.ch, run.last);
        }
    }

    /// Only these subscriptions are still there.
    pub(crate) fn keep(&mut self, is_there: impl Fn(u32) -> bool) {
        self.forgotten.retain(|(ch, _)| is_there(*ch));
    }

    /// The client has answered so many pings: what was sent before the last but one is read, and forgotten.
    pub(crate) fn hear_answers(&mut self, answered: u32) {
        if answered == self.answered {
            return;
        }
        self.answered = answered;
        // The last run before the mark may have the position that the client names.
        while self.passed + 1 < self.mark && self.runs.len() > 1 {
            self.forget_first();
        }
        self.mark = self.passed + self.runs.len() as u64;
    }

    /// Where each subscription goes on for a client that names this position, or none; `None` where that is not known any more.
    pub(crate) fn places(&self, named: Option<Position>) -> Option<Vec<(u32, Option<Position>)>> {
        let mut places = Vec::new();
        let last = match named {
            None if self.passed > 0 => return None,
            None => 0,
            Some(named) => self.runs.iter().rposition(|run| run.has(named))? + 1,
        };
        for (ch, at) in &self.forgotten {
            note(&mut places, *ch, *at);
        }
        let mut runs = self.runs.iter();
        for run in runs.by_ref().take(last) {
            note(&mut places, run.ch, run.last);
        }
        if let (Some(named), Some(run)) = (named, last.checked_sub(1)) {
            let ch = self.runs.get(run).map(|run| run.ch)?;
            note(&mut places, ch, Some(named));
        }
        // What began behind that begins once more.
        for run in runs {
            if !places.iter().any(|(ch, _)| *ch == run.ch) {
                places.push((run.ch, run.last));
            }
        }
        Some(places)
    }

    /// The subscription whose event has this position.
    pub(crate) fn whose(&self, named: Position) -> Option<u32> {
        let run = self.runs.iter().rfind(|run| run.has(named));
        run.map(|run| run.ch)
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.runs.len() * size_of::<Run>()
    }
}

fn note(places: &mut Vec<(u32, Option<Position>)>, ch: u32, at: Option<Position>) {
    match places.iter_mut().find(|(known, _)| *known == ch) {
        Some((_, known)) => *known = at,
        None => places.push((ch, at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Epoch;

    fn at(epoch: u32, offset: u64) -> Position {
        Position {
            epoch: Epoch(epoch),
            offset,
        }
    }

    /// Two subscriptions, 1 of epoch 10 and 2 of epoch 20, whose events were sent in turns.
    fn turns(count: u64) -> Trail {
        let mut trail = Trail::default();
        trail.begin(1, Some(at(10, 0)));
        trail.begin(2, None);
        for n in 1..=count {
            trail.sent(1, at(10, n));
            trail.sent(2, at(20, n));
        }
        trail
    }

    #[test]
    fn one_position_says_where_all_go_on() {
        let trail = turns(3);
        let places = |named| trail.places(named);
        assert_eq!(places(None), Some(vec![(1, Some(at(10, 0))), (2, None)]));
        let first = Some(vec![(1, Some(at(10, 1))), (2, None)]);
        assert_eq!(places(Some(at(10, 1))), first);
        let second = Some(vec![(1, Some(at(10, 2))), (2, Some(at(20, 2)))]);
        assert_eq!(places(Some(at(20, 2))), second);
        for unknown in [at(10, 4), at(20, 0), at(30, 1)] {
            assert_eq!(places(Some(unknown)), None);
        }
        assert_eq!(trail.whose(at(20, 2)), Some(2));
    }

    #[test]
    fn what_is_read_is_forgotten_and_what_is_behind_it_is_known() {
        let mut trail = turns(3);
        trail.hear_answers(1);
        trail.sent(1, at(10, 4));
        trail.hear_answers(2);
        assert_eq!(trail.places(None), None);
        assert_eq!(trail.places(Some(at(20, 2))), None);
        let last = Some(vec![(1, Some(at(10, 3))), (2, Some(at(20, 3)))]);
        assert_eq!(trail.places(Some(at(20, 3))), last);
        assert_eq!(trail.runs.len(), 2);
    }

    #[test]
    fn a_client_far_behind_cannot_come_back() {
        let trail = turns(MOST as u64);
        assert_eq!(trail.runs.len(), MOST);
        assert_eq!(trail.places(Some(at(10, 7))), None);
        assert!(trail.places(Some(at(10, MOST as u64))).is_some());
    }

    #[test]
    fn events_in_a_row_are_one_run() {
        let mut trail = Trail::default();
        trail.begin(1, Some(at(10, 5)));
        (6..500).for_each(|n| trail.sent(1, at(10, n)));
        assert_eq!(trail.runs.len(), 2);
        let place = Some(vec![(1, Some(at(10, 77)))]);
        assert_eq!(trail.places(Some(at(10, 77))), place);
        // A reload has moved it to another topic.
        trail.sent(1, at(11, 1));
        assert!(trail.places(Some(at(11, 1))).is_some());
    }
}
