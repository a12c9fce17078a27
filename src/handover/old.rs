//! The old process's side.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::PATIENCE;
use super::image::{self, Image, Newcomer};
use super::link::{receive, send, send_descriptor};
use super::message::{Doorstep, Down, PROTOCOL, Up};
use crate::admin::{NotUpgraded, Upgraded};
use crate::listener::Given;
use crate::rollout::controller::Controller;
use crate::session::Shared;

/// What the old process has to give.
pub struct Estate<'a> {
    /// The house.
    pub shared: &'a Arc<Shared>,
    /// Where the rollouts stand.
    pub controller: &'a Controller,
    /// Its listeners.
    pub given: &'a [Given],
}

/// The process that serves in our place.
pub struct Successor {
    /// Who it is.
    pub upgraded: Upgraded,
    link: UnixStream,
}

impl Successor {
    /// Resolves when it needs nothing more of us: every topic is its own.
    pub async fn release(self) {
        drop(self.link);
    }
}

/// Starts the new process and hands everything over.
///
/// # Errors
/// See [`NotUpgraded`]; nothing has changed then. The same where this is dropped half-way.
pub async fn hand_over(
    image: &Image,
    binary: Option<&Path>,
    estate: &Estate<'_>,
) -> Result<Successor, NotUpgraded> {
    let path = image.choose(binary).map_err(NotUpgraded::Unfit)?;
    image::ask_for_name(&path)
        .await
        .map_err(NotUpgraded::Unfit)?;
    let cannot = |error: io::Error| NotUpgraded::Unfit(format!("{}: {error}", path.display()));
    let (here, there) = UnixStream::pair().map_err(cannot)?;
    let there = there.into_std().map_err(cannot)?;
    // Whoever reads it at the other side decides for itself whether it waits.
    there.set_nonblocking(false).map_err(cannot)?;
    let newcomer = Newcomer::start(image, &path, OwnedFd::from(there)).map_err(cannot)?;
    let why = match timeout(PATIENCE, meet(here, estate)).await {
        Ok(Ok(successor)) => {
            newcomer.trust();
            return Ok(successor);
        }
        Ok(Err(error)) => told(&error),
        Err(_) => format!(
            "the new process was not ready within {} s",
            PATIENCE.as_secs()
        ),
    };
    estate.controller.stay();
    let (how, stderr) = newcomer.bury().await;
    Err(NotUpgraded::NotReady {
        why: format!("{why} ({how})"),
        stderr,
    })
}

fn told(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => "the new process ended before it was ready".to_owned(),
        _ => format!("the new process was not understood: {error}"),
    }
}

async fn meet(mut link: UnixStream, estate: &Estate<'_>) -> io::Result<Successor> {
    let Up::Hello {
        protocol: PROTOCOL,
        version,
        pid,
        ..
    } = receive(&mut link).await?
    else {
        return Err(io::Error::other("it takes over in another way"));
    };
    give_sockets(&mut link, estate).await?;
    wait_for(&mut link, |up| matches!(up, Up::Ready)).await?;
    send(&mut link, &Down::Told).await?;
    wait_for(&mut link, |up| matches!(up, Up::Settled)).await?;
    let rollouts = estate.controller.leave()?;
    send(&mut link, &Down::Go { rollouts }).await?;
    wait_for(&mut link, |up| matches!(up, Up::Serving)).await?;
    // The service manager must know the new one before that speaks to it.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::MainPid(pid)]);
    // It serves whether or not it hears this.
    let _ = send(&mut link, &Down::Known).await;
    Ok(Successor {
        upgraded: Upgraded {
            pid,
            version,
            topics: 0,
        },
        link,
    })
}

async fn give_sockets(link: &mut UnixStream, estate: &Estate<'_>) -> io::Result<()> {
    let listeners = estate.given.iter().map(|given| Doorstep {
        key: given.key.clone(),
        address: given.address.clone(),
    });
    let sockets = Down::Sockets {
        listeners: listeners.collect(),
        secret: STANDARD.encode(&estate.shared.own_secret),
    };
    send(link, &sockets).await?;
    send_descriptor(link, io::stderr().as_fd()).await?;
    for given in estate.given {
        send_descriptor(link, given.descriptor.as_fd()).await?;
    }
    Ok(())
}

async fn wait_for(link: &mut UnixStream, is_it: impl Fn(&Up) -> bool) -> io::Result<()> {
    while !is_it(&receive(link).await?) {}
    Ok(())
}
