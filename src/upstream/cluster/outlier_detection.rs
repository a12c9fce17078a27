//! What a server's answers say of it: when it is left alone, and when it is tried again. Pure.

use std::time::{Duration, Instant};

/// So many failures in a row, and the server is left alone.
const FAILURES: u32 = 5;
/// For how long, the first time; as much longer with each time after.
const BASE: Duration = Duration::from_secs(30);
/// And at most.
const MOST: Duration = Duration::from_secs(300);
/// A server that was good for so long begins again with [`BASE`].
const FORGIVEN: Duration = Duration::from_secs(300);
/// A failure that took less cost no client anything: a refused connection, as a rule.
const AT_ONCE: Duration = Duration::from_millis(250);
/// Between two probes of a server that lets its clients wait, where there is no other.
const PAUSE: Duration = Duration::from_secs(1);
/// A probe without an answer after this time (a stream may have none for long) makes way for
/// another.
const PROBE: Duration = Duration::from_secs(10);

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptOutcome {
    /// An answer, whatever it says of the request.
    Good,
    /// An answer that says that the server cannot: 502, 503, 504.
    Unwell,
    /// No answer: not connected, none in time, a broken one.
    Failed {
        /// How long that took.
        took: Duration,
    },
}

/// What changed for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is left alone from now on.
    Out {
        /// For this long, unless there is no other.
        term: Duration,
    },
    /// It counts like the others again.
    Back,
}

/// One server's record.
#[derive(Debug, Default)]
pub(crate) struct Ejection {
    /// In a row.
    failures: u32,
    /// How often it was left alone lately.
    times: u32,
    /// Since when it is back.
    back: Option<Instant>,
    out: Option<Out>,
}

#[derive(Debug)]
struct Out {
    /// Until then where there are others.
    until: Instant,
    /// Until then even where there is no other.
    pause: Instant,
    /// The last failure let a client wait: one probe at a time.
    is_slow: bool,
    /// When the probe under way began.
    probe: Option<Instant>,
}

impl Ejection {
    /// Whether it is left alone.
    pub(crate) fn is_out(&self) -> bool {
        self.out.is_some()
    }

    /// Whether its time is over, and the next request may find out how it is.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let due = |out: &Out| now >= out.until && !out.is_probed(now);
        self.out.as_ref().is_some_and(due)
    }

    /// Whether a request that has nowhere else to go may try it. A server that refuses at once may
    /// always be tried: so it is found the moment it is back.
    pub(crate) fn may_be_tried(&self, now: Instant) -> bool {
        let free = |out: &Out| !out.is_slow || now >= out.pause && !out.is_probed(now);
        self.out.as_ref().is_some_and(free)
    }

    /// A request goes to it to find out.
    pub(crate) fn probe(&mut self, now: Instant) {
        if let Some(out) = &mut self.out {
            out.probe = Some(now);
        }
    }

    /// That request ended without an outcome: its client went away.
    pub(crate) fn probe_lost(&mut self) {
        if let Some(out) = &mut self.out {
            out.probe = None;
        }
    }

    /// Takes in what came of a request. `others` says whether another server could have taken it: the last
    /// one is not left alone for answers that it gives, however they are.
    pub(crate) fn take(
        &mut self,
        outcome: AttemptOutcome,
        is_probe: bool,
        others: bool,
        now: Instant,
    ) -> Option<Turn> {
        if self.out.is_some() && !is_probe {
            // It was sent before; what is known now is newer.
            return None;
        }
        let is_good = match outcome {
            AttemptOutcome::Good => true,
            AttemptOutcome::Unwell => !others && self.is_out(),
            AttemptOutcome::Failed { .. } => false,
        };
        if is_good {
            self.failures = 0;
            return self.readmit(now);
        }
        self.failures = self.failures.saturating_add(1);
        let took = match outcome {
            AttemptOutcome::Failed { took } => took,
            AttemptOutcome::Good | AttemptOutcome::Unwell => Duration::ZERO,
        };
        let is_new = self.out.is_none();
        let is_last_words = outcome == AttemptOutcome::Unwell && !others;
        if is_new && (self.failures < FAILURES || is_last_words) {
            return None;
        }
        if is_new
            && self
                .back
                .is_some_and(|back| now.saturating_duration_since(back) >= FORGIVEN)
        {
            self.times = 0;
        }
        // Where there is no other it is tried all the time; that it fails is no news.
        if is_new || others {
            self.times = self.times.saturating_add(1);
        }
        let term = BASE.saturating_mul(self.times).min(MOST);
        self.out = Some(Out {
            until: now + term,
            pause: now + PAUSE,
            is_slow: took >= AT_ONCE,
            probe: None,
        });
        is_new.then_some(Turn::Out { term })
    }

    /// It may be used again, for whatever reason.
    pub(crate) fn readmit(&mut self, now: Instant) -> Option<Turn> {
        self.out.take()?;
        self.failures = 0;
        self.back = Some(now);
        Some(Turn::Back)
    }
}

