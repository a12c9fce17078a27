//! Log lines on their way to stderr. Its bound is [`ROOM`] bytes; what comes above is dropped, counted in
//! `log_lines_dropped_total`.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use prometheus::IntCounter;

/// Bytes that may wait while a write is under way.
const ROOM: usize = 1024 * 1024;

/// A queue of finished lines, and the thread that writes them.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Rung when there is something to write, or all of it is written.
    bell: Condvar,
    drops: OnceLock<IntCounter>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// The thread sleeps: nothing waits and no write is under way.
    is_idle: bool,
}

impl Queue {
    /// Starts the thread; it ends with the process.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(to: impl Write + Send + 'static) -> io::Result<Arc<Queue>> {
        let queue = Arc::new(Queue::default());
        let writer = queue.clone();
        thread::Builder::new()
            .name("log".into())
            .spawn(move || writer.write_all(to))?;
        Ok(queue)
    }

    /// Takes a line, or drops it where the queue is full. Never waits for a write.
    pub(crate) fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.waiting.len() + line.len() > ROOM {
            drop(state);
            return self.dropped(1);
        }
        state.waiting.extend_from_slice(line);
        if state.is_idle {
            self.bell.notify_all();
        }
    }

    /// Waits until everything so far is written or given up, at most so long.
    pub(crate) fn flush(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let mut state = self.lock();
        while !(state.is_idle && state.waiting.is_empty()) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.bell.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Counts here what is dropped; the first counter stays.
    pub(crate) fn count_drops(&self, counter: IntCounter) {
        // A second `Telemetry` over one log leaves the count with the first.
        let _ = self.drops.set(counter);
    }

    fn write_all(&self, mut to: impl Write) {
        let mut batch = Vec::new();
        loop {
            self.take(&mut batch);
            if to.write_all(&batch).is_err() {
                let lines = memchr::memchr_iter(b'\n', &batch).count();
                self.dropped(lines as u64);
            }
            batch.clear();
            // One burst does not hold its memory for ever.
            batch.shrink_to(ROOM / 16);
        }
    }

    /// Waits for lines, and takes all that are there.
    fn take(&self, batch: &mut Vec<u8>) {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            state.is_idle = true;
            self.bell.notify_all();
            state = self
                .bell
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.is_idle = false;
        std::mem::swap(&mut state.waiting, batch);
    }

    fn dropped(&self, lines: u64) {
        if let Some(drops) = self.drops.get() {
            drops.inc_by(lines);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A stderr that takes a write only when it is allowed to.
    struct Gate {
        allowed: mpsc::Receiver<io::Result<()>>,
        written: mpsc::SyncSender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let Ok(outcome) = self.allowed.recv() else {
                return Err(io::ErrorKind::BrokenPipe.into());
            };
            outcome?;
            self.written.send(bytes.to_vec()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct World {
        queue: Arc<Queue>,
        allow: mpsc::SyncSender<io::Result<()>>,
        written: mpsc::Receiver<Vec<u8>>,
        drops: IntCounter,
    }

    fn world() -> World {
        let (allow, allowed) = mpsc::sync_channel(8);
        let (sender, written) = mpsc::sync_channel(8);
        let gate = Gate {
            allowed,
            written: sender,
        };
        let queue = Queue::start(gate).unwrap();
        let drops = IntCounter::new("drops", "drops").unwrap();
        queue.count_drops(drops.clone());
        World {
            queue,
            allow,
            written,
            drops,
        }
    }

    #[test]
    fn a_reader_that_does_not_read_loses_lines_without_delay() {
        let world = world();
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        // The first may be in the thread's hands already, so twice the bound never fits.
        for _ in 0..2 * ROOM / line.len() + 2 {
            world.queue.push(&line);
        }
        assert!(world.drops.get() > 0);
        let kept = 2 * ROOM / line.len() + 2 - world.drops.get() as usize;
        let mut bytes = 0;
        while bytes < kept * line.len() {
            world.allow.send(Ok(())).unwrap();
            bytes += world.written.recv().unwrap().len();
        }
        assert_eq!(bytes, kept * line.len(), "whole lines only");
        world.queue.push(b"after\n");
        world.allow.send(Ok(())).unwrap();
        assert_eq!(world.written.recv().unwrap(), b"after\n");
    }

    #[test]
    fn what_a_full_disk_refuses_is_counted_by_lines() {
        let world = world();
        world.queue.push(b"held\n");
        world.allow.send(Ok(())).unwrap();
        assert_eq!(world.written.recv().unwrap(), b"held\n");
        world.queue.push(b"lost\n");
        let full = io::Error::from(io::ErrorKind::StorageFull);
        world.allow.send(Err(full)).unwrap();
        world.queue.flush(Duration::from_secs(20));
        assert_eq!(world.drops.get(), 1);
    }

    #[test]
    fn a_flush_waits_for_the_last_line_but_not_for_ever() {
        let world = world();
        world.queue.push(b"last\n");
        world.queue.flush(Duration::from_millis(20));
        assert!(world.written.try_recv().is_err());
        world.allow.send(Ok(())).unwrap();
        world.queue.flush(Duration::from_secs(20));
        assert_eq!(world.written.try_recv().unwrap(), b"last\n");
    }
}
