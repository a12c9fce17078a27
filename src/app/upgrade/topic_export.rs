//! Exports topics to another process, one task for each: what was published, how it stands, and that it is released.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::channel::frame;
use super::message::{Down, Up};
use crate::hub::replication::{Export, Refresher, ReplicationMessage};
use crate::session::registry::Sessions;

/// Frames that may wait for the other process; each holds one topic's message.
const FRAMES: usize = 16;

/// All topics that another process follows. Dropping it ends the export.
pub(crate) struct TopicExport {
    say: Option<mpsc::Sender<Vec<u8>>>,
    /// Takes what is said to the other process.
    speaker: JoinHandle<()>,
    followed: HashMap<u64, Followed>,
    /// Turns true when the other process serves: a topic without subscribers here may be let go.
    is_departed: watch::Sender<bool>,
    tasks: JoinSet<()>,
    /// How long two processes read a stream that cannot be resumed.
    overlap: Duration,
}

/// One of them.
struct Followed {
    /// Notified when the other process reads it too.
    taken: Arc<Notify>,
    refresher: Refresher,
}

impl TopicExport {
    /// Nothing is exported yet.
    pub(crate) fn new(link: OwnedWriteHalf, overlap: Duration) -> Self {
        let (say, said) = mpsc::channel(FRAMES);
        TopicExport {
            say: Some(say),
            speaker: tokio::spawn(speak(link, said)),
            followed: HashMap::new(),
            is_departed: watch::Sender::new(false),
            tasks: JoinSet::new(),
            overlap,
        }
    }

    /// Says one thing.
    ///
    /// # Errors
    /// The other process is gone.
    pub(crate) async fn say(&self, what: &Down) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let say = self.say.as_ref().ok_or_else(gone)?;
        say.send(frame(what)?).await.map_err(|_| gone())
    }

    /// Exports a topic: what there is, at once, and then whatever comes.
    ///
    /// # Errors
    /// The other process is gone.
    pub(crate) async fn begin(&mut self, export: Export) -> io::Result<()> {
        let topic = self.followed.len() as u64;
        let (Some(say), Some(begin)) = (self.say.clone(), export.begin()) else {
            return Ok(());
        };
        let followed = Followed {
            taken: Arc::default(),
            refresher: export.refresher(),
        };
        let mut exporting = Exporting {
            topic,
            export,
            say,
            taken: followed.taken.clone(),
            is_departed: self.is_departed.subscribe(),
            overlap: self.overlap,
        };
        // Its number is its own, also where nothing follows.
        self.followed.insert(topic, followed);
        exporting.tell(begin).await?;
        if !exporting.tell_messages().await? {
            return Ok(());
        }
        // A finished topic is sent to its end before others with the same key are begun.
        if exporting.export.is_over() {
            return exporting.tell(exporting.export.last()).await;
        }
        self.tasks.spawn(async move {
            // Fails only where the other process is gone: then there is nothing left to send.
            let _ = exporting.go_on().await;
        });
        Ok(())
    }

    /// Tells of the sessions that end, until none is left: their clients may come back to the other process.
    pub(crate) fn tell_sessions(&mut self, sessions: Sessions) {
        let Some(say) = self.say.clone() else {
            return;
        };
        let mut left = sessions.export_left();
        self.tasks.spawn(async move {
            let are_gone = async {
                sessions.gone().await;
                sessions.keep_left();
            };
            let tell = async {
                while let Some(session) = left.recv().await {
                    let frame = frame(&Down::Session(session)).ok();
                    // Fails only where the other process is gone, as above.
                    let Some(frame) = frame else { continue };
                    if say.send(frame).await.is_err() {
                        return;
                    }
                }
            };
            tokio::join!(are_gone, tell);
        });
    }

    /// Does what the other process wants.
    pub(crate) fn heed(&self, word: &Up) {
        match word {
            Up::Taken { topic } => {
                if let Some(followed) = self.followed.get(topic) {
                    followed.taken.notify_one();
                }
            }
            Up::Refresh { topic } => {
                if let Some(followed) = self.followed.get(topic) {
                    followed.refresher.refresh();
                }
            }
            _ => {}
        }
    }

    /// The other process serves.
    pub(crate) fn depart(&mut self) {
        self.is_departed.send_replace(true);
        // With the last task the way is closed, and the other process knows that it has everything.
        self.say = None;
    }

    /// Resolves when every topic is sent to its end, and the last frame has left this process.
    pub(crate) async fn is_over(&mut self) {
        while self.tasks.join_next().await.is_some() {}
        // It ends with the last sender.
        let _ = (&mut self.speaker).await;
    }
}

/// Writes frames to the other process, until the last sender is gone.
async fn speak(mut link: OwnedWriteHalf, mut said: mpsc::Receiver<Vec<u8>>) {
    while let Some(frame) = said.recv().await {
        if link.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// Exports one topic.
struct Exporting {
    topic: u64,
    export: Export,
    say: mpsc::Sender<Vec<u8>>,
    taken: Arc<Notify>,
    is_departed: watch::Receiver<bool>,
    overlap: Duration,
}

impl Exporting {
    async fn go_on(mut self) -> io::Result<()> {
        let mut overlaps = false;
        // An event reaches two readers at two instants: what came here too late for us must come in time for the other one.
        let mut both_read_until = None;
        loop {
            // Asked first: what comes after the last message would not be sent.
            let is_over = self.export.is_over();
            if !self.tell_messages().await? {
                return Ok(());
            }
            if is_over {
                let last = self.export.last();
                return self.tell(last).await;
            }
            if *self.is_departed.borrow_and_update() && self.export.is_deserted() {
                let is_taken = both_read_until.is_some_and(|until| until <= Instant::now());
                if is_taken || !(overlaps || self.export.needs_overlap()) {
                    self.export.let_go();
                    continue;
                }
                if !std::mem::replace(&mut overlaps, true) {
                    self.tell(ReplicationMessage::Overlap).await?;
                }
            }
            let taken = self.taken.clone();
            let now = Instant::now();
            // A subscriber that has come back meanwhile is waited for without a clock.
            let until = both_read_until.filter(|until| *until > now);
            tokio::select! {
                () = self.export.rung() => {}
                changed = self.is_departed.changed() => if changed.is_err() {
                    return Ok(());
                },
                () = taken.notified(), if overlaps && both_read_until.is_none() => {
                    both_read_until = Some(Instant::now() + self.overlap);
                }
                () = sleep_until(until.unwrap_or(now)), if until.is_some() => {}
            }
        }
    }

    /// False where there is more than fits into a frame: then the topic is the other process's no longer, and begins anew there.
    async fn tell_messages(&mut self) -> io::Result<bool> {
        for message in self.export.messages() {
            match self.tell(message).await {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    self.tell(Export::failure()).await?;
                    return Ok(false);
                }
                told => told?,
            }
        }
        Ok(true)
    }

    async fn tell(&self, news: ReplicationMessage) -> io::Result<()> {
        let topic = self.topic;
        let frame = frame(&Down::Topic { topic, news })?;
        let said = self.say.send(frame).await;
        said.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
