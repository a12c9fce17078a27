//! HTTP/2 on the public listeners, by prior knowledge.

mod abuse;
mod clocks;
mod passing;
mod websocket;
