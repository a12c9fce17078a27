//! Which topics the log has called an answer of private: once, until the backend answers for all, or the operator has changed
//! something. A topic that ends by it is made anew by each client that comes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::key::Target;

/// Topics that are remembered; beyond, all are forgotten and reported once more.
const MOST: usize = 1024;

#[derive(Default)]
pub(super) struct Alarms {
    marks: RandomState,
    told: Mutex<HashMap<u64, &'static str>>,
    /// Whether any is remembered: good answers are many.
    has_told: AtomicBool,
}

impl Alarms {
    /// Reports by `tell`, which says whether it could, unless the same was reported of this topic last.
    pub(crate) fn raise(&self, target: &Target, reason: &'static str, tell: impl FnOnce() -> bool) {
        let mark = self.mark(target);
        let is_known = self.lock().get(&mark) == Some(&reason);
        if is_known || !tell() {
            return;
        }
        let mut told = self.lock();
        if told.len() >= MOST {
            told.clear();
        }
        told.insert(mark, reason);
        self.has_told.store(true, Ordering::Release);
    }

    /// The backend has answered for all.
    pub(crate) fn lower(&self, target: &Target) {
        if self.has_told.load(Ordering::Acquire) {
            let mark = self.mark(target);
            self.lock().remove(&mark);
        }
    }

    /// The configuration may be another.
    pub(crate) fn forget(&self) {
        let mut told = self.lock();
        told.clear();
        self.has_told.store(false, Ordering::Release);
    }

    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.lock().len()
    }

    /// Requests of newcomers' own count as their topic's.
    fn mark(&self, target: &Target) -> u64 {
        let Target {
            route,
            url,
            host,
            scope,
            ..
        } = target;
        self.marks.hash_one((&route.name, url, host, scope))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, &'static str>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
