//! How much a client may ask for, and how it is told that this was too much.

mod handshakes;
mod messages;
mod requests;
