//! HTTP/2 on the public listeners, by prior knowledge.

mod abuse;
mod client;
mod clocks;
mod frames;
mod passing;
mod websocket;
