//! Origins of requests, preflights and handshakes.

mod handshakes;
mod modes;
mod policies;
mod preflight;
mod requests;
