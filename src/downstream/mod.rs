//! The public listeners: accept, route, judge, answer. The only room that names the server engine.

mod accept;
mod account;
mod arrival;
mod body;
mod client_connection;
mod clock;
mod cohort;
mod connection;
mod destination;
mod dispatch;
mod edge;
mod endpoints;
mod entrant;
mod exchange;
mod expiry;
pub(crate) mod explain;
mod farewell;
mod handshake;
mod http1;
mod http2;
mod limits;
mod line;
pub(crate) mod linger;
mod offer;
mod one_way;
mod passthrough;
mod patience;
mod preface;
mod redirect;
mod request_id;
mod reserve;
mod respond;
mod service;
mod stream;
mod taking;
mod tunnel;
mod upgrade;
mod websocket;
mod wire;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::listener::Listener;
use crate::session::Shared;
use accept::{accept, prepare};
use dispatch::Road;
use reserve::Reserve;

/// How long accepting rests after the system refused to give a connection.
const REST: Duration = Duration::from_millis(100);

/// Serves one public address. Once `shut` turns true nothing more is accepted and the listener is closed; once `stop` does,
/// unused connections end, and the call returns when every HTTP exchange under way is over; sessions are tasks of their own by
/// then. Dropping it cuts what is left.
pub async fn serve(
    listener: Listener,
    shared: Arc<Shared>,
    mut shut: watch::Receiver<bool>,
    stop: watch::Receiver<bool>,
) {
    prepare(&listener);
    let mut connections = JoinSet::new();
    let mut reserve = Reserve::new();
    let is_shut = async move {
        // An error means that whoever could stop us is gone: the same.
        let _ = shut.wait_for(|shut| *shut).await;
    };
    tokio::pin!(is_shut);
    loop {
        tokio::select! {
            () = &mut is_shut => break,
            Some(ended) = connections.join_next() => note(&shared, ended),
            accepted = accept(&listener) => match accepted {
                Ok((line, address)) => {
                    connections.spawn(connection::carry(line, address, shared.clone(), Road, stop.clone()));
                }
                // The client was gone before we came.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    let turned_away = match reserve::is_exhaustion(&error) {
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

fn note(shared: &Shared, ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        shared.telemetry.life.panicked("connection");
    }
}
