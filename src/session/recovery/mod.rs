//! Connection state recovery of Socket.IO: a client whose connection is cut comes back to its subscriptions, and misses nothing.
//!
//! While a session runs, its [`Record`] says what its client is subscribed to and in which order events were sent. The record stays
//! for a while when the session has ended. A client that comes back names its secret id and the position of its last event; the new
//! session subscribes to the same, each behind what the client has.

mod coming_back;
mod record;
mod registry;
mod secret_id;
mod trail;

pub(super) use coming_back::{ComingBack, Missed, Offer};
pub(super) use record::{AskingEvent, Record, RecordedSubscription};
pub(super) use registry::Recoverable;
pub(crate) use registry::{LeftSession, Recoveries};
pub(super) use secret_id::SecretId;
pub(super) use trail::Trail;
