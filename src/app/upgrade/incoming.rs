//! The new process's side: it takes, then listens to what the old one still reads until that is all its own.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};

use super::VARIABLE;
use super::channel::{receive, receive_descriptor, send};
use super::message::{Down, PROTOCOL, Up, WINDOWS};
use crate::app::listeners::Endowment;
use crate::app::parent::Parent;
use crate::app::process::{Built, Handle};
use crate::hub::FollowerRequest;
use crate::hub::replication::{Follower, ReplicationMessage};
use crate::server::listener::Given;
use crate::session::{LeftSession, Services};

/// Listeners of one process, at most.
const LISTENERS: usize = 1024;

/// Requests that may wait for the old process.
const REQUESTS: usize = 1024;

/// What is said where a signal ends a process that does not serve yet.
pub(crate) const ENDED: &str = "a signal ended the new process before it served";

/// The process that started this one.
pub(crate) struct Predecessor {
    link: UnixStream,
    /// Its standard error, which is ours from when we serve.
    stderr: OwnedFd,
}

/// The channel to it, where another crossfade has started this process. Nothing else may read standard input then.
///
/// # Errors
/// What is wrong with the environment, in a sentence.
pub(crate) fn link() -> Result<Option<std::os::unix::net::UnixStream>, String> {
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
    pub(crate) async fn meet(
        link: std::os::unix::net::UnixStream,
    ) -> io::Result<(Self, Endowment)> {
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
                is_lent: doorstep.is_lent,
                descriptor: receive_descriptor(&link).await?,
            });
        }
        let secret = STANDARD.decode(secret).map_err(io::Error::other)?;
        let endowment = Endowment {
            given,
            activated: Vec::new(),
            secret: Some(secret),
        };
        Ok((Predecessor { link, stderr }, endowment))
    }

    /// Says that everything is built, takes over what the old process keeps in memory, and starts to accept.
    ///
    /// An old process that ends before its time leaves its sockets to us: then we serve with what we have.
    ///
    /// # Errors
    /// Why the old process is to serve on: we do not understand where its rollouts stand, or `ended` came first.
    pub(crate) async fn succeed(
        self,
        built: Built,
        announce: impl FnOnce(&Handle),
        ended: impl Future<Output = ()>,
    ) -> Result<Handle, String> {
        let shared = built.shared.clone();
        let (reader, writer) = self.link.into_split();
        let (requests, asked) = mpsc::channel(REQUESTS);
        let mut imports = TopicImport {
            reader,
            shared: shared.clone(),
            followers: HashMap::new(),
            taken: 0,
            requests,
        };
        let begun = tokio::select! {
            begun = imports.begin(writer) => begun,
            () = ended => return Err(ENDED.to_owned()),
        };
        let writer = match begun {
            Ok((writer, rollouts)) => {
                built.inherit_rollouts(&rollouts).map_err(|why| {
                    format!(
                        "where the rollouts of the running process stand is not understood: {why}"
                    )
                })?;
                Some(writer)
            }
            Err(error) => {
                shared.telemetry.upgrades.predecessor_lost(&error);
                None
            }
        };
        // From now on our words are no longer the old one's to pass on. Without it they would go nowhere in time.
        let _ = rustix::stdio::dup2_stderr(&self.stderr);
        let mut house = built.open(true).await;
        announce(&house);
        let version = env!("CARGO_PKG_VERSION");
        shared.telemetry.upgrades.upgraded(version, imports.taken);
        match writer {
            Some(mut writer) => {
                let topics = Some(imports.taken);
                if send(&mut writer, &Up::Serving { topics }).await.is_ok() {
                    imports.is_known().await;
                }
                house.follow(imports.go_on(writer, asked));
            }
            None => imports.lose(),
        }
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        Ok(house)
    }
}

/// The topics that the old process exports.
struct TopicImport {
    reader: OwnedReadHalf,
    shared: Arc<Services>,
    followers: HashMap<u64, Follower>,
    /// How many there have been.
    taken: usize,
    requests: mpsc::Sender<FollowerRequest>,
}

impl TopicImport {
    /// Until the old process lets us serve: the way to it, and where its rollouts stand.
    async fn begin(&mut self, mut writer: OwnedWriteHalf) -> io::Result<(OwnedWriteHalf, String)> {
        send(&mut writer, &Up::Ready).await?;
        loop {
            match receive(&mut self.reader).await? {
                Down::Topic { topic, news } => self.hear(topic, news),
                Down::Told => send(&mut writer, &Up::Settled).await?,
                Down::Go { rollouts } => return Ok((writer, rollouts)),
                Down::Session(session) => self.adopt(session),
                Down::Sockets { .. } | Down::Known | Down::Unknown => {}
            }
        }
    }

    /// Waits until the service manager knows the new main process; the old one's next message says so, or its end.
    async fn is_known(&mut self) {
        loop {
            match receive(&mut self.reader).await {
                Ok(Down::Topic { topic, news }) => self.hear(topic, news),
                Ok(Down::Session(session)) => self.adopt(session),
                Ok(Down::Known) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    fn adopt(&self, session: LeftSession) {
        self.shared
            .sessions
            .adopt(session, self.shared.hub.reserve());
    }

    fn hear(&mut self, topic: u64, message: ReplicationMessage) {
        if let ReplicationMessage::Begin(record) = &message {
            let in_force = self.shared.in_force.load();
            let mut routes = in_force.config.routes.iter();
            let find = |name: &str| routes.find(|route| *route.name == *name).cloned();
            let requests = self.requests.clone();
            if let Some(follower) = self.shared.hub.follow(topic, record, find, requests) {
                self.taken += 1;
                self.followers.insert(topic, follower);
            }
            return;
        }
        let is_last = matches!(
            message,
            ReplicationMessage::Released | ReplicationMessage::End(_)
        );
        if let Some(follower) = self.followers.get(&topic) {
            follower.apply(message);
        }
        if is_last {
            self.followers.remove(&topic);
        }
    }

    /// Listens and asks in a task of its own, until the old process has nothing more to say.
    fn go_on(
        mut self,
        mut writer: OwnedWriteHalf,
        mut asked: mpsc::Receiver<FollowerRequest>,
    ) -> Parent {
        let (gone, is_gone) = watch::channel(false);
        let (hurry, mut hurried) = mpsc::channel(1);
        let asking = tokio::spawn(async move {
            loop {
                let word = tokio::select! {
                    Some(request) = asked.recv() => match request {
                        FollowerRequest::Release(topic) => Up::Taken { topic },
                        FollowerRequest::Refresh(topic) => Up::Refresh { topic },
                    },
                    Some(()) = hurried.recv() => Up::Hurry,
                    else => return,
                };
                if send(&mut writer, &word).await.is_err() {
                    return;
                }
            }
        });
        tokio::spawn(async move {
            while let Ok(down) = receive(&mut self.reader).await {
                match down {
                    Down::Topic { topic, news } => self.hear(topic, news),
                    Down::Session(session) => self.adopt(session),
                    _ => {}
                }
            }
            self.lose();
            asking.abort();
            gone.send_replace(true);
        });
        Parent { hurry, is_gone }
    }

    /// Ends the followers of what is left: no other process reads those topics.
    fn lose(self) {
        for follower in self.followers.into_values() {
            follower.lose();
        }
    }
}
