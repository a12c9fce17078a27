//! Listeners that the service manager has bound for us (`LISTEN_FDS`, as systemd's socket units give them).

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use listenfd::ListenFd;

use super::{Given, name};
use crate::config::Listen;

/// One of them: where it listens, and the socket itself.
#[derive(Debug)]
pub(crate) struct Activated {
    address: Listen,
    descriptor: OwnedFd,
}

/// Takes them. To be asked once, before there is a second thread: the variables that name them are removed.
///
/// # Errors
/// Where one of them is no stream socket, or has no address.
pub(crate) fn take() -> io::Result<Vec<Activated>> {
    let mut given = ListenFd::from_env();
    (0..given.len())
        .map(|at| take_one(&mut given, at))
        .collect()
}

fn take_one(given: &mut ListenFd, at: usize) -> io::Result<Activated> {
    let missing = || io::Error::other("LISTEN_FDS names a socket twice");
    if let Ok(listener) = given.take_tcp_listener(at) {
        let listener = listener.ok_or_else(missing)?;
        return Ok(Activated {
            address: Listen::Tcp(listener.local_addr()?),
            descriptor: listener.into(),
        });
    }
    let listener = given.take_unix_listener(at)?.ok_or_else(missing)?;
    let address = listener.local_addr()?;
    let path = address.as_pathname();
    let path = path.ok_or_else(|| io::Error::other("a unix socket without a path"))?;
    Ok(Activated {
        address: Listen::Unix(path.to_owned()),
        descriptor: listener.into(),
    })
}

/// Finds the key that each serves. By address only, whatever its name: what the configuration says of an address, its token
/// above all, was judged for that address.
///
/// # Errors
/// The address that no key names: no listener would ever answer there.
pub(crate) fn assign(
    activated: Vec<Activated>,
    keys: &[(&'static str, &Listen)],
) -> Result<Vec<Given>, String> {
    let given = activated.into_iter().map(|socket| {
        let mut keys = keys.iter();
        let known = keys.find(|(_, listen)| is_same(listen, &socket.address));
        let (key, listen) = known.ok_or_else(|| name(&socket.address))?;
        Ok(Given {
            key: (*key).to_owned(),
            address: name(listen),
            is_lent: true,
            descriptor: socket.descriptor,
        })
    });
    given.collect()
}

/// A socket unit's `8080` is `[::]:8080`, and takes what `0.0.0.0:8080` would.
fn is_same(wanted: &Listen, bound: &Listen) -> bool {
    match (wanted, bound) {
        (Listen::Tcp(wanted), Listen::Tcp(bound)) => {
            let is_any = |address: &SocketAddr| address.ip().is_unspecified();
            wanted == bound || wanted.port() == bound.port() && is_any(wanted) && is_any(bound)
        }
        (Listen::Unix(wanted), Listen::Unix(bound)) => wanted == bound,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str) -> Listen {
        Listen::Tcp(address.parse().unwrap())
    }

    #[test]
    fn a_socket_serves_the_key_that_names_its_address_and_no_other() {
        let unix = Listen::Unix("/run/a".into());
        for (wanted, bound, fits) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::]:80", true),
            ("[::]:80", "[::]:80", true),
            ("127.0.0.1:80", "[::]:80", false),
            ("[::]:80", "127.0.0.1:80", false),
            ("127.0.0.1:0", "127.0.0.1:80", false),
        ] {
            assert_eq!(is_same(&tcp(wanted), &tcp(bound)), fits, "{wanted} {bound}");
        }
        assert!(is_same(&unix, &unix));
        assert!(!is_same(&unix, &tcp("0.0.0.0:80")));
    }

    #[test]
    fn a_socket_that_no_key_names_is_told() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let socket = || Activated {
            address: Listen::Tcp(address),
            descriptor: listener.try_clone().unwrap().into(),
        };
        let listen = Listen::Tcp(address);
        let other = tcp("127.0.0.1:9");
        let keys = [("server.listen", &other), ("admin.listen", &listen)];
        let given = assign(vec![socket()], &keys).unwrap();
        assert_eq!(
            (&*given[0].key, &given[0].address),
            ("admin.listen", &address.to_string())
        );
        let refused = assign(vec![socket()], &keys[..1]);
        assert_eq!(refused.unwrap_err(), address.to_string());
    }
}
