//! The listener: accepts, keeps slow callers from filling it, hands each request to its function.

use std::convert::Infallible;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::callers::{Caller, Callers};
use super::endpoint::Call;
use super::linger::{Parting, Unread};
use super::request::Asked;
use super::response::{Answer, Fault, REQUEST_ID};
use super::router::Resource;
use super::{Admin, access};
use crate::server::listener::Listener;

/// Connections at once: people, a scraper, a probe. For one more, the one that waited longest for its caller is closed.
const CONNECTIONS: usize = 128;

/// From the first byte of a head to its last.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long accepting rests after the system refused it, and while every connection is being served.
const REST: Duration = Duration::from_millis(100);

/// Serves until the task is dropped. Once `stop` turns true nothing more is accepted, and the call returns when what was asked
/// is answered.
pub(crate) async fn serve(listener: Listener, admin: Arc<Admin>, stop: watch::Receiver<bool>) {
    let mut callers = Callers::new(CONNECTIONS);
    let mut conversations = JoinSet::new();
    let mut stopping = stop.clone();
    let stopped = async move {
        // An error means that the sender is gone: the same.
        let _ = stopping.wait_for(|stop| *stop).await;
    };
    tokio::pin!(stopped);
    loop {
        let accepted = tokio::select! {
            () = &mut stopped => break,
            Some(_) = conversations.join_next() => continue,
            accepted = accept(&listener) => accepted,
        };
        let Ok(stream) = accepted else {
            tokio::time::sleep(REST).await;
            continue;
        };
        while !callers.make_room() {
            tokio::time::sleep(REST).await;
        }
        let caller = Caller::new();
        let conversation = converse(stream, admin.clone(), caller.clone(), stop.clone());
        callers.add(caller, conversations.spawn(conversation));
    }
    drop(listener);
    while conversations.join_next().await.is_some() {}
}

async fn accept(listener: &Listener) -> io::Result<Box<dyn Stream>> {
    Ok(match listener {
        Listener::Tcp(listener) => Box::new(listener.accept().await?.0),
        Listener::Unix(listener) => Box::new(listener.accept().await?.0),
    })
}

/// A connection of whatever kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<Io: AsyncRead + AsyncWrite + Send + Unpin> Stream for Io {}

/// One connection's requests.
async fn converse(
    stream: Box<dyn Stream>,
    admin: Arc<Admin>,
    caller: Caller,
    mut stop: watch::Receiver<bool>,
) {
    let unread = Unread::default();
    let stream = Parting::new(stream, unread.clone());
    let service = service_fn(|request| {
        let (admin, caller, unread) = (admin.clone(), caller.clone(), unread.clone());
        async move { Ok::<_, Infallible>(respond(request, &admin, &caller, &unread).await) }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service);
    let connection = async {
        let stopped = async {
            // As where connections are accepted.
            let _ = stop.wait_for(|stop| *stop).await;
        };
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = stopped => {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                (&mut connection).await
            }
        };
        if ended.is_ok() {
            // After a request with `Upgrade` the engine leaves the connection's end to the service.
            let _ = connection.into_parts().io.into_inner().shutdown().await;
        }
    };
    // A caller that breaks off gets no answer. A bug of ours ends this connection only.
    if AssertUnwindSafe(connection).catch_unwind().await.is_err() {
        admin.shared.telemetry.life.panicked("admin");
    }
}

/// One request, and the id that its answer bears.
async fn respond(
    request: Request<Incoming>,
    admin: &Arc<Admin>,
    caller: &Caller,
    unread: &Unread,
) -> Answer {
    let id = format!("{:016x}", fastrand::u64(..));
    unread.set(!request.body().is_end_stream());
    let outcome = judge(request, admin, caller, unread).await;
    let mut answer = outcome.unwrap_or_else(|fault| fault.answer(&id));
    if let Ok(id) = HeaderValue::try_from(id) {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
    answer
}

/// The order of judgement.
async fn judge(
    request: Request<Incoming>,
    admin: &Arc<Admin>,
    caller: &Caller,
    unread: &Unread,
) -> Result<Answer, Fault> {
    let resource = Resource::find(request.uri().path());
    if !resource.as_ref().is_some_and(Resource::is_open) {
        let in_force = admin.shared.in_force.load();
        access::admit(request.headers(), &in_force.config.admin)?;
    }
    let resource = resource
        .ok_or_else(|| Fault::not_found("no such path; /v1/openapi.json lists what there is"))?;
    let endpoint = resource
        .endpoint(request.method())
        .ok_or_else(|| Fault::method(&resource.allowed()))?;
    let call = Call {
        asked: Asked::read(request).await?,
        admin: admin.clone(),
        name: resource.name,
    };
    unread.set(false);
    caller.serve(endpoint.answer(call)).await
}
