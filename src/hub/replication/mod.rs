//! One topic in two processes: the one that leads it publishes and exports what it has, the other follows and imports that. A
//! binary upgrade is the one use of it.
//!
//! [`ReplicationMessage`] is what a leader sends of a topic. [`Export`] reads messages out of a topic, a [`Follower`] applies them to one. A topic's
//! role (`hub::role`) may change either way: a follower whose leader has released the topic, or is gone, owns it and goes on from a
//! checkpoint.

mod export;
mod import;
pub(super) mod message;
mod record;

pub(crate) use export::{Export, Exports, Refresher};
pub(crate) use import::Follower;
pub(crate) use message::ReplicationMessage;
pub(crate) use record::TopicRecord;
