//! A Server-Sent-Events stream as a feed.

mod backoff;
pub mod decode;
mod recent;
