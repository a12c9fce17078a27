//! Key sets behind a URL (RFC 7517): cached, fetched again at a bounded rate, kept on error.
//!
//! Nothing runs without requests. A set is fetched when a token needs one, ahead of its end when one is read, and when a token
//! names a key that it lacks. Strangers cannot influence how often.

mod refresh;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hyper::header::CACHE_CONTROL;
use hyper::{HeaderMap, StatusCode, Uri};
use jsonwebtoken::Algorithm;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use tokio::time::Instant;

use self::refresh::{RefreshPace, RefreshReason};
use super::jwt::{Keys, LARGEST_SET};
use crate::telemetry::Telemetry;
use crate::upstream::Upstreams;
use crate::upstream::fetch::Outside;

/// How long a publisher may take for its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long keys hold whose publisher does not say.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// The bounds of what it may say.
const LEAST_AGE: Duration = Duration::from_secs(60);
const MOST_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long keys stay valid that cannot be fetched again.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// The key set of one `[auth]`. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct KeySet(Arc<Inner>);

struct Inner {
    auth: String,
    document: Outside,
    allowed: Vec<Algorithm>,
    telemetry: Arc<Telemetry>,
    kept: ArcSwapOption<Kept>,
    pace: Mutex<RefreshPace>,
    /// Whose turn it is to fetch: one at a time.
    turn: Arc<Turn<()>>,
}

struct Kept {
    keys: Arc<Keys>,
    since: Instant,
    max_age: Duration,
}

impl KeySet {
    /// The set behind this URL, for the `[auth]` of this name. Nothing is fetched yet.
    pub(crate) fn new(
        auth: &str,
        uri: &Uri,
        allowed: &[Algorithm],
        upstreams: &Upstreams,
        telemetry: &Arc<Telemetry>,
    ) -> KeySet {
        KeySet(Arc::new(Inner {
            auth: auth.to_owned(),
            document: upstreams.outside(&format!("auth.{auth}"), uri, telemetry),
            allowed: allowed.to_vec(),
            telemetry: telemetry.clone(),
            kept: ArcSwapOption::empty(),
            pace: Mutex::default(),
            turn: Arc::default(),
        }))
    }

    /// The keys as they are; `None` where there are none yet, or none any more. Where they will soon be old, or are not there,
    /// fetching begins beside; so to call it once early makes the first token wait less. Call it inside of a runtime.
    pub(crate) fn current(&self) -> Option<Arc<Keys>> {
        let now = Instant::now();
        let kept = self.0.kept.load();
        let (reason, keys) = match &*kept {
            Some(kept) if now < kept.since + STALE => {
                let is_due = now >= kept.since + kept.max_age * 4 / 5;
                (
                    is_due.then_some(RefreshReason::Old),
                    Some(kept.keys.clone()),
                )
            }
            _ => (Some(RefreshReason::None), None),
        };
        if let Some(reason) = reason
            && let Ok(turn) = self.0.turn.clone().try_lock_owned()
            && self.0.pace().begin(reason, now)
        {
            tokio::spawn(self.0.clone().fetch(turn));
        }
        keys
    }

    /// Keys to try again with, for a token whose key is not among those of [`KeySet::current`], or where there are none.
    ///
    /// `None`: there are no newer ones. Either the set was just fetched for such a key and has none, or it cannot be fetched
    /// again yet, or its server does not answer. All callers wait for one fetch, and it goes on when they leave.
    pub(crate) async fn fetch_for(&self, kid: Option<&str>) -> Option<Arc<Keys>> {
        let known = self.0.fresh();
        // Another caller's fetch may have brought it meanwhile.
        let is_there = |keys: &Arc<Keys>| kid.is_none_or(|kid| keys.holds(kid));
        if kid.is_some() && known.as_ref().is_some_and(is_there) {
            return known;
        }
        if kid.is_some_and(|kid| self.0.pace().is_missing(kid, Instant::now())) {
            return None;
        }
        let turn = self.0.turn.clone().lock_owned().await;
        let now = Instant::now();
        let found = self.0.fresh();
        let is_new = |found: &Arc<Keys>| !known.as_ref().is_some_and(|k| Arc::ptr_eq(k, found));
        let found = match found {
            Some(found) if is_new(&found) => Some(found),
            found => {
                let reason = match found {
                    Some(_) => RefreshReason::Lacking,
                    None => RefreshReason::None,
                };
                if !self.0.pace().begin(reason, now) {
                    // Without a name it is unknown whether these were tried.
                    return found.filter(is_there);
                }
                let fetch = tokio::spawn(self.0.clone().fetch(turn));
                fetch.await.ok()?;
                self.0.fresh().filter(is_new)
            }
        }?;
        if let Some(kid) = kid.filter(|kid| !found.holds(kid)) {
            self.0.pace().note_missing(kid, Instant::now());
        }
        Some(found)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field("auth", &self.0.auth)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn pace(&self) -> MutexGuard<'_, RefreshPace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys, unless they are too old to count.
    fn fresh(&self) -> Option<Arc<Keys>> {
        let kept = self.kept.load();
        let kept = kept.as_ref()?;
        (Instant::now() < kept.since + STALE).then(|| kept.keys.clone())
    }

    /// One fetch; the turn ends with it.
    async fn fetch(self: Arc<Self>, _turn: OwnedMutexGuard<()>) {
        let outcome = self.ask().await;
        let now = Instant::now();
        self.pace().ended(outcome.is_ok(), now);
        match outcome {
            Ok((keys, max_age)) => {
                self.telemetry.edge.keys_fetched(&self.auth, keys.count());
                self.kept.store(Some(Arc::new(Kept {
                    keys: Arc::new(keys),
                    since: now,
                    max_age,
                })));
            }
            Err(why) => {
                let are_old_ones_kept = self.fresh().is_some();
                (self.telemetry)
                    .edge
                    .keys_not_fetched(&self.auth, &why, are_old_ones_kept);
            }
        }
    }

    async fn ask(&self) -> Result<(Keys, Duration), String> {
        let accept = "application/jwk-set+json, application/json";
        let answer = (self.document).get(accept, LARGEST_SET, PATIENCE).await?;
        match answer.status() {
            StatusCode::OK => {}
            status if status.is_redirection() => {
                return Err(format!(
                    "it answered {}, and redirects are not followed",
                    status.as_u16()
                ));
            }
            status => return Err(format!("it answered {}", status.as_u16())),
        }
        let keys = Keys::parse(answer.body(), &self.allowed)?;
        Ok((keys, max_age(answer.headers())))
    }
}

/// `Cache-Control`, as far as it is sensible. What may not be stored is asked for again as soon as that.
fn max_age(headers: &HeaderMap) -> Duration {
    let lines = headers.get_all(CACHE_CONTROL).iter();
    let directives = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    let ages = directives.filter_map(|directive| {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match &*name.trim().to_ascii_lowercase() {
            "no-store" | "no-cache" => Some(0),
            "max-age" => value.trim().trim_matches('"').parse().ok(),
            _ => None,
        }
    });
    let age = ages.min().map_or(MAX_AGE, Duration::from_secs);
    age.clamp(LEAST_AGE, MOST_AGE)
}

#[cfg(test)]
mod tests;
