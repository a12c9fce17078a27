//! What the demonstration's legacy backend knows: a handful of caption jobs that move on.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::watch;

/// Between two changes.
const STEP: Duration = Duration::from_millis(400);
/// Changes whose time the document holds, so that a rare reader knows what it missed.
const RECENT: usize = 8;

const TITLES: [&str; 6] = [
    "Harbour at dawn, episode 4",
    "Annual meeting, keynote",
    "Glaciers: a field diary",
    "Night train to Lisbon",
    "How bread is made",
    "City council, public part",
];

/// The list as one finished answer.
#[derive(Clone, Debug)]
pub(crate) struct DemoSnapshot {
    /// Counts changes.
    pub(crate) version: u64,
    /// The JSON document; carries the newest changes' versions and times (Unix milliseconds) too.
    pub(crate) body: Bytes,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u64,
    /// Version and time, the oldest first.
    changes: &'a VecDeque<(u64, f64)>,
    jobs: &'a [Job],
}

#[derive(Clone, Serialize)]
struct Job {
    id: u32,
    title: &'static str,
    step: &'static str,
    percent: u32,
}

impl Job {
    fn advance(&mut self) {
        self.percent = if self.percent >= 100 {
            0
        } else {
            (self.percent + fastrand::u32(2..9)).min(100)
        };
        self.step = match self.percent {
            0 => "queued",
            1..40 => "transcribing",
            40..80 => "aligning",
            80..100 => "rendering",
            _ => "done",
        };
    }
}

/// Moves the jobs on until no receiver is left.
pub(crate) fn start() -> watch::Receiver<DemoSnapshot> {
    let mut jobs: Vec<Job> = (1u32..)
        .zip(TITLES)
        .map(|(id, title)| Job {
            id,
            title,
            step: "transcribing",
            percent: (id * 37) % 90,
        })
        .collect();
    let mut changes = VecDeque::from([(1, now_ms())]);
    let (sender, receiver) = watch::channel(snapshot(1, &changes, &jobs));
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(STEP);
        for version in 2.. {
            ticks.tick().await;
            let chosen = fastrand::usize(..jobs.len());
            jobs[chosen].advance();
            changes.push_back((version, now_ms()));
            if changes.len() > RECENT {
                changes.pop_front();
            }
            if sender.send(snapshot(version, &changes, &jobs)).is_err() {
                return;
            }
        }
    });
    receiver
}

fn snapshot(version: u64, changes: &VecDeque<(u64, f64)>, jobs: &[Job]) -> DemoSnapshot {
    let document = Document {
        version,
        changes,
        jobs,
    };
    let body = serde_json::to_vec(&document).unwrap_or_default().into();
    DemoSnapshot { version, body }
}

/// Unix time in milliseconds, with fractions.
pub(crate) fn now_ms() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
        * 1000.0
}
