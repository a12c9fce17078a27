//! How bytes move between a client and its session.

mod websocket;
