//! A polled endpoint as a feed.

mod compare;
mod feed;
mod fetch;
pub(crate) mod pace;

pub(crate) use feed::PollFeed;
pub(crate) use fetch::{ACCEPTED, is_document};
