//! One realtime client: slow readers, filters, drains and the end.

mod filters;
mod live;
mod long_polls;
mod recovery;
mod slow;
mod socketio;
