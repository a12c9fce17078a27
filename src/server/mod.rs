//! Bytes to requests: the listeners, TLS, HTTP/1 and HTTP/2 of the public side. It knows nothing of the proxy, whose
//! `handler` answers. The only folder that names the server engine.

mod accept;
pub(crate) mod client_connection;
mod connection;
mod detect_http;
mod dropped;
mod fd_reserve;
pub(crate) mod handler;
pub(crate) mod http1;
pub(crate) mod http1_state;
pub(crate) mod http2;
mod lazy_timer;
pub(crate) mod linger;
pub(crate) mod listener;
mod proxy_header;
pub(crate) mod read_timeout;
mod reject;
pub(crate) mod request_body;
mod socket;
mod tls;
pub(crate) mod upgrade;
mod write_timeout;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::server::listener::Listener;
use crate::session::Services;
use accept::{accept, prepare};
use fd_reserve::Reserve;
use handler::Handler;

/// How long accepting rests after the system refused to give a connection.
const REST: Duration = Duration::from_millis(100);

/// Serves one public address. Once `shut` turns true nothing more is accepted and the listener is closed; once `stop` does,
/// unused connections end, and the call returns when every HTTP exchange under way is over; sessions are tasks of their own by
/// then. Dropping it cuts what is left.
pub(crate) async fn serve(
    listener: Listener,
    handler: impl Handler,
    shared: Arc<Services>,
    mut shut: watch::Receiver<bool>,
    stop: watch::Receiver<bool>,
) {
    prepare(&listener);
    let mut connections = JoinSet::new();
    let mut reserve = Reserve::new();
    let is_shut = async move {
        // An error means that the listener is gone: the same.
        let _ = shut.wait_for(|shut| *shut).await;
    };
    tokio::pin!(is_shut);
    loop {
        tokio::select! {
            () = &mut is_shut => break,
            Some(ended) = connections.join_next() => note(&shared, ended),
            accepted = accept(&listener) => match accepted {
                Ok((line, address)) => {
                    connections.spawn(connection::carry(line, address, shared.clone(), handler, stop.clone()));
                }
                // The client was gone before we came.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    let turned_away = match fd_reserve::is_exhaustion(&error) {
                        true => reserve.turn_away(&listener, &shared).await,
                        false => 0,
                    };
                    shared.telemetry.downstream.accept_failed(&error, turned_away);
                    tokio::time::sleep(REST).await;
                }
            },
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        note(&shared, ended);
    }
}

fn note(shared: &Services, ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        shared.telemetry.life.panicked("connection");
    }
}
