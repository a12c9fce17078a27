//! Recently verified tokens: a client that sends the same token again is known without another check of its signature.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Identity;
use super::jwt::Keys;
use crate::config::Auth;

/// Tokens of one generation; there are two.
const GENERATION: usize = 50_000;

/// The identities of recent tokens; bounded, the longest unused go first.
#[derive(Default)]
pub(super) struct KnownTokens(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: HashMap<[u8; 32], Entry>,
    old: HashMap<[u8; 32], Entry>,
}

#[derive(Clone)]
struct Entry {
    /// By which policy, as it was then.
    auth: Arc<Auth>,
    /// By which keys: where they were replaced, the token has to show itself again.
    keys: Arc<Keys>,
    identity: Arc<Identity>,
}

impl KnownTokens {
    /// Whose token it is, where this policy has verified it with these keys and its time is not over.
    pub(crate) fn find(
        &self,
        auth: &Arc<Auth>,
        keys: &Arc<Keys>,
        digest: &[u8; 32],
        now: u64,
    ) -> Option<Arc<Identity>> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match generations.young.get(digest) {
            Some(entry) => entry.clone(),
            None => {
                let entry = generations.old.remove(digest)?;
                generations.keep(*digest, entry.clone());
                entry
            }
        };
        let holds = Arc::ptr_eq(&entry.auth, auth)
            && Arc::ptr_eq(&entry.keys, keys)
            && entry.identity.ends().is_none_or(|ends| now < ends);
        holds.then_some(entry.identity)
    }

    /// Remembers a verified token.
    pub(crate) fn keep(
        &self,
        auth: &Arc<Auth>,
        keys: &Arc<Keys>,
        digest: [u8; 32],
        identity: &Arc<Identity>,
    ) {
        let entry = Entry {
            auth: auth.clone(),
            keys: keys.clone(),
            identity: identity.clone(),
        };
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generations.keep(digest, entry);
    }
}

impl Generations {
    fn keep(&mut self, digest: [u8; 32], entry: Entry) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, entry);
    }
}
