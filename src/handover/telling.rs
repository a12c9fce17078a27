//! Telling another process of topics, one task for each: what was published, how it stands, and that it is theirs.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::link::frame;
use super::message::{Down, Up};
use crate::hub::carried::News;
use crate::hub::{Mirror, Refresher};

/// Frames that may wait for the other process; each is what one topic has to tell.
const FRAMES: usize = 16;

/// All topics that another process is told of. Dropping it ends the telling.
pub struct Telling {
    say: Option<mpsc::Sender<Vec<u8>>>,
    /// Takes what is said to the other process.
    speaker: JoinHandle<()>,
    told: HashMap<u64, Told>,
    /// Turns true when the other process serves: who has no subscriber left here may be let go.
    is_departed: watch::Sender<bool>,
    tasks: JoinSet<()>,
    /// How long two processes read a stream that cannot be resumed.
    overlap: Duration,
}

/// One of them.
struct Told {
    /// Rung when the other process reads it too.
    taken: Arc<Notify>,
    refresher: Refresher,
}

impl Telling {
    /// Nothing is told yet.
    pub fn new(link: OwnedWriteHalf, overlap: Duration) -> Self {
        let (say, said) = mpsc::channel(FRAMES);
        Telling {
            say: Some(say),
            speaker: tokio::spawn(speak(link, said)),
            told: HashMap::new(),
            is_departed: watch::Sender::new(false),
            tasks: JoinSet::new(),
            overlap,
        }
    }

    /// Says one thing.
    ///
    /// # Errors
    /// The other process is gone.
    pub async fn say(&self, what: &Down) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let say = self.say.as_ref().ok_or_else(gone)?;
        say.send(frame(what)?).await.map_err(|_| gone())
    }

    /// Tells of a topic: what there is, at once, and then whatever comes.
    ///
    /// # Errors
    /// The other process is gone.
    pub async fn begin(&mut self, mirror: Mirror) -> io::Result<()> {
        let topic = self.told.len() as u64;
        let (Some(say), Some(introduction)) = (self.say.clone(), mirror.introduction()) else {
            return Ok(());
        };
        let told = Told {
            taken: Arc::default(),
            refresher: mirror.refresher(),
        };
        let mut voice = Voice {
            topic,
            mirror,
            say,
            taken: told.taken.clone(),
            is_departed: self.is_departed.subscribe(),
            overlap: self.overlap,
        };
        // Its number is its own, also where nothing follows.
        self.told.insert(topic, told);
        voice.tell(introduction).await?;
        if !voice.tell_news().await? {
            return Ok(());
        }
        // What is over is told to its end before others with the same key are begun.
        if voice.mirror.is_over() {
            return voice.tell(voice.mirror.farewell()).await;
        }
        self.tasks.spawn(async move {
            // An end of the way means an end of the other process: nobody is left to be told.
            let _ = voice.go_on().await;
        });
        Ok(())
    }

    /// Does what the other process wants.
    pub fn heed(&self, word: &Up) {
        match word {
            Up::Taken { topic } => {
                if let Some(told) = self.told.get(topic) {
                    told.taken.notify_one();
                }
            }
            Up::Refresh { topic } => {
                if let Some(told) = self.told.get(topic) {
                    told.refresher.refresh();
                }
            }
            _ => {}
        }
    }

    /// The other process serves.
    pub fn depart(&mut self) {
        self.is_departed.send_replace(true);
        // With the last task the way is closed, and the other process knows that it has everything.
        self.say = None;
    }

    /// Resolves when every topic is told to its end, and the last word has left this process.
    pub async fn is_over(&mut self) {
        while self.tasks.join_next().await.is_some() {}
        // It ends with the last who has something to say.
        let _ = (&mut self.speaker).await;
    }
}

/// Takes frames to the other process, until nobody has anything to say any more.
async fn speak(mut link: OwnedWriteHalf, mut said: mpsc::Receiver<Vec<u8>>) {
    while let Some(frame) = said.recv().await {
        if link.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// Tells of one topic.
struct Voice {
    topic: u64,
    mirror: Mirror,
    say: mpsc::Sender<Vec<u8>>,
    taken: Arc<Notify>,
    is_departed: watch::Receiver<bool>,
    overlap: Duration,
}

impl Voice {
    async fn go_on(mut self) -> io::Result<()> {
        let mut overlaps = false;
        // An event reaches two readers at two instants: what came here too late for us must come in time for the other one.
        let mut both_read_until = None;
        loop {
            // Asked first: what comes after the last word would not be told.
            let is_over = self.mirror.is_over();
            if !self.tell_news().await? {
                return Ok(());
            }
            if is_over {
                let farewell = self.mirror.farewell();
                return self.tell(farewell).await;
            }
            if *self.is_departed.borrow_and_update() && self.mirror.is_deserted() {
                let is_taken = both_read_until.is_some_and(|until| until <= Instant::now());
                if is_taken || !(overlaps || self.mirror.needs_overlap()) {
                    self.mirror.let_go();
                    continue;
                }
                if !std::mem::replace(&mut overlaps, true) {
                    self.tell(News::Overlap).await?;
                }
            }
            let taken = self.taken.clone();
            let now = Instant::now();
            // Who has come back meanwhile is waited for without a clock.
            let until = both_read_until.filter(|until| *until > now);
            tokio::select! {
                () = self.mirror.rung() => {}
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
    async fn tell_news(&mut self) -> io::Result<bool> {
        for news in self.mirror.news() {
            match self.tell(news).await {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    self.tell(Mirror::abandonment()).await?;
                    return Ok(false);
                }
                told => told?,
            }
        }
        Ok(true)
    }

    async fn tell(&self, news: News) -> io::Result<()> {
        let topic = self.topic;
        let frame = frame(&Down::Topic { topic, news })?;
        let said = self.say.send(frame).await;
        said.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
