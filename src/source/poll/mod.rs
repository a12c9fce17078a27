//! A polled endpoint as a feed.

mod compare;
mod feed;
mod fetch;
pub mod pace;

pub use feed::PollFeed;
pub use fetch::{ACCEPTED, is_document};
