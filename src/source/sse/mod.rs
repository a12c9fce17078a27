//! A Server-Sent-Events stream as a feed.

pub mod decode;
