//! What reads upstream: an SSE stream or a polled endpoint, as a `hub::Feed`.
