//! The request path: what is passed on, what becomes a WebSocket or a tunnel, and which transport a client gets.

mod forward;
mod known_transport;
mod legacy;
mod legacy_socketio;
mod loops;
mod transport_choice;
mod tunnel;
mod websocket;
