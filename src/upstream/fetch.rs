//! A document behind a URL that is no upstream's, such as a key set.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response, Uri};
use tokio::time::timeout;

use super::pool::Pool;
use super::pool::connect::Settings;
use super::pool::replayable_body::ReplayableBody;
use super::{Upstreams, address, coding};
use crate::config::Authority;
use crate::error::{Error, ErrorKind};
use crate::http::body::empty;
use crate::telemetry::Telemetry;

/// Its address, and the way there. Nothing is connected to before a caller wants it.
pub(crate) struct Outside {
    pool: Pool,
    server: Authority,
    uri: Uri,
}

impl Upstreams {
    /// The way to a URL that the configuration names; `name` is how logs and metrics call it.
    pub(crate) fn outside(&self, name: &str, uri: &Uri, telemetry: &Arc<Telemetry>) -> Outside {
        let is_https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        Outside {
            // It is asked seldom: a kept connection would be closed before it is of use again.
            pool: Pool::new(
                &Settings::outside(name, 0),
                self.resolver.clone(),
                telemetry.clone(),
            ),
            server: Authority {
                address: format!("{host}:{port}"),
                is_https,
            },
            uri: uri.clone(),
        }
    }
}

impl Outside {
    /// Asks for it once, over a connection of its own. A redirect is an answer like any other: it is not followed.
    ///
    /// # Errors
    /// Why there is no whole answer of at most `limit` bytes within `patience`, for a person.
    pub(crate) async fn get(
        &self,
        accept: &'static str,
        limit: usize,
        patience: Duration,
    ) -> Result<Response<Bytes>, String> {
        match timeout(patience, self.ask(accept, limit)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!(
                "no whole answer within {}",
                humantime::format_duration(patience)
            )),
        }
    }

    async fn ask(&self, accept: &'static str, limit: usize) -> Result<Response<Bytes>, String> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let host = match self.uri.port() {
            Some(_) => &self.server.address,
            None => self.server.host(),
        };
        let request = Request::get(path)
            .header(HOST, host)
            .header(ACCEPT, HeaderValue::from_static(accept))
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
            .header(USER_AGENT, HeaderValue::from_static("crossfade"))
            .body(empty())
            .map_err(|error| error.to_string())?;
        let (head, body) = request.into_parts();
        let lent = ReplayableBody::new(body);
        let request = address(&head, &self.server, lent.clone())
            .map_err(|error| error.detail.into_owned())?;
        let answer = self.pool.request(&self.server, request, &lent, None).await;
        let answer = answer.map_err(|error| error.detail.into_owned())?;
        let broken = |detail| Error::upstream(ErrorKind::Broken, detail);
        let answer = answer.map(|body| {
            let body = body.map_err(move |error| broken(error.to_string()));
            body.boxed_unsync()
        });
        let (head, body) = coding::decoded(answer, broken).into_parts();
        if let Some(coding) = head.headers.get(CONTENT_ENCODING) {
            return Err(format!(
                "the answer is encoded as {coding:?}, which cannot be read"
            ));
        }
        let body = Limited::new(body, limit).collect().await;
        let body = body.map_err(|error| match error.downcast::<Error>() {
            Ok(error) => format!("the answer broke off: {}", error.detail),
            Err(_) => format!("the answer is larger than {limit} bytes"),
        })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}
