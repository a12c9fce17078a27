use super::socket::ClientSocket;
use crate::policy::connection_limits::Full;

/// Why a connection ended before its first request.
#[derive(Debug)]
pub(crate) enum Dropped {
    /// The client left, without having done anything wrong.
    Gone,
    /// For this reason, a word in `refused_total{reason}`.
    Refused(&'static str),
    /// Likewise, in a handshake: an alert is on its way.
    Alerted(&'static str, ClientSocket),
    /// Plain HTTP where TLS is spoken; the client can read an answer.
    Plain(ClientSocket),
    /// A cap on connections is reached; the client can read an answer.
    Full(Full, ClientSocket),
}
