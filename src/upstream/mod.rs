//! The way to the backend; the only room that names the client engine.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::{Request, Response};

use crate::config;
use crate::error::Error;
use crate::telemetry::Telemetry;

/// Any body on its way through.
pub type Body = UnsyncBoxBody<Bytes, Error>;

/// For what a request goes upstream (metric label `kind`, and which timeouts hold).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A client's own request.
    Passthrough,
    /// A poll.
    Poll,
    /// An SSE stream: no response timeout.
    Sse,
    /// A `req`.
    Call,
}

/// All pools; kept across reloads where an upstream did not change. Cheap to clone.
#[derive(Clone)]
pub struct Upstreams {}

impl Upstreams {
    /// No pools yet.
    pub fn new(telemetry: Arc<Telemetry>) -> Self {
        todo!()
    }

    /// Sends one request to a server of `upstream`. The URI is path and query only; `Host` is set already or, with a fixed
    /// `host`, overwritten here. Framing headers are written anew. Counts `upstream_requests_total{route,…}`.
    ///
    /// # Errors
    /// `Connect`: nothing was sent. `Timeout`: sent, and no first byte in time. `Broken`: the answer was none.
    pub async fn send(
        &self,
        upstream: &config::Upstream,
        route: &str,
        purpose: Purpose,
        request: Request<Body>,
    ) -> Result<Response<Body>, Error> {
        todo!()
    }
}
