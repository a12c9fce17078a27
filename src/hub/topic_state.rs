//! How a topic stands with its backend: not heard of yet, live, stale, lost, over.
//!
//! A change returns whether subscribers would see it, and are to be woken.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use serde::{Deserialize, Serialize};

use super::clock::unix_now;
use super::shards::lock;
use super::types::Phase;
use crate::event::{End, State};

pub(super) struct Condition {
    phase: AtomicU8,
    /// It has followed its backend.
    has_lived: AtomicBool,
    /// Its stream is lost and not open again.
    is_lost: AtomicBool,
    /// Counts changes of the state, from 1.
    version: AtomicU32,
    known: Mutex<Known>,
}

struct Known {
    state: State,
    end: Option<End>,
    last_ok: Option<u64>,
}

/// A condition as it is sent to another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// The backend has answered, or is known not to.
    pub(crate) is_open: bool,
    /// See [`crate::event::State::live`].
    pub(crate) live: bool,
    /// See [`crate::event::State::why`].
    pub(crate) why: Option<String>,
    /// See [`crate::event::State::since`].
    pub(crate) since: u64,
    /// Unix seconds of the last success.
    pub(crate) last_ok: Option<u64>,
}

const OPENING: u8 = 0;
const OPEN: u8 = 1;
const ENDED: u8 = 2;

impl Condition {
    /// Nothing has been heard of the backend.
    pub(crate) fn new() -> Self {
        Condition {
            phase: AtomicU8::new(OPENING),
            has_lived: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
            version: AtomicU32::new(1),
            known: Mutex::new(Known {
                state: State {
                    live: false,
                    why: Some("connecting"),
                    since: unix_now(),
                },
                end: None,
                last_ok: None,
            }),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            OPENING => Phase::Opening,
            OPEN => Phase::Open,
            _ => lock(&self.known)
                .end
                .clone()
                .map_or(Phase::Open, Phase::Ended),
        }
    }

    /// Whether the backend has not answered as it should, ever.
    pub(crate) fn has_failed(&self) -> bool {
        self.phase() == Phase::Open && !self.has_lived.load(Ordering::Acquire)
    }

    /// Whether its stream is lost and not open again.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    pub(crate) fn set_lost(&self, is_lost: bool) {
        self.is_lost.store(is_lost, Ordering::Relaxed);
    }

    /// The state where it has changed since `told`, with the number of the change.
    pub(crate) fn state_since(&self, told: u32) -> Option<(u32, State)> {
        if self.version.load(Ordering::Acquire) == told {
            return None;
        }
        let known = lock(&self.known);
        let version = self.version.load(Ordering::Acquire);
        Some((version, known.state.clone()))
    }

    /// The state now, and when the backend answered last.
    pub(crate) fn state(&self) -> (State, Option<u64>) {
        let known = lock(&self.known);
        (known.state.clone(), known.last_ok)
    }

    #[must_use]
    pub(crate) fn opened(&self) -> bool {
        self.change(|known| known.set_live())
    }

    #[must_use]
    pub(crate) fn live(&self) -> bool {
        self.change(|known| {
            known.last_ok = Some(unix_now());
            known.set_live();
        })
    }

    #[must_use]
    pub(crate) fn stale(&self, why: &'static str) -> bool {
        self.change(|known| known.set_stale(why))
    }

    /// Another reason for a state that clients have already.
    #[must_use]
    pub(crate) fn explain(&self, why: &'static str) -> bool {
        {
            let state = &mut lock(&self.known).state;
            if !state.live {
                state.why = Some(why);
            }
        }
        self.shift(OPENING, OPEN)
    }

    /// A client that comes from now on waits for what the backend says next; whether that is new.
    pub(crate) fn rest(&self) -> bool {
        self.shift(OPEN, OPENING)
    }

    /// Clients that wait are answered though nothing has been heard of the backend.
    #[must_use]
    pub(crate) fn unsure(&self) -> bool {
        self.change(|known| {
            if known.state.live {
                known.set_stale("connecting");
            }
        })
    }

    /// It is over like this, unless it was before.
    pub(crate) fn end(&self, end: End) {
        let mut known = lock(&self.known);
        if known.end.is_none() {
            known.end = Some(end);
            self.phase.store(ENDED, Ordering::Release);
        }
    }

    /// As it is sent to another process.
    pub(crate) fn status(&self) -> Status {
        let is_open = self.phase.load(Ordering::Acquire) != OPENING;
        let known = lock(&self.known);
        Status {
            is_open,
            live: known.state.live,
            why: known.state.why.map(str::to_owned),
            since: known.state.since,
            last_ok: known.last_ok,
        }
    }

    /// As another process has sent it.
    #[must_use]
    pub(crate) fn set_status(&self, status: &Status) -> bool {
        let is_seen = self.change(|known| {
            known.state.live = status.live;
            known.state.why = match (&status.why, status.live) {
                (Some(why), false) => Some(known_why(why)),
                _ => None,
            };
            known.last_ok = status.last_ok;
        });
        lock(&self.known).state.since = status.since;
        is_seen
    }

    /// From one phase to another, where it is in the first.
    fn shift(&self, from: u8, to: u8) -> bool {
        let shifted = self
            .phase
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        shifted.is_ok()
    }

    fn change(&self, alter: impl FnOnce(&mut Known)) -> bool {
        let mut known = lock(&self.known);
        if known.end.is_some() {
            return false;
        }
        let before = (known.state.live, known.state.why);
        alter(&mut known);
        let changed = before != (known.state.live, known.state.why);
        if known.state.live {
            self.has_lived.store(true, Ordering::Release);
        }
        if changed {
            if before.0 != known.state.live {
                known.state.since = unix_now();
            }
            self.version.fetch_add(1, Ordering::Release);
        }
        // Whatever is known of the backend now, subscriptions need not wait for it any more.
        let opened = self.phase.swap(OPEN, Ordering::AcqRel) == OPENING;
        changed || opened
    }
}

impl Known {
    fn set_live(&mut self) {
        (self.state.live, self.state.why) = (true, None);
    }

    fn set_stale(&mut self, why: &'static str) {
        (self.state.live, self.state.why) = (false, Some(why));
    }
}

/// A word for `state.why` from another process, as one of ours.
fn known_why(why: &str) -> &'static str {
    const WORDS: [&str; 3] = ["connecting", "upstream_timeout", "upstream_invalid"];
    let known = WORDS.into_iter().find(|word| *word == why);
    known.unwrap_or("upstream_down")
}
