//! The addresses that a process serves: bound by itself, or inherited.

use std::io;
use std::path::PathBuf;

use super::start_error::StartError;
use crate::config::{Config, Listen};
use crate::server::listener::systemd_sockets::{self, Activated};
use crate::server::listener::{self, Given, Listener};

/// Permissions of a public Unix socket: its folder's permissions decide which users may connect, as with nginx.
const EVERYBODY: u32 = 0o666;

/// The keys that name listeners.
const PUBLIC: &str = "server.listen";
const ADMIN: &str = "admin.listen";

/// What a process need not make itself: another process, or the service manager, has given it.
#[derive(Debug, Default)]
pub(crate) struct Endowment {
    /// Listeners, by key and address.
    pub given: Vec<Given>,
    /// Listeners whose key is still to be found.
    pub activated: Vec<Activated>,
    /// What signs cookies where the configuration has no secret.
    pub secret: Option<Vec<u8>>,
}

/// A bound address and its name.
pub(super) struct BoundListener {
    pub(crate) key: &'static str,
    pub(crate) address: String,
    pub(crate) is_lent: bool,
    pub(crate) listener: Listener,
    pub(crate) url: String,
}

impl BoundListener {
    /// The socket's file, where it is ours to remove.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.listener.path().filter(|_| !self.is_lent)
    }

    /// The same for another process; `None` where the system has no descriptor left, and then that binds for itself.
    pub(crate) fn give(&self) -> Option<Given> {
        Some(Given {
            key: self.key.to_owned(),
            address: self.address.clone(),
            is_lent: self.is_lent,
            descriptor: self.listener.descriptor().ok()?,
        })
    }
}

/// Which key each socket of the service manager serves.
pub(super) fn assign(activated: Vec<Activated>, config: &Config) -> Result<Vec<Given>, StartError> {
    let public = config.server.listen.iter();
    let mut keys: Vec<_> = public.map(|listen| (PUBLIC, listen)).collect();
    keys.push((ADMIN, &config.admin.listen));
    systemd_sockets::assign(activated, &keys).map_err(StartError::Unnamed)
}

/// All addresses of a configuration, those given first.
pub(super) async fn bind(
    config: &Config,
    given: &mut Vec<Given>,
) -> Result<(Vec<BoundListener>, BoundListener), StartError> {
    let mut all = config.server.listen.clone();
    all.push(config.admin.listen.clone());
    let mut public = Vec::new();
    for listen in &config.server.listen {
        public.push(bind_one(PUBLIC, listen, EVERYBODY, &all, given).await?);
    }
    let admin = &config.admin.listen;
    let admin = bind_one(ADMIN, admin, crate::storage::PRIVATE, &all, given).await?;
    Ok((public, admin))
}

/// Takes the address from among those given, or binds it.
async fn bind_one(
    key: &'static str,
    listen: &Listen,
    mode: u32,
    all: &[Listen],
    given: &mut Vec<Given>,
) -> Result<BoundListener, StartError> {
    let address = listener::name(listen);
    let mut theirs = given.iter();
    let known = theirs.position(|given| given.key == key && given.address == address);
    let theirs = known.map(|at| given.remove(at));
    let is_lent = theirs.as_ref().is_some_and(|given| given.is_lent);
    let bound = async {
        let listener = match theirs {
            Some(given) => Listener::adopt(given.descriptor)?,
            None => Listener::bind(listen, mode, all).await?,
        };
        let url = listener.url()?;
        Ok((listener, url))
    };
    match bound.await {
        Ok((listener, url)) => Ok(BoundListener {
            key,
            address,
            is_lent,
            listener,
            url,
        }),
        Err(error) => {
            let error: io::Error = error;
            let why = format!("{address}: {error}");
            Err(StartError::Bind { key, why })
        }
    }
}
