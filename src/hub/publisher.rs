//! A topic as its feed sees it.

use bytes::Bytes;
use std::sync::Arc;

use super::{Credentials, Target};
use crate::config::Route;
use crate::error::Refusal;
use crate::event::{Draft, End, GapWhy};

/// The feed's half of a topic. All calls return at once; each wakes the subscribers once.
#[derive(Clone)]
pub struct Publisher {}

impl Publisher {
    /// What to read.
    pub fn target(&self) -> &Arc<Target> {
        todo!()
    }
    /// The route as the newest configuration has it: pace and limits change under a running feed.
    pub fn route(&self) -> Arc<Route> {
        todo!()
    }
    /// Credentials of a present subscriber (the newest), or of the last one while lingering.
    pub fn credentials(&self) -> Credentials {
        todo!()
    }
    /// The `Last-Event-ID` that the first subscriber brought, where the topic is new.
    pub fn resume_id(&self) -> Option<Arc<str>> {
        todo!()
    }
    /// The backend's first response head arrived and is good: subscriptions may be answered, the topic is live.
    pub fn opened(&self) {
        todo!()
    }
    /// Appends events, in order, at one instant.
    pub fn publish(&self, drafts: Vec<Draft>) {
        todo!()
    }
    /// A polled document changed: appends what is emitted for it, and keeps the document as the
    /// snapshot at the new head. The first document of a topic is appended as one snapshot entry
    /// (pass no drafts); later ones without drafts (`snapshot = true`) too.
    pub fn document(&self, document: Bytes, change: DocumentChange) {
        todo!()
    }
    /// Something is lost for good: takes one position.
    pub fn gap(&self, why: GapWhy) {
        todo!()
    }
    /// The topic follows its backend (again); also marks the time of the last success.
    pub fn live(&self) {
        todo!()
    }
    /// What clients hold may be stale.
    pub fn stale(&self, why: &'static str) {
        todo!()
    }
    /// Ends every subscription for good, after what was published; the topic leaves the hub.
    pub fn end(&self, end: End) {
        todo!()
    }
    /// A shared answer looked private: nothing is delivered, subscriptions end `internal`, an alarm metric.
    pub fn trip(&self, reason: &'static str) {
        todo!()
    }
    /// Resolves when `refresh_on` asks for a poll now (at once if it did since the last call).
    pub async fn refresh_asked(&self) {
        todo!()
    }
}

/// How a new document reaches subscribers.
pub enum DocumentChange {
    /// As these events.
    Events(Vec<Draft>),
    /// As one snapshot entry: the first document, or one that the emit form cannot express.
    Snapshot,
}
