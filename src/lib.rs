//! crossfade is a reverse-proxy sidecar. It terminates WebSocket in front of a backend that only
//! knows Server-Sent Events and polled endpoints, reads each of those once for everybody who may
//! share it, and passes everything else through untouched.
//!
//! The rooms, from the road's beginning to its end (ARCHITECTURE.md tells the whole story):
//!
//! - [`server`] makes requests of bytes, [`proxy`] is their path; [`upstream`] is the way to the backend.
//! - [`router`], [`policy`], [`rollout`] decide; they are pure.
//! - [`source`] reads a stream or polls a document; [`hub`] keeps what it read and who listens;
//!   [`session`] is one realtime client; [`protocol`] is what its messages mean, [`transport`] how they move.
//! - [`config`] is what an operator wrote, validated; [`app`] puts the house together and
//!   [`reload`] replaces what may be replaced while it runs; [`admin`] is the other listener;
//!   [`storage`] keeps files whole, [`memory`] tells what the system grants.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod error;
pub mod event;
pub mod handover;
pub mod http;
pub mod hub;
pub mod json;
pub mod memory;
pub mod packet;
pub mod policy;
pub mod protocol;
pub mod proxy;
pub mod reload;
pub mod rollout;
pub mod router;
pub mod server;
pub mod session;
pub mod source;
pub mod storage;
pub mod telemetry;
pub mod transport;
pub mod upstream;
