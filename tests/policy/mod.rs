//! Origins, identity, requirements and limits. What is refused reaches no backend.

mod auth;
mod connection_limits;
mod cors;
mod http2;
mod rate_limit;
mod reload;
pub mod world;

pub use auth::SPELLINGS;
