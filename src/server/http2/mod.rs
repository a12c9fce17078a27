//! HTTP/2 over one connection: every stream is a request of its own on the same request path.
//!
//! hyper serves HTTP/1 here and stands on `h2` for HTTP/2. We stand on `h2` directly: a stream's
//! windows, its resets and its end are seen there, and so can be timed.

mod conn_state;
mod guard;
mod request_body;
mod response_body;
mod stream;
mod websocket_stream;

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use hyper::Request;
use tokio::sync::watch;
use tokio::time::Instant;

use super::client_connection::Connection;
use super::handler::Handler;
use super::lazy_timer::Clock;
use super::read_timeout::KEEP_ALIVE;
use super::socket::MaybeTls;
use crate::config::Limits;
use crate::http::http2_frame_budget::FrameAbuse;
use conn_state::Http2State;
use guard::Http2Guard;
use stream::Common;
pub(crate) use websocket_stream::{Duplex, Promised};

/// Streams at once.
const STREAMS: u32 = 100;
/// What a client may send before it is read: on one stream, and on all.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What one stream may have waiting for a connection that does not take it.
const SEND_BUFFER: usize = 64 * 1024;
/// How long a connection without streams is kept after its `GOAWAY`, for requests that were on their way then.
const LAST_REQUESTS: Duration = Duration::from_secs(1);
/// How long the last frames to a client that is cut off may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves a connection of which `ahead` was read, until it ends or `stop` lets it finish what is
/// under way; WebSockets on its streams are under way.
pub(crate) async fn serve(
    stream: MaybeTls,
    ahead: Bytes,
    connection: Arc<Connection>,
    limits: &Limits,
    handler: impl Handler,
    mut stop: watch::Receiver<bool>,
) {
    let board = Arc::new(Http2State::default());
    let seam = Http2Guard::new(stream, ahead, limits, board.clone());
    let handshake = engine(limits).handshake(seam);
    let Ok(Ok(engine)) = tokio::time::timeout(limits.header_timeout, handshake).await else {
        return;
    };
    let mut driver = Driver {
        engine,
        board: board.clone(),
        connection: connection.clone(),
        used: Instant::now(),
        was_busy: false,
        is_leaving: false,
        clock: Clock::default(),
    };
    let common = Arc::new(Common::new(connection, limits, board));
    let stopped = async {
        // An error means that the listener is gone: the same.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    tokio::pin!(stopped);
    loop {
        let event = tokio::select! {
            event = poll_fn(|cx| driver.poll(cx)) => event,
            () = &mut stopped, if !driver.is_leaving => Event::Leave,
        };
        match event {
            Event::Request(request, respond) => answer(common.clone(), handler, request, respond),
            Event::Leave => driver.leave(),
            Event::Abuse(abuse) => return driver.cut(abuse).await,
            Event::Over => return,
        }
    }
}

/// A task of its own for each stream: a panic in one ends no other.
fn answer(
    common: Arc<Common>,
    handler: impl Handler,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let telemetry = common.connection.shared.telemetry.clone();
    let carried = AssertUnwindSafe(stream::carry(common, handler, request, respond)).catch_unwind();
    tokio::spawn(carried.map(move |outcome| {
        if outcome.is_err() {
            telemetry.life.panicked("stream");
        }
    }));
}

fn engine(limits: &Limits) -> Builder {
    let mut engine = Builder::new();
    // A head that is too large is refused by the request path, up to twice the limit; beyond, by the engine.
    let list = limits.header_bytes.saturating_mul(2);
    engine
        .max_concurrent_streams(STREAMS)
        // A browser that leaves a page gives up all its streams at once, perhaps before we saw them.
        .max_pending_accept_reset_streams(STREAMS as usize)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX))
        .enable_connect_protocol();
    engine
}

/// What happens on a connection.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, on the stack, moved on at once"
)]
enum Event {
    Request(Request<RecvStream>, SendResponse<Bytes>),
    /// It is to end.
    Leave,
    Abuse(FrameAbuse),
    Over,
}

struct Driver {
    engine: h2::server::Connection<Http2Guard, Bytes>,
    board: Arc<Http2State>,
    connection: Arc<Connection>,
    /// The last sign of a stream.
    used: Instant,
    was_busy: bool,
    is_leaving: bool,
    clock: Clock,
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let accepted = self.engine.poll_accept(cx);
        for _ in 0..self.board.take_malformed() {
            let telemetry = &self.connection.shared.telemetry;
            telemetry
                .downstream
                .stream_malformed(self.connection.remote.address);
        }
        if let Some(abuse) = self.board.abuse() {
            return Poll::Ready(Event::Abuse(abuse));
        }
        match accepted {
            Poll::Ready(Some(Ok((request, respond)))) => {
                return Poll::Ready(Event::Request(request, respond));
            }
            Poll::Ready(Some(Err(error))) => {
                self.note(&error);
                return Poll::Ready(Event::Over);
            }
            Poll::Ready(None) => return Poll::Ready(Event::Over),
            Poll::Pending => {}
        }
        let is_busy = self.engine.has_streams();
        if std::mem::replace(&mut self.was_busy, is_busy) || is_busy {
            self.used = Instant::now();
        }
        if is_busy {
            return Poll::Pending;
        }
        let (patience, event) = match self.is_leaving {
            false => (KEEP_ALIVE, Event::Leave),
            true => (LAST_REQUESTS, Event::Over),
        };
        ready!(self.clock.poll_until(self.used + patience, cx));
        Poll::Ready(event)
    }

    /// No new streams; those that are open go on.
    fn leave(&mut self) {
        self.is_leaving = true;
        self.board.leave();
        self.used = Instant::now();
        self.engine.graceful_shutdown();
    }

    /// The engine has ended the connection: for what it bounds itself, or a broken rule.
    fn note(&self, error: &h2::Error) {
        match error.reason() {
            Some(Reason::ENHANCE_YOUR_CALM) if error.is_library() => self.refused("h2_flood"),
            Some(_) if error.is_library() => self.refused("h2_protocol"),
            _ => {}
        }
    }

    fn refused(&self, reason: &str) {
        let telemetry = &self.connection.shared.telemetry;
        telemetry
            .downstream
            .connection_refused(reason, self.connection.remote.address);
    }

    /// Sends the reason where the client still reads, and closes.
    async fn cut(&mut self, abuse: FrameAbuse) {
        self.refused(abuse.reason());
        self.engine.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        let farewell = poll_fn(|cx| self.engine.poll_closed(cx));
        // A client that does not read is not waited for.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}
