//! The old process's side: it hands over its sockets, then sends its topics until they have no subscriber here.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::PATIENCE;
use super::channel::{receive, send, send_descriptor};
use super::executable::{self, ChildProcess, Image};
use super::message::{Down, ListenerInfo, PROTOCOL, Up, WINDOWS};
use super::topic_export::TopicExport;
use crate::admin::{NotUpgraded, Upgraded};
use crate::hub::replication::Exports;
use crate::rollout::controller::Controller;
use crate::server::listener::Given;
use crate::session::Services;

/// Words of the other process that may wait for us.
const WORDS: usize = 16;

/// How long two processes read a stream that cannot be resumed; at most a tenth of `drain_timeout`.
const OVERLAP: Duration = Duration::from_secs(1);

/// What the old process has to give.
pub(crate) struct ParentState<'a> {
    /// What outlives a reload.
    pub(crate) shared: &'a Arc<Services>,
    /// Where the rollouts stand.
    pub(crate) controller: &'a Controller,
    /// Its listeners.
    pub(crate) given: &'a [Given],
}

impl ParentState<'_> {
    /// No process took it: everything is ours again.
    pub(super) fn forget(&self) {
        self.controller.stay();
        self.shared.hub.reopen();
    }
}

/// A handover that is under way: where it ends early, however that is, everything is ours again.
struct Attempt<'a> {
    estate: &'a ParentState<'a>,
    is_done: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.estate.forget();
        }
    }
}

/// The process that serves in our place.
pub(crate) struct Successor {
    /// Its process id and version.
    pub(crate) upgraded: Upgraded,
    export: TopicExport,
    words: mpsc::Receiver<Up>,
    /// Whether it has asked our sessions to leave at once.
    is_hurried: bool,
}

/// What became of a successor's waiting.
pub(crate) enum Released {
    /// It knows everything.
    All,
    /// Our sessions are to leave at once.
    Hurried,
}

impl Successor {
    /// Serves its requests until every topic is its own, or it is in a hurry, which is reported once.
    pub(crate) async fn release(&mut self) -> Released {
        self.export.depart();
        loop {
            tokio::select! {
                () = self.export.is_over() => return Released::All,
                word = self.words.recv() => match word {
                    Some(Up::Hurry) if !self.is_hurried => {
                        self.is_hurried = true;
                        return Released::Hurried;
                    }
                    Some(word) => self.export.heed(&word),
                    None => return Released::All,
                }
            }
        }
    }
}

/// Starts the new process and hands everything over.
///
/// # Errors
/// See [`NotUpgraded`]; nothing has changed then. The same where this is dropped half-way.
pub(crate) async fn hand_over(
    image: &Image,
    binary: Option<&Path>,
    estate: &ParentState<'_>,
) -> Result<Successor, NotUpgraded> {
    let path = image.choose(binary).map_err(NotUpgraded::Unfit)?;
    executable::ask_for_name(&path)
        .await
        .map_err(NotUpgraded::Unfit)?;
    let cannot = |error: io::Error| NotUpgraded::Unfit(format!("{}: {error}", path.display()));
    let (here, there) = UnixStream::pair().map_err(cannot)?;
    let there = there.into_std().map_err(cannot)?;
    // Outlives the new process: only then no other process can be the owner any more.
    let mut attempt = Attempt {
        estate,
        is_done: false,
    };
    let newcomer = ChildProcess::start(image, &path, OwnedFd::from(there)).map_err(cannot)?;
    let why = match timeout(PATIENCE, meet(here, estate)).await {
        Ok(Ok(successor)) => {
            newcomer.trust();
            attempt.is_done = true;
            return Ok(successor);
        }
        Ok(Err(error)) => told(&error),
        Err(_) => format!(
            "the new process was not ready within {} s",
            PATIENCE.as_secs()
        ),
    };
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

pub(super) async fn meet(mut link: UnixStream, estate: &ParentState<'_>) -> io::Result<Successor> {
    let Up::Hello {
        protocol: PROTOCOL,
        windows,
        version,
        pid,
    } = receive(&mut link).await?
    else {
        return Err(io::Error::other("it takes over in another way"));
    };
    give_sockets(&mut link, estate).await?;
    let (reader, writer) = link.into_split();
    let mut words = listen(reader);
    let drain = estate.shared.in_force.load().config.server.drain_timeout;
    let mut export = TopicExport::new(writer, OVERLAP.min(drain / 10));
    hear(&mut words, |word| matches!(word, Up::Ready).then_some(())).await?;

    // A version with another layout of topics begins anew: clients get a reported gap.
    let Exports { begun, mut coming } = estate.shared.hub.export();
    let topics = match windows {
        WINDOWS => begun,
        _ => Vec::new(),
    };
    let told = topics.len();
    for topic in topics {
        export.begin(topic).await?;
    }
    export.say(&Down::Told).await?;
    loop {
        tokio::select! {
            Some(topic) = coming.next() => if windows == WINDOWS {
                export.begin(topic).await?;
            },
            word = words.recv() => match word {
                Some(Up::Settled) => break,
                Some(word) => export.heed(&word),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            },
        }
    }
    estate.shared.hub.close();
    while let Some(topic) = coming.waiting() {
        if windows == WINDOWS {
            export.begin(topic).await?;
        }
    }
    let rollouts = estate.controller.leave()?;
    export.say(&Down::Go { rollouts }).await?;
    let taken = hear(&mut words, |word| match word {
        Up::Serving { topics } => Some(topics.unwrap_or(told)),
        _ => None,
    });
    let taken = taken.await?;
    // The service manager must know the new one before that speaks to it.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::MainPid(pid)]);
    // It serves whether or not it hears this.
    let _ = export.say(&Down::Known).await;
    if windows == WINDOWS {
        export.tell_sessions(estate.shared.sessions.clone());
    }
    Ok(Successor {
        upgraded: Upgraded {
            pid,
            version,
            topics: taken,
        },
        export,
        words,
        is_hurried: false,
    })
}

async fn give_sockets(link: &mut UnixStream, estate: &ParentState<'_>) -> io::Result<()> {
    let listeners = estate.given.iter().map(|given| ListenerInfo {
        key: given.key.clone(),
        address: given.address.clone(),
        is_lent: given.is_lent,
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

/// What the other process says, until it is gone.
fn listen(mut reader: OwnedReadHalf) -> mpsc::Receiver<Up> {
    let (heard, words) = mpsc::channel(WORDS);
    tokio::spawn(async move {
        while let Ok(word) = receive(&mut reader).await
            && heard.send(word).await.is_ok()
        {}
    });
    words
}

async fn hear<T>(words: &mut mpsc::Receiver<Up>, find: impl Fn(&Up) -> Option<T>) -> io::Result<T> {
    loop {
        let word = words.recv().await;
        let word = word.ok_or(io::ErrorKind::UnexpectedEof)?;
        if let Some(found) = find(&word) {
            return Ok(found);
        }
    }
}
