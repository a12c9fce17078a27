//! The bridge over real sockets: streams and documents to WebSocket clients, and what they survive.

mod asking;
mod bombs;
mod bursts;
mod ended;
mod filters;
mod following;
mod identity;
mod idle;
mod joining;
mod patches;
mod pauses;
mod slow;
mod world;