impl Out {
    fn is_probed(&self, now: Instant) -> bool {
        self.probe
            .is_some_and(|since| now.saturating_duration_since(since) < PROBE)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REFUSED: AttemptOutcome = AttemptOutcome::Failed {
        took: Duration::from_millis(1),
    };
    const SILENT: AttemptOutcome = AttemptOutcome::Failed {
        took: Duration::from_secs(3),
    };
    const SECOND: Duration = Duration::from_secs(1);

    fn fail(
        server: &mut Ejection,
        outcome: AttemptOutcome,
        others: bool,
        now: Instant,
    ) -> Option<Turn> {
        (0..5)
            .map(|_| server.take(outcome, false, others, now))
            .last()
            .flatten()
    }

    fn out(secs: u64) -> Option<Turn> {
        let term = Duration::from_secs(secs);
        Some(Turn::Out { term })
    }

    #[test]
    fn five_failures_in_a_row_and_not_one_less() {
        let now = Instant::now();
        for outcome in [REFUSED, SILENT, AttemptOutcome::Unwell] {
            let mut server = Ejection::default();
            for _ in 0..100 {
                for _ in 0..4 {
                    assert_eq!(server.take(outcome, false, true, now), None);
                }
                server.take(AttemptOutcome::Good, false, true, now);
            }
            assert_eq!(fail(&mut server, outcome, true, now), out(30));
            assert!(server.is_out());
        }
    }

    #[test]
    fn the_time_grows_up_to_its_most_and_is_forgiven() {
        let mut now = Instant::now();
        let mut server = Ejection::default();
        for secs in [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300] {
            assert_eq!(fail(&mut server, REFUSED, true, now), out(secs));
            now += Duration::from_secs(secs) - SECOND;
            assert!(!server.is_due(now));
            now += SECOND;
            assert!(server.is_due(now));
            server.probe(now);
            let back = server.take(AttemptOutcome::Good, true, true, now);
            assert_eq!(back, Some(Turn::Back));
        }
        now += FORGIVEN;
        assert_eq!(fail(&mut server, REFUSED, true, now), out(30));
    }

    #[test]
    fn after_its_time_one_request_finds_out() {
        let now = Instant::now();
        let mut server = Ejection::default();
        fail(&mut server, SILENT, true, now);
        let due = now + BASE;
        assert!(server.is_due(due));
        server.probe(due);
        assert!(!server.is_due(due + SECOND), "one at a time");
        assert!(server.is_due(due + PROBE), "but not for ever");
        server.probe_lost();
        assert!(server.is_due(due + SECOND), "its client went away");
        // What was sent before says nothing of now.
        assert_eq!(server.take(AttemptOutcome::Good, false, true, due), None);
        assert!(server.is_out());
        server.probe(due);
        assert_eq!(server.take(SILENT, true, true, due), None);
        assert!(!server.is_due(due + 2 * BASE - SECOND), "and longer then");
        assert!(server.is_due(due + 2 * BASE));
    }

    #[test]
    fn the_last_one_answers_for_itself() {
        let now = Instant::now();
        let mut server = Ejection::default();
        for _ in 0..100 {
            assert_eq!(server.take(AttemptOutcome::Unwell, false, false, now), None);
        }
        // Another is back: the next such answer is one too many.
        assert_eq!(
            server.take(AttemptOutcome::Unwell, false, true, now),
            out(30)
        );
        // And gone again: an answer of any kind is better than none.
        let back = server.take(AttemptOutcome::Unwell, true, false, now);
        assert_eq!(back, Some(Turn::Back));
    }

    #[test]
    fn the_last_one_is_tried_all_the_time_while_it_refuses_at_once() {
        let now = Instant::now();
        let mut server = Ejection::default();
        assert_eq!(fail(&mut server, REFUSED, false, now), out(30));
        for millis in 0..1000 {
            let now = now + Duration::from_millis(millis);
            assert!(server.may_be_tried(now));
            server.probe(now);
            assert_eq!(server.take(REFUSED, true, false, now), None);
        }
        let back = server.take(AttemptOutcome::Good, true, false, now);
        assert_eq!(back, Some(Turn::Back));
        // That it was tried so often makes nothing worse.
        assert_eq!(fail(&mut server, REFUSED, true, now), out(60));
    }

    #[test]
    fn last_hanging_server_is_probed_by_one_request_at_a_time() {
        let now = Instant::now();
        let mut server = Ejection::default();
        fail(&mut server, SILENT, false, now);
        assert!(!server.may_be_tried(now), "a pause first");
        let next = now + PAUSE;
        assert!(server.may_be_tried(next));
        server.probe(next);
        assert!(!server.may_be_tried(next + SECOND));
        server.take(SILENT, true, false, next + 3 * SECOND);
        assert!(!server.may_be_tried(next + 3 * SECOND));
        assert!(server.may_be_tried(next + 4 * SECOND));
    }

    proptest! {
        /// Whatever comes: a silent server gets no more than one request per second and ten seconds' patience, and no server is
        /// out for ever.
        #[test]
        fn every_server_gets_its_chance(steps in prop::collection::vec((0u8..4, 0u64..5000, any::<bool>()), 1..200)) {
            let mut now = Instant::now();
            let mut server = Ejection::default();
            for (what, millis, others) in steps {
                now += Duration::from_millis(millis);
                let is_probe = server.is_due(now) || !others && server.may_be_tried(now);
                if server.is_out() && !is_probe {
                    continue;
                }
                if is_probe {
                    server.probe(now);
                }
                let outcome = match what {
                    0 => AttemptOutcome::Good,
                    1 => AttemptOutcome::Unwell,
                    2 => REFUSED,
                    _ => SILENT,
                };
                let was_out = server.is_out();
                let turn = server.take(outcome, is_probe, others, now);
                prop_assert_eq!(turn.is_some(), was_out != server.is_out());
                prop_assert!(outcome != AttemptOutcome::Good || !server.is_out());
                prop_assert!(!server.is_out() || server.is_due(now + MOST));
                prop_assert!(!server.is_out() || server.may_be_tried(now + PAUSE));
            }
        }
    }
}
