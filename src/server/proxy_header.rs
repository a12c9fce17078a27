//! The PROXY protocol's header, read from a socket before anything else. What is no header is closed, counted by reason, and
//! logged at a bounded rate.

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout_at};

use super::dropped::Dropped;
use super::socket::ClientSocket;
use crate::config::ProxyProtocol;
use crate::http::proxy_protocol::{self, HeaderStart, Malformed, ProxySource};

/// How much is read at once while it is not known what it is.
pub(super) const PIECE: usize = 512;

/// Reads the PROXY protocol's header where there may be one; `None` where there is none. What stands behind it is left.
pub(crate) async fn read_proxy_header(
    line: &mut ClientSocket,
    mode: ProxyProtocol,
    is_trusted: bool,
    deadline: Instant,
) -> Result<Option<ProxySource>, Dropped> {
    match mode {
        ProxyProtocol::Off => return Ok(None),
        ProxyProtocol::Require if !is_trusted => return Err(Dropped::Refused("proxy_untrusted")),
        ProxyProtocol::Optional | ProxyProtocol::Require => {}
    }
    let mut ahead = BytesMut::new();
    loop {
        let begun = proxy_protocol::begin(&ahead);
        match begun {
            _ if is_header(&begun) && !is_trusted => {
                return Err(Dropped::Refused("proxy_untrusted"));
            }
            Err(Malformed) => return Err(Dropped::Refused("proxy_malformed")),
            Ok(HeaderStart::Bare) if mode == ProxyProtocol::Require => {
                return Err(Dropped::Refused("proxy_missing"));
            }
            Ok(HeaderStart::Bare) => {
                line.put_back(ahead.freeze());
                return Ok(None);
            }
            Ok(HeaderStart::Header(length, source)) => {
                line.put_back(ahead.split_off(length).freeze());
                return Ok(Some(source));
            }
            Ok(HeaderStart::Partial { .. }) => {}
        }
        // A header is known to be too long before this grows.
        ahead.reserve(PIECE);
        match timeout_at(deadline, line.read_buf(&mut ahead)).await {
            Ok(Ok(count)) if count > 0 => {}
            Ok(_) => return Err(Dropped::Gone),
            Err(_) if ahead.is_empty() => return Err(Dropped::Gone),
            Err(_) => return Err(Dropped::Refused("proxy_timeout")),
        }
    }
}

/// Whether it is a header, whole or broken, or the beginning of one.
pub(super) fn is_header(begun: &Result<HeaderStart, Malformed>) -> bool {
    let is_other = matches!(
        begun,
        Ok(HeaderStart::Bare | HeaderStart::Partial { is_header: false })
    );
    !is_other
}
