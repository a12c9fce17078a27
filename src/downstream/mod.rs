//! The public listeners: accept, route, judge, answer. The only room that names the server engine.

mod account;
mod arrival;
mod body;
mod cohort;
mod connection;
mod destination;
mod dispatch;
mod edge;
mod endpoints;
mod exchange;
mod farewell;
mod http1;
mod http2;
mod limits;
mod line;
mod linger;
mod offer;
mod one_way;
mod passthrough;
mod preface;
mod redirect;
mod reserve;
mod respond;
mod stream;
mod tunnel;
mod upgrade;
mod websocket;
mod wire;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::listener::Listener;
use crate::session::Shared;
use line::Line;
use reserve::Reserve;

/// Finds out about clients that vanished without a word: tunnels and silent streams have no other clock.
const KEEP_ALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15));

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
                    connections.spawn(connection::carry(line, address, shared.clone(), stop.clone()));
                }
                // The client was gone before we came.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    let turned_away = match reserve::is_exhaustion(&error) {
                        true => reserve.turn_away(&listener, &shared).await,
                        false => 0,
                    };
                    shared.telemetry.accept_failed(&error, turned_away);
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

async fn accept(listener: &Listener) -> io::Result<(Line, Option<IpAddr>)> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
            // Neither can fail on a socket that was just accepted; a connection would do without.
            let _ = stream.set_nodelay(true);
            let _ = SockRef::from(&stream).set_tcp_keepalive(&KEEP_ALIVE);
            Ok((Line::tcp(stream), Some(address.ip().to_canonical())))
        }
        Listener::Unix(listener) => {
            let (stream, _) = listener.accept().await?;
            Ok((Line::unix(stream), None))
        }
    }
}

fn note(shared: &Shared, ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        shared.telemetry.panicked("connection");
    }
}
