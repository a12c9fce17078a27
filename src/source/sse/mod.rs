//! A Server-Sent-Events stream as a feed.

mod backoff;
pub mod decode;
mod feed;
mod recent;
mod resume;

pub(crate) use feed::SseFeed;
