//! HTTP/2 on the public listeners, by prior knowledge.

mod abuse;
mod client;
mod frames;
mod passing;
mod websocket;
