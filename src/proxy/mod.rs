//! The request path, between the server below it and the backend: which order a request is judged in (`handler`), what it
//! is for (`target`), which policies it has to pass (`enforce`), and what becomes of it then: `forward`, `tunnel`,
//! `websocket`, or an answer of crossfade's own (`endpoints`, `error_response`).

mod context;
mod copy;
mod endpoints;
mod enforce;
mod error_response;
mod expiry;
pub(crate) mod explain;
mod forward;
pub(crate) mod handler;
mod handshake;
mod limits;
mod redirect;
mod request_record;
mod socketio;
mod subprotocol;
mod target;
mod transport_choice;
mod tunnel;
mod websocket;
