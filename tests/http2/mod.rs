//! HTTP/2 on the public listeners, by prior knowledge.

mod abuse;
pub mod client;
mod clocks;
pub mod frames;
mod passing;
mod websocket;
