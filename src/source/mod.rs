//! What reads upstream: an SSE stream or a polled endpoint, as a `hub::Feed`.

mod answer;
pub mod diff;
pub mod poll;
mod request;
pub mod sse;
