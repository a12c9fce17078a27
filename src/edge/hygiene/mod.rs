//! What a request must look like before anything believes it. Pure.
//!
//! [`proxy`] reads what stands before a connection's first byte. [`scan`] judges the bytes below
//! the server engine, [`frames`] counts what HTTP/2 carries there and [`http2`] makes its requests
//! like all others, [`request`] judges what the engine made of them, [`path`] which resource is
//! meant. What passes is made anew for the backend by [`hop`], [`forwarded`], [`names`],
//! [`trailers`] and [`own`], its names in the letters that [`spelling`] has of them; by [`rounds`] one that comes back is known. Everything refused in a request is a [`Fault`].

mod fault;
pub mod forwarded;
pub mod frames;
pub mod hop;
pub mod host;
pub mod http2;
pub mod names;
pub mod own;
pub mod path;
pub mod proxy;
pub mod request;
pub mod rounds;
pub mod scan;
pub mod spelling;
pub mod text;
pub mod trailers;

pub use fault::Fault;
