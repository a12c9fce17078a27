//! What a WebSocket handshake becomes when it is granted.

use bytes::Bytes;
use hyper::http::Extensions;
use hyper::upgrade::OnUpgrade;
use tokio::sync::oneshot;
use tokio_util::either::Either;

use super::http1_state::Http1State;
use super::http2::{Duplex, Promised};
use super::socket::MaybeTls;

/// A connection, or a stream of one, that will be the client's once its handshake is answered.
pub(crate) enum Upgrade {
    /// The whole connection, after its `101`.
    Http1(Http1State),
    /// One stream of an HTTP/2 connection, after its `200` (RFC 8441).
    Http2(oneshot::Receiver<Duplex>),
}

/// What has been granted.
pub(crate) struct Granted {
    /// The client's bytes from here on.
    pub(crate) socket: Socket,
    /// What the client had sent behind its handshake.
    pub(crate) ahead: Bytes,
}

/// Where a WebSocket's bytes run: over the connection that was upgraded, or over a stream of an HTTP/2 connection.
pub(crate) type Socket = Either<MaybeTls, Duplex>;

impl Upgrade {
    /// Takes it out of a handshake that came over a connection with this notice board.
    pub(crate) fn of(handshake: &mut Extensions, traffic: Option<&Http1State>) -> Option<Upgrade> {
        if handshake.remove::<OnUpgrade>().is_some() {
            return traffic.cloned().map(Upgrade::Http1);
        }
        let promised: Promised = handshake.remove()?;
        promised.take().map(Upgrade::Http2)
    }

    /// Once the answer is out, `heir` goes on. It is dropped where the connection breaks before.
    pub(crate) fn leave_to(self, heir: impl FnOnce(Granted) + Send + 'static) {
        match self {
            Upgrade::Http1(traffic) => traffic.leave_to(Box::new(|stream, ahead| {
                let socket = Socket::Left(stream);
                heir(Granted { socket, ahead });
            })),
            Upgrade::Http2(promise) => {
                tokio::spawn(async move {
                    if let Ok(duplex) = promise.await {
                        heir(Granted {
                            socket: Socket::Right(duplex),
                            ahead: Bytes::new(),
                        });
                    }
                });
            }
        }
    }

    /// Where it is delivered once the answer is out; an error there says that the connection broke before.
    pub(crate) fn granted(self) -> oneshot::Receiver<Granted> {
        let (deliver, promise) = oneshot::channel();
        self.leave_to(move |granted| {
            // An error means that nothing waits for it any more.
            let _ = deliver.send(granted);
        });
        promise
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::websocket::WebSocketTransport;

    #[test]
    fn the_transport_of_an_idle_session_is_small() {
        let transport = size_of::<WebSocketTransport<Socket>>();
        assert!(transport <= 120, "{transport} bytes");
    }
}
