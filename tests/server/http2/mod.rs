//! HTTP/2 on the public listeners, by prior knowledge.

mod abuse;
mod requests;
mod timeouts;
mod websocket;
