//! Picks the next server of the candidates. Pure: chance and turn are arguments.

use std::time::Duration;

/// A server that is back, or new beside others, gets its whole share after this time.
pub(crate) const SLOW_START: Duration = Duration::from_secs(10);
/// And this much of it at first.
const FIRST_SHARE: f64 = 0.1;

/// A server that may get the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerCandidate {
    /// Its place among all servers.
    pub(crate) place: usize,
    /// Requests that it has and has not finished answering.
    pub(crate) in_flight: usize,
    /// Of its share of requests, how much it is to get now: 0 to 1.
    pub(crate) share: f64,
}

/// How much of its share a server gets that has been back for so long.
pub(crate) fn share(back_for: Duration) -> f64 {
    (back_for.as_secs_f64() / SLOW_START.as_secs_f64()).clamp(FIRST_SHARE, 1.0)
}

/// One after the other.
pub(crate) fn round_robin(
    candidates: &mut Vec<ServerCandidate>,
    turn: usize,
    roll: f64,
) -> Option<usize> {
    hold_newcomers_back(candidates, roll);
    let next = turn.checked_rem(candidates.len())?;
    candidates.get(next).map(|candidate| candidate.place)
}

/// The one with the fewest requests in flight; equals take turns.
///
/// All are looked at. Two at random would do where there are thousands, or where many balancers
/// with stale counts would fall upon the same one; here there are a few, and the counts are exact.
pub(crate) fn least_requests(
    candidates: &mut Vec<ServerCandidate>,
    turn: usize,
    roll: f64,
) -> Option<usize> {
    hold_newcomers_back(candidates, roll);
    let fewest = candidates.iter().map(|c| c.in_flight).min()?;
    candidates.retain(|candidate| candidate.in_flight == fewest);
    let next = turn.checked_rem(candidates.len())?;
    candidates.get(next).map(|candidate| candidate.place)
}

/// Leaves slowly starting servers out of a choice as often as they lack of their share.
fn hold_newcomers_back(candidates: &mut Vec<ServerCandidate>, roll: f64) {
    if candidates.iter().any(|candidate| candidate.share > roll) {
        candidates.retain(|candidate| candidate.share > roll);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(of: &[(usize, f64)]) -> Vec<ServerCandidate> {
        let one = |(place, (in_flight, share)): (usize, &(usize, f64))| ServerCandidate {
            place,
            in_flight: *in_flight,
            share: *share,
        };
        of.iter().enumerate().map(one).collect()
    }

    type Choice = fn(&mut Vec<ServerCandidate>, usize, f64) -> Option<usize>;

    fn counts(choice: Choice, of: &[(usize, f64)], turns: usize) -> Vec<usize> {
        let mut counts = vec![0; of.len()];
        for turn in 0..turns {
            // Every roll once, in no order that fits the turns.
            let roll = ((turn * 7919) % turns) as f64 / turns as f64;
            counts[choice(&mut candidates(of), turn, roll).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn each_in_its_turn() {
        assert_eq!(counts(round_robin, &[(9, 1.0); 3], 300), [100, 100, 100]);
        assert_eq!(round_robin(&mut Vec::new(), 5, 0.5), None);
        assert_eq!(least_requests(&mut Vec::new(), 5, 0.5), None);
    }

    #[test]
    fn the_fewest_in_flight_and_equals_in_turn() {
        let busy = [(3, 1.0), (1, 1.0), (2, 1.0), (1, 1.0)];
        assert_eq!(counts(least_requests, &busy, 300), [0, 150, 0, 150]);
    }

    #[test]
    fn a_newcomer_gets_the_share_that_it_has_grown_to() {
        assert_eq!(share(Duration::ZERO), 0.1);
        assert_eq!(share(Duration::from_secs(5)), 0.5);
        assert_eq!(share(Duration::from_secs(60)), 1.0);
        for choice in [round_robin as Choice, least_requests] {
            for (share, most) in [(0.1, 0.12), (0.5, 0.55), (1.0, 1.05)] {
                let got = counts(choice, &[(0, 1.0), (0, 1.0), (0, share)], 3000)[2];
                let whole = 1000.0;
                assert!((got as f64) < whole * most, "{got} at {share}");
                assert!((got as f64) > whole * share * 0.85, "{got} at {share}");
            }
        }
    }

    #[test]
    fn newcomers_alone_take_everything() {
        assert_eq!(counts(round_robin, &[(0, 0.1); 2], 100), [50, 50]);
    }
}
