//! What answers requests. The server knows nothing more of it.

use std::sync::Arc;

use hyper::{Request, Response};

use super::client_connection::Connection;
use super::request_body::RequestBody;
use crate::http::body::Body;

/// Answers one request after the other.
pub(crate) trait Handler: Copy + Send + Sync + 'static {
    /// Answers one.
    fn handle(
        self,
        connection: Arc<Connection>,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Response<Body>> + Send;
}
