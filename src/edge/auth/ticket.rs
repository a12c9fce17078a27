//! Tickets: one handshake each, within thirty seconds.
