//! From a server's name to a connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::config::Authority;
use crate::error::{Error, Kind};

/// How long an address may hesitate before the next one is tried beside it (RFC 8305, section 8).
const STAGGER: Duration = Duration::from_millis(250);

/// A backend that vanished without a word is found out on idle and on busy connections alike.
const SILENCE: Duration = Duration::from_secs(15);
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Connects to the first of a server's addresses that accepts; `patience` is for all of it.
pub(super) async fn connect(server: &Authority, patience: Duration) -> Result<TcpStream, Error> {
    let all = async {
        let addresses = tokio::net::lookup_host(&server.address).await?;
        race(addresses.collect()).await
    };
    match tokio::time::timeout(patience, all).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(Error::upstream(Kind::Connect, error.to_string())),
        Err(_) => Err(Error::upstream(
            Kind::Connect,
            format!(
                "no connection within {}",
                humantime::format_duration(patience)
            ),
        )),
    }
}

/// Addresses in turn; one that hesitates does not hold up the next, one that fails makes way at
/// once.
async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut rest = interleave(addresses).into_iter();
    let mut trying = FuturesUnordered::new();
    let mut failed = io::Error::other("its name has no address");
    loop {
        match rest.next() {
            Some(address) => trying.push(open(address)),
            None if trying.is_empty() => return Err(failed),
            None => {}
        }
        let has_more = rest.len() > 0;
        tokio::select! {
            Some(outcome) = trying.next() => match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            },
            () = tokio::time::sleep(STAGGER), if has_more => {}
        }
    }
}

/// The families by turns, the first address's first (RFC 8305, section 4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv4() == first_is_v4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::with_capacity(first.len() + second.len());
    loop {
        let pair = (first.next(), second.next());
        mixed.extend(pair.0.into_iter().chain(pair.1));
        if first.len() + second.len() == 0 {
            return mixed;
        }
    }
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    let alive = TcpKeepalive::new()
        .with_time(SILENCE)
        .with_interval(PROBE_INTERVAL)
        .with_retries(PROBES);
    socket.set_tcp_keepalive(&alive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_the_first_goes_first() {
        let addresses = |text: &str| -> Vec<SocketAddr> {
            text.split_whitespace()
                .map(|a| a.parse().unwrap())
                .collect()
        };
        for (given, tried) in [
            ("", ""),
            ("1.1.1.1:1 2.2.2.2:1", "1.1.1.1:1 2.2.2.2:1"),
            (
                "[::1]:1 [::2]:1 1.1.1.1:1 2.2.2.2:1 3.3.3.3:1",
                "[::1]:1 1.1.1.1:1 [::2]:1 2.2.2.2:1 3.3.3.3:1",
            ),
            ("1.1.1.1:1 [::1]:1 [::2]:1", "1.1.1.1:1 [::1]:1 [::2]:1"),
        ] {
            assert_eq!(interleave(addresses(given)), addresses(tried), "{given}");
        }
    }
}
