//! RFC 6455 server frames, finished.
