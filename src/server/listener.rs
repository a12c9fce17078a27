//! Bound addresses, public or admin.

pub(crate) mod systemd_sockets;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use crate::config::Listen;

/// A bound address. No connection is accepted before it is served.
#[derive(Debug)]
pub(crate) enum Listener {
    /// `host:port`.
    Tcp(TcpListener),
    /// `unix:/path`.
    Unix(UnixListener),
}

/// A bound address that another process has made, or is to have.
#[derive(Debug)]
pub(crate) struct Given {
    /// Which key it serves: `server.listen` or `admin.listen`.
    pub(crate) key: String,
    /// The address as the configuration has it; port 0 stays 0.
    pub(crate) address: String,
    /// It belongs to the service manager, which goes on having it: a socket's file is not ours to remove.
    pub(crate) is_lent: bool,
    /// The socket itself.
    pub(crate) descriptor: OwnedFd,
}

impl Given {
    /// The socket's file, where it is ours to remove.
    pub(crate) fn file(&self) -> Option<&Path> {
        let path = self.address.strip_prefix("unix:")?;
        (!self.is_lent).then(|| Path::new(path))
    }
}

/// Connections that the system may hold until they are accepted: a whole fleet of browsers comes back at once.
const BACKLOG: u32 = 4096;

impl Listener {
    /// Binds an address. A Unix socket on which no process answers any more is replaced; `mode` is its permissions. `all` are those that
    /// are bound beside it: one of IPv6 takes no connections of IPv4 where another address of that port does.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) async fn bind(listen: &Listen, mode: u32, all: &[Listen]) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => bind_tcp(*address, all).map(Listener::Tcp),
            Listen::Unix(path) => bind_unix(path, mode).await.map(Listener::Unix),
        }
    }

    /// Takes a listener that is bound already, as it is.
    ///
    /// # Errors
    /// Where it is no listening stream socket.
    pub(crate) fn adopt(descriptor: OwnedFd) -> io::Result<Self> {
        let socket = socket2::Socket::from(descriptor);
        if socket.r#type()? != socket2::Type::STREAM || !socket.is_listener()? {
            return Err(io::Error::other("the socket given is no listener"));
        }
        socket.set_nonblocking(true)?;
        match socket.local_addr()?.is_unix() {
            true => {
                let listener = std::os::unix::net::UnixListener::from(OwnedFd::from(socket));
                UnixListener::from_std(listener).map(Listener::Unix)
            }
            false => TcpListener::from_std(socket.into()).map(Listener::Tcp),
        }
    }

    /// The same listener once more, for another process.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        match self {
            Listener::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            Listener::Unix(listener) => listener.as_fd().try_clone_to_owned(),
        }
    }

    /// As the ready line names it: `http://127.0.0.1:43121` or `unix:/path`, the port resolved.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn url(&self) -> io::Result<String> {
        match self {
            Listener::Tcp(listener) => Ok(format!("http://{}", listener.local_addr()?)),
            Listener::Unix(listener) => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().unwrap_or(Path::new(""));
                Ok(format!("unix:{}", path.display()))
            }
        }
    }

    /// Where the socket's file is, for the caller that cleans up.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        match self {
            Listener::Tcp(_) => None,
            Listener::Unix(listener) => {
                let address = listener.local_addr().ok()?;
                address.as_pathname().map(Path::to_owned)
            }
        }
    }
}

/// An address as the configuration writes it.
pub(crate) fn name(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn bind_tcp(address: SocketAddr, all: &[Listen]) -> io::Result<TcpListener> {
    let has_ipv4 = |other: &Listen| matches!(other, Listen::Tcp(other) if other.is_ipv4() && other.port() == address.port());
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart must not wait for old connections' TIME_WAIT.
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() && address.port() != 0 && all.iter().any(has_ipv4) {
        SockRef::from(&socket).set_only_v6(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Binds an address that another process may have bound too, where both did it like this.
///
/// # Errors
/// What the system says.
pub(crate) fn bind_shared(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    if is_socket && tokio::net::UnixStream::connect(path).await.is_err() {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[tokio::test]
    async fn port_0_is_resolved() {
        let any = Listen::Tcp(([127, 0, 0, 1], 0).into());
        let url = Listener::bind(&any, 0, &[]).await.unwrap().url().unwrap();
        let port = url.strip_prefix("http://127.0.0.1:").unwrap();
        assert_ne!(port.parse::<u16>().unwrap(), 0);
    }

    #[tokio::test]
    async fn both_families_of_one_port_are_bound() {
        let [four, six] = [IpAddr::from([0; 4]), IpAddr::from([0u16; 8])];
        for order in [[four, six], [six, four]] {
            // A port that is free now may be taken by another test in between.
            let mut tries = 0..20;
            let is_bound = loop {
                let any = TcpListener::bind((four, 0)).await.unwrap();
                let port = any.local_addr().unwrap().port();
                drop(any);
                let all = order.map(|ip| Listen::Tcp((ip, port).into()));
                let [one, other] = &all;
                let one = Listener::bind(one, 0, &all).await;
                let other = Listener::bind(other, 0, &all).await;
                if one.is_ok() && other.is_ok() {
                    break true;
                }
                if tries.next().is_none() {
                    break false;
                }
            };
            assert!(is_bound, "{order:?}");
        }
    }

    #[tokio::test]
    async fn stale_socket_file_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listen = Listen::Unix(path.clone());
        let first = Listener::bind(&listen, 0o600, &[]).await.unwrap();
        assert_eq!(first.url().unwrap(), format!("unix:{}", path.display()));
        assert!(Listener::bind(&listen, 0o600, &[]).await.is_err());
        drop(first);
        Listener::bind(&listen, 0o600, &[]).await.unwrap();
    }

    #[tokio::test]
    async fn a_listener_outlives_the_process_that_gives_it() {
        let folder = tempfile::tempdir().unwrap();
        let unix = Listen::Unix(folder.path().join("s"));
        for listen in [Listen::Tcp(([127, 0, 0, 1], 0).into()), unix] {
            let first = Listener::bind(&listen, 0o600, &[]).await.unwrap();
            let (url, path) = (first.url().unwrap(), first.path());
            let given = first.descriptor().unwrap();
            drop(first);
            let second = Listener::adopt(given).unwrap();
            assert_eq!((second.url().unwrap(), second.path()), (url, path));
        }
        let (stream, _) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(Listener::adopt(stream.into()).is_err());
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(Listener::adopt(file.into()).is_err());
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        std::fs::write(&path, b"data").unwrap();
        assert!(
            Listener::bind(&Listen::Unix(path.clone()), 0o600, &[])
                .await
                .is_err()
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"data");
    }
}
