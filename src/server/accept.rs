//! How connections are taken from the system, and what each of them is given.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::socket::ClientSocket;
use crate::server::listener::Listener;

/// Finds out about clients that vanished without a word: tunnels and silent streams have no other clock.
const KEEP_ALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15));

/// Bytes that may wait in the kernel behind what is in flight: two batches of a session. What a client is slow to take beyond
/// that waits as a distance in a shared log, or at the backend, not as megabytes of socket buffer.
const UNSENT: u32 = 128 * 1024;

/// Gives the listening socket what each of its connections inherits from it: asked of each connection, it would be four calls
/// of the system more for every handshake.
pub(crate) fn prepare(listener: &Listener) {
    if let Listener::Tcp(listener) = listener {
        let socket = SockRef::from(listener);
        // A kernel that refuses one of these keeps its usual way; a connection does without.
        let _ = socket.set_tcp_nodelay(true);
        let _ = socket.set_tcp_keepalive(&KEEP_ALIVE);
        let _ = socket.set_tcp_notsent_lowat(UNSENT);
    }
}

/// The next connection, and the address that it comes from.
pub(crate) async fn accept(listener: &Listener) -> io::Result<(ClientSocket, Option<IpAddr>)> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
            Ok((ClientSocket::tcp(stream), Some(address.ip().to_canonical())))
        }
        Listener::Unix(listener) => {
            let (stream, _) = listener.accept().await?;
            Ok((ClientSocket::unix(stream), None))
        }
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
