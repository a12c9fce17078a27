//! HTTP/1.x over one connection.

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::FutureExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;

use super::body::Arriving;
use super::dispatch::dispatch;
use super::exchange::Connection;
use super::wire::{REFUSED_METHOD, Traffic, Wire};
use crate::config::Limits;

/// Serves a connection until it ends, is upgraded, or `stop` lets it finish what is under way.
pub async fn serve(
    wire: Wire,
    traffic: Traffic,
    connection: Arc<Connection>,
    limits: &Limits,
    mut stop: watch::Receiver<bool>,
) {
    let leaving = traffic.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let request = arriving(request, &traffic);
        let traffic = traffic.clone();
        // The engine keeps room for this future as long as the connection lives: a box is small.
        let answer = Box::pin(dispatch(connection.clone(), request));
        answer.map(move |answer| {
            traffic.answer(&answer);
            Ok::<_, Infallible>(answer)
        })
    });
    let serving = engine(limits)
        .serve_connection(TokioIo::new(wire), service)
        .with_upgrades();
    tokio::pin!(serving);
    let stopped = async {
        // An error means that whoever could stop us is gone: the same.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    // How a connection ends is the exchanges' to tell; what is left here is a client that went away.
    tokio::select! {
        _ = serving.as_mut() => {}
        () = stopped => {
            leaving.leave();
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
}

/// The request as the road takes it. What stands for a refused head is marked with the reason.
fn arriving(request: Request<Incoming>, traffic: &Traffic) -> Request<Arriving> {
    let mut request = request.map(|body| Arriving::http1(body, traffic));
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
