//! The present sessions, as the admin API and the rollout see them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::config::Queue;
use crate::event::Position;

/// All sessions of this node. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sessions {}

/// One connection as the admin API shows it.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// What `welcome.conn` said.
    pub id: String,
    /// The user, once there is authentication.
    pub user: Option<String>,
    /// The client's address.
    pub remote: String,
    /// `json` or `raw`.
    pub protocol: &'static str,
    /// `websocket`.
    pub transport: &'static str,
    /// `websocket` or `legacy`.
    pub cohort: &'static str,
    /// Unix seconds.
    pub connected_at: u64,
    /// What waits to be sent.
    pub queued: Queue,
    /// In the order of subscribing.
    pub subscriptions: Vec<SubscriptionInfo>,
}

/// One subscription as the admin API shows it.
#[derive(Clone, Debug)]
pub struct SubscriptionInfo {
    /// Channel.
    pub ch: u32,
    /// Route name.
    pub route: Arc<str>,
    /// Path and query.
    pub path: String,
    /// Where it stands.
    pub at: Position,
    /// Held by its client.
    pub paused: bool,
}

/// Which sessions are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// These ids.
    Ids(Vec<String>),
    /// Those of a user.
    User(String),
    /// Those with a subscription to this route.
    Route(String),
    /// Everyone.
    All,
}

/// A message to people.
#[derive(Clone, Debug)]
pub struct Notice {
    /// `info`, `warn` or `error`.
    pub level: String,
    /// Text.
    pub msg: String,
    /// JSON.
    pub d: Option<Box<RawValue>>,
}

impl Sessions {
    /// Makes every session look again at configuration and stages (each decides for itself).
    pub fn recheck(&self) {
        todo!()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        todo!()
    }

    /// All of them, the oldest connection first.
    pub fn list(&self) -> Vec<SessionInfo> {
        todo!()
    }

    /// Closes those meant with this code, soon. Returns how many.
    pub fn close(&self, whom: &Whom, code: u16) -> usize {
        todo!()
    }

    /// Sends a notice to all, or to those with a subscription to `route`. Returns how many.
    pub fn notify(&self, notice: Arc<Notice>, route: Option<&str>) -> usize {
        todo!()
    }

    /// Tells everyone to leave (`drain`, next `same`) and closes each with 4200 at a random instant of the window.
    /// Returns how many are told. A later call with another window replaces the first.
    pub fn drain(&self, window: Duration, why: &'static str) -> usize {
        todo!()
    }

    /// Those that were told to leave by `drain` and are still here stay.
    pub fn cancel_drain(&self) {
        todo!()
    }

    /// Resolves when no session is left.
    pub async fn gone(&self) {
        todo!()
    }
}
