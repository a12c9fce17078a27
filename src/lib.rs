//! crossfade is a reverse-proxy sidecar. It terminates WebSocket in front of a backend that only
//! knows Server-Sent Events and polled endpoints, reads each of those once for all clients that may
//! share it, and passes everything else through untouched.
//!
//! The folders, in the order in which a request meets them (ARCHITECTURE.md has the whole picture):
//!
//! - [`server`] makes requests of bytes; [`proxy`] is the request path; [`http`] is the grammar that both sides speak.
//! - [`router`], [`policy`] and [`rollout`] decide which route, whether at all, and over which transport.
//! - [`session`] is one realtime client: [`protocol`] is what its messages mean, [`transport`] how they move.
//! - [`hub`] keeps the topics and their subscribers; [`source`] reads a stream or polls a document for a topic.
//! - [`upstream`] is the way to the backend.
//! - [`config`] is the validated file; [`app`] starts, reloads, upgrades and stops the process; [`admin`] is the other
//!   listener; [`cli`] has the commands; [`telemetry`] the log and the metrics; [`storage`] keeps files whole.
#![forbid(unsafe_code)]
// `pub` is what the binary, the tests, the examples and the fuzz targets use; all else is `pub(crate)`.
#![warn(missing_docs, unreachable_pub)]
// The documentation is for those who work here, and made with private items.
#![allow(rustdoc::private_intra_doc_links)]

pub mod admin;
pub mod app;
mod bindings;
pub mod cli;
pub mod config;
pub mod error;
pub mod event;
pub mod http;
pub mod hub;
mod json;
mod memory;
pub mod packet;
pub mod policy;
pub mod protocol;
mod proxy;
pub mod rollout;
pub mod router;
mod server;
mod session;
pub mod source;
mod storage;
pub mod telemetry;
pub mod transport;
pub mod upstream;
