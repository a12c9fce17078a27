//! A bound on log lines that clients and backends can cause at will.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines that may come at once after a silence.
const BURST: u32 = 5;
/// After how long one more may come: with the burst, no second has more than ten.
const PACE: Duration = Duration::from_millis(200);

/// Lets few enough lines through, and counts the others.
#[derive(Debug)]
pub(super) struct Flood(Mutex<State>);

#[derive(Debug)]
struct State {
    left: u32,
    refilled: Instant,
    held_back: u64,
}

impl Default for Flood {
    fn default() -> Self {
        Flood(Mutex::new(State {
            left: BURST,
            refilled: Instant::now(),
            held_back: 0,
        }))
    }
}

impl Flood {
    /// Whether a line may be written now; and then how many were not since the last one.
    pub(crate) fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(state.refilled);
        let paces = passed.as_millis() / PACE.as_millis();
        if paces >= u128::from(BURST - state.left) {
            (state.left, state.refilled) = (BURST, now);
        } else {
            let paces = paces as u32;
            state.left += paces;
            state.refilled += PACE * paces;
        }
        if state.left == 0 {
            state.held_back += 1;
            return None;
        }
        state.left -= 1;
        Some(std::mem::take(&mut state.held_back))
    }
}

/// The same for each of a few configured names, so that none of them silences another.
#[derive(Debug, Default)]
pub(super) struct Floods(Mutex<HashMap<String, Flood>>);

impl Floods {
    /// As [`Flood::admit`], for this name.
    pub(crate) fn admit(&self, name: &str) -> Option<u64> {
        let mut floods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !floods.contains_key(name) {
            floods.insert(name.to_owned(), Flood::default());
        }
        floods.get(name)?.admit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flood_logs_one_to_ten_lines_each_second() {
        let flood = Flood::default();
        let begun = Instant::now() + Duration::from_secs(60);
        let mut written: Vec<u64> = Vec::new();
        let mut held_back = 0;
        for millisecond in 0..10_000 {
            if let Some(before) = flood.admit_at(begun + Duration::from_millis(millisecond)) {
                written.push(millisecond);
                held_back += before;
            }
        }
        for from in 0..9_000 {
            let in_second = |at: &&u64| (from..from + 1_000).contains(*at);
            let count = written.iter().filter(in_second).count();
            assert!((1..=10).contains(&count), "{count} lines from {from} ms on");
        }
        let last = flood.admit_at(begun + Duration::from_secs(11)).unwrap();
        assert_eq!(held_back + last + written.len() as u64, 10_000);
    }
}
