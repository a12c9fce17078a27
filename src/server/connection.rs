//! One accepted connection, from its place among the others to its last exchange.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::client_connection::{Connection, Remote};
use super::dropped::Dropped;
use super::handler::Handler;
use super::http1::guard::Http1Guard;
use super::http1_state::Http1State;
use super::socket::{ClientSocket, MaybeTls};
use super::{detect_http, http1, http2, reject};
use super::{proxy_header, tls};
use crate::config::{ProxyProtocol, Server};
use crate::http::forwarded;
use crate::http::problem::Problem;
use crate::policy::connection_limits::Permit;
use crate::session::Services;

/// How long the answer to a rejected client may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Serves a connection until it ends, is upgraded, or `stop` lets it finish what is under way.
pub(crate) async fn carry(
    line: ClientSocket,
    address: Option<IpAddr>,
    shared: Arc<Services>,
    handler: impl Handler,
    mut stop: watch::Receiver<bool>,
) {
    let config = shared.in_force.load().config.clone();
    let server = &config.server;
    let mut remote = Remote::new(address);
    let arrived = match server.tls.is_none() && server.proxy_protocol == ProxyProtocol::Off {
        true => find_place(line, &remote, &shared, server),
        // Boxed: handshakes take much memory, and nothing of them stays.
        false => Box::pin(arrive(line, &mut remote, &shared, server)).await,
    };
    let (mut stream, permit) = match arrived {
        Ok(arrived) => arrived,
        Err(dropped) => {
            let parting = Box::pin(part(dropped, remote, &shared, server));
            tokio::select! {
                () = parting => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            return;
        }
    };
    let limits = &server.limits;
    let Some(beginning) = detect_http::read(&mut stream, limits.header_timeout, &mut stop).await
    else {
        return;
    };
    let connections = shared.connections.clone();
    let connection = |traffic| {
        Arc::new(Connection {
            shared,
            peer: forwarded::text(remote.address),
            remote,
            traffic,
            permit: Arc::new(permit),
            pins: OnceLock::new(),
        })
    };
    if beginning.is_http2 {
        let connection = connection(None);
        // The larger of the two by far: no connection of HTTP/1 reserves memory for it.
        return Box::pin(http2::serve(
            stream,
            beginning.ahead,
            connection,
            limits,
            handler,
            stop,
        ))
        .await;
    }
    let traffic = Http1State::default();
    let wire = Http1Guard::new(stream, limits, traffic.clone(), connections);
    let wire = wire.begun_with(beginning);
    let connection = connection(Some(traffic.clone()));
    http1::serve(wire, traffic, connection, limits, handler, stop).await;
}

/// Admits a connection that names no client before its first request.
fn find_place(
    line: ClientSocket,
    remote: &Remote,
    shared: &Services,
    server: &Server,
) -> Result<(MaybeTls, Permit), Dropped> {
    let counted = remote.counted(&server.trusted_proxies);
    match shared.connections.admit(counted, &server.limits) {
        Ok(permit) => Ok((MaybeTls::Left(line), permit)),
        Err(full) => Err(Dropped::Full(full, line)),
    }
}

/// Finds a place for a connection, whose it is, and what its bytes mean.
async fn arrive(
    mut line: ClientSocket,
    remote: &mut Remote,
    shared: &Services,
    server: &Server,
) -> Result<(MaybeTls, Permit), Dropped> {
    let (limits, trusted) = (&server.limits, &server.trusted_proxies);
    let deadline = Instant::now() + limits.header_timeout;
    let mode = server.proxy_protocol;
    // The client's address may follow in a moment. That the caps allow the connection comes first.
    let counted = remote.counted(trusted);
    let counted = counted.filter(|_| mode == ProxyProtocol::Off);
    let mut permit = match shared.connections.admit(counted, limits) {
        Ok(permit) => permit,
        Err(full) => return Err(Dropped::Full(full, line)),
    };
    if mode != ProxyProtocol::Off {
        let is_trusted = remote.peer(trusted).is_trusted;
        let source = proxy_header::read_proxy_header(&mut line, mode, is_trusted, deadline).await?;
        remote.learn(source);
        if let Err(full) = permit.count_for(remote.counted(trusted), limits) {
            return Err(Dropped::Full(full, line));
        }
    }
    let stream = match &server.tls {
        None => MaybeTls::Left(line),
        Some(tls) => {
            remote.proto = "https";
            tls::accept_tls(line, tls.engine(), deadline).await?
        }
    };
    Ok((stream, permit))
}

/// Closes the connection of a rejected client.
async fn part(dropped: Dropped, remote: Remote, shared: &Services, server: &Server) {
    let place = shared.connections.linger();
    let refused = |reason| {
        shared
            .telemetry
            .downstream
            .connection_refused(reason, remote.address)
    };
    match dropped {
        Dropped::Gone => {}
        Dropped::Refused(reason) => refused(reason),
        Dropped::Alerted(reason, line) => {
            refused(reason);
            tls::part(line, place).await;
        }
        Dropped::Plain(line) => {
            refused("plain_http");
            reject::say(line, None, Problem::plain_http(), PATIENCE, place).await;
        }
        Dropped::Full(full, line) => {
            refused(full.reason());
            let problem = reject::no_room(full.reason(), "too many connections");
            reject::say(line, server.tls.as_ref(), problem, PATIENCE, place).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::handler::ProxyHandler;

    fn room<A, B, C, D, F>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// A session's memory, about 2.4 KB, goes where its connection's was: of what is larger, pieces stay that are too small for
    /// the next connection. Around the task's future the runtime has 104 bytes more, and allocates 128 at a time.
    #[test]
    fn a_connection_leaves_no_more_room_than_a_session_takes() {
        let carried =
            room(|line, address, shared, stop| carry(line, address, shared, ProxyHandler, stop));
        assert!(carried <= 2304 - 104, "{carried} bytes");
    }
}
