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
mod expiry;
mod farewell;
mod http1;
mod http2;
mod limits;
mod line;
pub(crate) mod linger;
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

/// Bytes that may wait in the kernel behind what is in flight: two batches of a session. What a client is slow to take beyond
/// that waits as a distance in a shared log, or at the backend, not as megabytes of socket buffer.
const UNSENT: u32 = 128 * 1024;

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

/// Gives the listening socket what each of its connections inherits from it: asked of each connection, it would be four calls
/// of the system more for every handshake.
fn prepare(listener: &Listener) {
    if let Listener::Tcp(listener) = listener {
        let socket = SockRef::from(listener);
        // A kernel that refuses one of these keeps its usual way; a connection does without.
        let _ = socket.set_tcp_nodelay(true);
        let _ = socket.set_tcp_keepalive(&KEEP_ALIVE);
        let _ = socket.set_tcp_notsent_lowat(UNSENT);
    }
}

async fn accept(listener: &Listener) -> io::Result<(Line, Option<IpAddr>)> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
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

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn an_accepted_connection_inherits_the_listeners_options() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Listener::Tcp(listener);
        prepare(&listener);
        let _client = TcpStream::connect(address).await.unwrap();
        let Listener::Tcp(listener) = &listener else {
            unreachable!("it was made so");
        };
        let (accepted, _) = listener.accept().await.unwrap();
        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap().as_secs(), 60);
        assert_eq!(socket.tcp_keepalive_interval().unwrap().as_secs(), 15);
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT);
    }
}
