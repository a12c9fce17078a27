//! `/metrics` on an address of its own.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::api::health;
use super::callers::{Caller, Callers};
use super::response::{Answer, Fault};
use super::typed::Reply;
use crate::server::listener;
use crate::session::Services;

/// Scrapers at once. For one more, the one that waited longest for its next request is let go.
const SCRAPERS: usize = 32;

/// From a connection's beginning to its first head, and from one head to the next.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long accepting rests after the system refused it.
const REST: Duration = Duration::from_millis(100);

/// The address while it is served; dropping it closes it.
#[derive(Debug)]
pub(crate) struct Scrape {
    task: AbortHandle,
}

impl Scrape {
    /// Binds the address and serves it. It may be bound by another process too, which is about to leave.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn open(address: SocketAddr, shared: &Arc<Services>) -> io::Result<Scrape> {
        let listener = listener::bind_shared(address)?;
        shared.telemetry.life.metrics_served(listener.local_addr()?);
        let task = tokio::spawn(serve(listener, shared.clone()));
        Ok(Scrape {
            task: task.abort_handle(),
        })
    }
}

impl Drop for Scrape {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Services>) {
    let mut callers = Callers::new(SCRAPERS);
    let mut scrapers = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            Some(_) = scrapers.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            // An answer is made at once, so there is always one that waits.
            Ok((stream, _)) if callers.make_room() => {
                let caller = Caller::new();
                let conversation = converse(stream, shared.clone(), caller.clone());
                callers.add(caller, scrapers.spawn(conversation));
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(REST).await,
        }
    }
}

async fn converse(stream: TcpStream, shared: Arc<Services>, caller: Caller) {
    let service = service_fn(|request| {
        let (shared, caller) = (shared.clone(), caller.clone());
        async move {
            let answer = async { answer(&request, &shared) };
            Ok::<_, Infallible>(caller.serve(answer).await)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service);
    // A scraper that breaks off has its reasons.
    let _ = connection.await;
}

fn answer(request: &Request<Incoming>, shared: &Services) -> Answer {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match request.uri().path() {
        "/metrics" if is_read => health::exposition(shared).answer(),
        _ => Fault::not_found("only GET /metrics is here").answer("-"),
    }
}
