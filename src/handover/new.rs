//! The new process's side.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::VARIABLE;
use super::link::{receive, receive_descriptor, send};
use super::message::{Down, PROTOCOL, Up, WINDOWS};
use crate::app::{Built, Endowment, Handle};
use crate::listener::Given;

/// Listeners of one process, at most.
const LISTENERS: usize = 1024;

/// How long the service manager's being told is waited for.
const TELLING: Duration = Duration::from_secs(2);

/// The process that started this one.
pub struct Predecessor {
    link: UnixStream,
    /// Its standard error, which is ours from when we serve.
    stderr: OwnedFd,
}

/// The way to it, where a process like us has started this one. Standard input is nobody's any more then.
///
/// # Errors
/// What is wrong with the environment, in a sentence.
pub fn link() -> Result<Option<std::os::unix::net::UnixStream>, String> {
    if std::env::var_os(VARIABLE).is_none() {
        return Ok(None);
    }
    let cannot = |error: io::Error| format!("{VARIABLE} is set, and {error}; unset it");
    let input = io::stdin().as_fd().try_clone_to_owned().map_err(cannot)?;
    if rustix::net::sockopt::socket_domain(&input) != Ok(rustix::net::AddressFamily::UNIX) {
        return Err(cannot(io::Error::other("standard input is no unix socket")));
    }
    let nothing = std::fs::File::open("/dev/null").map_err(cannot)?;
    rustix::stdio::dup2_stdin(nothing).map_err(|error| cannot(error.into()))?;
    let link = std::os::unix::net::UnixStream::from(input);
    link.set_nonblocking(true).map_err(cannot)?;
    Ok(Some(link))
}

impl Predecessor {
    /// Meets it, and takes what this process need not make itself.
    ///
    /// # Errors
    /// It is gone, or speaks another language.
    pub async fn meet(link: std::os::unix::net::UnixStream) -> io::Result<(Self, Endowment)> {
        let mut link = UnixStream::from_std(link)?;
        let hello = Up::Hello {
            protocol: PROTOCOL,
            windows: WINDOWS,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
        };
        send(&mut link, &hello).await?;
        let Down::Sockets { listeners, secret } = receive(&mut link).await? else {
            return Err(io::Error::other("it does not begin with its sockets"));
        };
        if listeners.len() > LISTENERS {
            return Err(io::Error::other("it has too many listeners"));
        }
        let stderr = receive_descriptor(&link).await?;
        let mut given = Vec::new();
        for doorstep in listeners {
            given.push(Given {
                key: doorstep.key,
                address: doorstep.address,
                descriptor: receive_descriptor(&link).await?,
            });
        }
        let secret = STANDARD.decode(secret).map_err(io::Error::other)?;
        let endowment = Endowment {
            given,
            secret: Some(secret),
        };
        Ok((Predecessor { link, stderr }, endowment))
    }

    /// Says that everything is built, takes over what the old process keeps in memory, and opens the doors.
    ///
    /// An old process that ends before its time leaves its sockets to us: then we serve with what we have.
    pub async fn succeed(mut self, built: Built, announce: impl FnOnce(&Handle)) -> Handle {
        let telemetry = built.shared.telemetry.clone();
        if let Err(error) = self.inherit(&built).await {
            telemetry.predecessor_lost(&error);
        }
        // From now on our words are no longer the old one's to pass on. Without it they would go nowhere in time.
        let _ = rustix::stdio::dup2_stderr(&self.stderr);
        let house = built.open(true).await;
        announce(&house);
        telemetry.upgraded(env!("CARGO_PKG_VERSION"), 0);
        if send(&mut self.link, &Up::Serving).await.is_ok() {
            // It says so when the service manager knows us; gone or slow, we are ready all the same.
            let _ = timeout(TELLING, receive::<Down>(&mut self.link)).await;
        }
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        house
    }

    /// Until the old process lets go.
    async fn inherit(&mut self, built: &Built) -> io::Result<()> {
        send(&mut self.link, &Up::Ready).await?;
        loop {
            match receive(&mut self.link).await? {
                Down::Told => send(&mut self.link, &Up::Settled).await?,
                Down::Go { rollouts } => {
                    built.inherit_rollouts(&rollouts);
                    return Ok(());
                }
                Down::Sockets { .. } | Down::Known | Down::Unknown => {}
            }
        }
    }
}
