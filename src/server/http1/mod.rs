//! HTTP/1.x over one connection.

mod exchange;
pub(crate) mod guard;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::FutureExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

use super::client_connection::Connection;
use super::handler::Handler;
use super::request_body::RequestBody;
use crate::config::Limits;
use crate::server::http1_state::Http1State;
use exchange::{Exchange, stays_open};
use guard::{Http1Guard, REFUSED_METHOD};

/// Serves a connection until it ends, is upgraded, or `stop` lets it finish what is under way.
///
/// No `async fn`, which would reserve memory for the wire beside the engine that has it. A session takes the memory that its
/// connection frees: where that is the larger of the two, it stays in pieces too small for the next connection.
pub(crate) fn serve<H: Handler>(
    wire: Http1Guard,
    traffic: Http1State,
    connection: Arc<Connection>,
    limits: &Limits,
    handler: H,
    mut stop: watch::Receiver<bool>,
) -> impl Future<Output = ()> + use<H> {
    let board = Board(traffic.clone());
    let exchange = Exchange::none();
    let under_way = exchange.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        if !under_way.has_answer() {
            traffic.set_polling(false);
            let stays_open = stays_open(&request);
            let request = arriving(request, &traffic);
            under_way.begin(stays_open, handler.handle(connection.clone(), request));
        }
        let (under_way, traffic) = (under_way.clone(), traffic.clone());
        poll_fn(move |cx| under_way.poll(cx)).map(move |answer| {
            traffic.answer(&answer);
            Ok::<_, Infallible>(answer)
        })
    });
    // Boxed, as only the connection of a client that polls uses it again.
    let engine = Box::new(engine(limits));
    let mut serving = engine.serve_connection(TokioIo::new(wire), service);
    async move {
        // Exchanges record how they end; what is left here is a client that went away.
        let served = loop {
            let served = poll_fn(|cx| {
                let served = Pin::new(&mut serving).poll(cx);
                let leaves = || {
                    board.0.may_leave_engine()
                        && (exchange.is_awaited() || exchange.is_over() && !board.0.is_busy())
                };
                match served {
                    Poll::Pending if leaves() => Poll::Ready(None),
                    served => served.map(Some),
                }
            });
            let stopped = async {
                // An error means that the listener is gone: the same.
                let _ = stop.wait_for(|stop| *stop).await;
            };
            tokio::select! {
                // A request that the wire repeats is read first: an engine that has read none would close at once.
                biased;
                served = served => {
                    if let Some(served) = served {
                        break served;
                    }
                }
                () = stopped => {
                    board.0.leave();
                    Pin::new(&mut serving).graceful_shutdown();
                    break (&mut serving).await;
                }
            }
            // The engine's buffers go: the wire delivers nothing behind a request, so they are empty.
            let http1::Parts { io, service, .. } = serving.into_parts();
            let waiting = exchange.wait(io.into_inner(), &mut stop);
            // Boxed: it takes memory only while it lasts.
            let Some(wire) = Box::pin(waiting).await else {
                return;
            };
            serving = engine.serve_connection(TokioIo::new(wire), service);
        };
        // A handshake whose answer was not sent drops its successor too.
        let heir = board.0.take_heir();
        if served.is_err() {
            return;
        }
        let parts = serving.into_parts();
        let wire = parts.io.into_inner();
        let Some(heir) = heir else {
            // After a request with `Upgrade` the engine leaves the connection's end to the service. Boxed: no connection
            // reserves memory for it.
            let _ = Box::new(wire).shutdown().await;
            return;
        };
        let (stream, held) = wire.into_parts();
        // The wire delivers nothing behind a handshake, so the engine's own buffer is empty.
        heir(stream, [parts.read_buf, held].concat().into());
    }
}

/// The state of a connection that is served. Where serving is cut short, or panics, the successor is dropped too: it may wait
/// in a task that keeps the state itself.
struct Board(Http1State);

impl Drop for Board {
    fn drop(&mut self) {
        drop(self.0.take_heir());
    }
}

/// The request as the request path takes it. What stands for a refused head is marked with the reason.
fn arriving(request: Request<Incoming>, traffic: &Http1State) -> Request<RequestBody> {
    let mut request = request.map(|body| RequestBody::http1(body, traffic));
    if request.method().as_str() == REFUSED_METHOD
        && let Some(fault) = traffic.fault()
    {
        request.extensions_mut().insert(fault);
    }
    if let Some(spelling) = traffic.came() {
        request.extensions_mut().insert(spelling);
    }
    request
}

/// Everything about a head, and all time, is the wire's to judge; the engine's own limits lie beyond.
fn engine(limits: &Limits) -> http1::Builder {
    const ENGINE_FIELDS: usize = 100;
    /// How far the engine reads, and writes, ahead of the slower side.
    const ENGINE_BUFFER: usize = 128 * 1024;
    let mut engine = http1::Builder::new();
    engine
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .title_case_headers(true)
        .max_buf_size(ENGINE_BUFFER.max(limits.header_bytes * 2));
    if limits.headers > ENGINE_FIELDS {
        engine.max_headers(limits.headers);
    }
    engine
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn a_connection_that_is_cut_short_lets_its_heir_go() {
        for panics in [false, true] {
            let traffic = Http1State::default();
            let (held, mut lost) = oneshot::channel::<()>();
            traffic.leave_to(Box::new(move |_, _| drop(held)));
            let board = Board(traffic.clone());
            assert_eq!(lost.try_recv(), Err(oneshot::error::TryRecvError::Empty));
            let ended = catch_unwind(AssertUnwindSafe(move || {
                let _board = board;
                if panics {
                    resume_unwind(Box::new(()));
                }
            }));
            assert_eq!(ended.is_err(), panics);
            // The tunnel that waits for it keeps the traffic's state itself.
            assert_eq!(lost.try_recv(), Err(oneshot::error::TryRecvError::Closed));
            drop(traffic);
        }
    }
}
