//! What reads upstream: an SSE stream or a polled endpoint, as a `hub::Feed`.

pub mod diff;
pub mod sse;
