//! HTTP/2 on the public listeners, by prior knowledge.

mod client;
mod frames;
mod passing;
