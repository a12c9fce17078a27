//! One realtime client: slow readers, filters, drains and the end.

mod filters;
mod live;
mod recovery;
mod slow;
mod socketio;
