//! A polled endpoint as a feed.

pub mod pace;
