//! One stream: its request goes down the request path, its answer comes back.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::FutureExt;
use h2::RecvStream;
use h2::ext::Protocol;
use h2::server::SendResponse;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, DATE, EXPECT, HeaderMap, HeaderName, HeaderValue,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use super::super::client_connection::Connection;
use super::super::handler::Handler;
use super::super::request_body::RequestBody;
use super::conn_state::Http2State;
use super::request_body::{Answered, Upload};
use super::response_body;
use super::websocket_stream::{Duplex, Promised};
use crate::config::Limits;
use crate::http::body::Body;
use crate::http::{http2_normalize, parser};

/// Fields that say something about a connection of HTTP/1 (RFC 9113, section 8.2.2).
const OF_THE_CONNECTION: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// What all streams of a connection share.
pub(crate) struct Common {
    /// The connection, as every exchange on it sees it.
    pub(crate) connection: Arc<Connection>,
    limits: Limits,
    board: Arc<Http2State>,
}

impl Common {
    pub(crate) fn new(
        connection: Arc<Connection>,
        limits: &Limits,
        board: Arc<Http2State>,
    ) -> Self {
        Common {
            connection,
            limits: limits.clone(),
            board,
        }
    }
}

/// Carries one stream to its end. Dropping what is left of it resets it: `CANCEL`, or, behind a
/// whole answer, `NO_ERROR`.
pub(crate) async fn carry(
    common: Arc<Common>,
    handler: impl Handler,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let (mut head, from) = request.into_parts();
    let is_head = head.method == Method::HEAD;
    let mut waits = Waits::default();
    let body = arriving(&common, &mut head, from, &mut waits);
    let request = Request::from_parts(head, body);
    // A box: what answers a request is large, and gone while its answer may flow for hours.
    let answer = Box::pin(handler.handle(common.connection.clone(), request));
    let Some(response) = answered(answer, &mut respond, &mut waits).await else {
        return;
    };
    let (mut head, body) = response.into_parts();
    let granted = waits
        .duplex
        .filter(|_| head.status == StatusCode::SWITCHING_PROTOCOLS);
    if granted.is_some() {
        head.status = StatusCode::OK;
        head.headers.remove(SEC_WEBSOCKET_ACCEPT);
    }
    finish(&mut head.headers, &body);
    let is_whole = granted.is_none() && (is_head || body.is_end_stream());
    // An error means that the client has left; the account says so when the body is dropped.
    if let Some(answered) = &waits.answered {
        answered.note();
    }
    let Ok(to) = respond.send_response(Response::from_parts(head, ()), is_whole) else {
        return;
    };
    match granted {
        Some((deliver, from)) => {
            // An error means that the receiver is gone; the stream is dropped, and so reset.
            let _ = deliver.send(Duplex::new(to, from));
        }
        None if is_whole => {}
        None => {
            // The access log records how it ended.
            let rate = common.limits.body_min_rate;
            let _ = response_body::send(to, body, rate, waits.answered).await;
        }
    }
}

/// What a stream waits for beside its answer.
#[derive(Default)]
struct Waits {
    /// Where the stream goes when its handshake is granted.
    duplex: Option<(oneshot::Sender<Duplex>, RecvStream)>,
    /// Fires when the body is read, for a client that waits with `Expect: 100-continue`.
    wanted: Option<oneshot::Receiver<()>>,
    /// Tells a body that is still coming how its answer goes.
    answered: Option<Answered>,
}

/// Makes the head one that the request path knows. A rule that it broke is marked on it.
fn arriving(common: &Common, head: &mut Parts, from: RecvStream, waits: &mut Waits) -> RequestBody {
    let protocol = head.extensions.remove::<Protocol>();
    let protocol = protocol.as_ref().map(Protocol::as_str);
    let limits = parser::HeadLimits {
        bytes: common.limits.header_bytes,
        fields: common.limits.headers,
    };
    match http2_normalize::translate(head, protocol, limits) {
        Err(fault) => {
            head.extensions.insert(fault);
            RequestBody::Nothing
        }
        Ok(true) => {
            let (deliver, promised) = Promised::new();
            head.extensions.insert(promised);
            become_handshake(head);
            waits.duplex = Some((deliver, from));
            RequestBody::Nothing
        }
        Ok(false) if from.is_end_stream() => RequestBody::Nothing,
        Ok(false) => {
            let asks = head.headers.contains_key(EXPECT);
            let (want, wanted) = asks.then(oneshot::channel).unzip();
            waits.wanted = wanted;
            let length = head.headers.get(CONTENT_LENGTH);
            let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
            let board = common.board.clone();
            let connections = common.connection.shared.connections.clone();
            let answered = waits.answered.insert(Answered::default()).clone();
            let upload = Upload::new(
                from,
                length,
                &common.limits,
                board,
                answered,
                want,
                connections,
            );
            RequestBody::Http2(upload.boxed_unsync())
        }
    }
}

/// From here on it is a handshake as any other, with a key of our own (RFC 8441, section 5).
fn become_handshake(head: &mut Parts) {
    head.method = Method::GET;
    let websocket = HeaderValue::from_static("websocket");
    head.headers.insert(UPGRADE, websocket);
    let upgrade = HeaderValue::from_static("Upgrade");
    head.headers.insert(CONNECTION, upgrade);
    // Base64 is always a field value.
    if let Ok(key) = HeaderValue::try_from(generate_key()) {
        head.headers.insert(SEC_WEBSOCKET_KEY, key);
    }
}

/// Waits for the answer; `None` where the client has reset the stream, or is gone.
async fn answered(
    mut answer: Pin<Box<impl Future<Output = Response<Body>>>>,
    respond: &mut SendResponse<Bytes>,
    waits: &mut Waits,
) -> Option<Response<Body>> {
    poll_fn(move |cx| {
        if let Poll::Ready(response) = answer.as_mut().poll(cx) {
            return Poll::Ready(Some(response));
        }
        if let Some(wanted) = &mut waits.wanted
            && let Poll::Ready(asked) = wanted.poll_unpin(cx)
        {
            waits.wanted = None;
            if asked.is_ok() {
                let mut go_on = Response::new(());
                *go_on.status_mut() = StatusCode::CONTINUE;
                // A client that has left is noticed below.
                let _ = respond.send_informational(go_on);
            }
        }
        respond.poll_reset(cx).map(|_| None)
    })
    .await
}

/// Fields as HTTP/2 has them.
fn finish(headers: &mut HeaderMap, body: &Body) {
    for name in &OF_THE_CONNECTION {
        headers.remove(name);
    }
    let length = body.size_hint().exact().filter(|length| *length > 0);
    if let Some(length) = length {
        headers
            .entry(CONTENT_LENGTH)
            .or_insert_with(|| length.into());
    }
    headers.entry(DATE).or_insert_with(|| {
        let now = httpdate::fmt_http_date(std::time::SystemTime::now());
        HeaderValue::try_from(now).unwrap_or(HeaderValue::from_static(""))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::handler::ProxyHandler;

    fn room<A, B, C, D, F>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_stream_that_is_open_for_long_takes_little_room() {
        let carried = room(|common, handler: ProxyHandler, request, respond| {
            carry(common, handler, request, respond)
        });
        assert!(carried <= 1280, "{carried} bytes");
    }
}
