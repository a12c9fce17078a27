//! What a request must look like before anything believes it. Pure.
//!
//! [`proxy_protocol`] reads what stands before a connection's first byte. [`parser`] judges the bytes below
//! the server engine, [`http2_frame_budget`] counts what HTTP/2 carries there and [`http2_normalize`] makes its requests
//! like all others, [`validate`] judges what the engine made of them, [`path`] which resource is
//! meant. What passes is rebuilt for the backend by [`hop_by_hop`], [`forwarded`], [`header_names`],
//! [`trailers`] and [`reserved_params`], its names in the letters that [`header_case`] has of them; [`cdn_loop`] detects a request that comes back. Everything refused in a request is a [`RequestViolation`].

pub mod body;
pub(crate) mod cdn_loop;
pub mod forwarded;
pub(crate) mod header_case;
pub mod header_names;
pub(crate) mod header_text;
pub mod hop_by_hop;
pub mod host;
pub mod http2_frame_budget;
pub(crate) mod http2_normalize;
pub mod parser;
pub mod path;
pub(crate) mod problem;
pub mod proxy_protocol;
pub(crate) mod request_id;
pub(crate) mod reserved_params;
pub(crate) mod trailers;
pub(crate) mod validate;
mod violation;

pub use violation::RequestViolation;
