//! How long a client may take for what it sends.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Limits;
use crate::http::parser::ScanPlace;
use crate::server::lazy_timer::Clock;

/// How long an unused connection is kept.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Over how much time of waiting the rate of a body is measured.
const WINDOW: Duration = Duration::from_secs(10);
/// Silence above this says nothing about a rate: how long it may last is `body_idle_timeout`'s to say.
const PAUSE: Duration = Duration::from_secs(5);

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadVerdict {
    /// The next request.
    Unused,
    /// A head.
    Head,
    /// A body, or the next piece of it.
    Body,
}

/// The clocks of a connection's reading half.
#[derive(Debug)]
pub(crate) struct ReadTimeout {
    head: Duration,
    body_idle: Option<Duration>,
    /// Bytes that make a window's rate.
    enough: u64,
    clock: Clock,
    place: ScanPlace,
    /// Since when bytes stand in this place.
    since: Instant,
    /// The last sign of use.
    used: Instant,
    /// Since when the next piece of a body is waited for. Only waiting counts: a backend that
    /// takes its time is not the client's fault.
    waiting: Option<Instant>,
    window: Window,
    is_too_slow: bool,
}

/// Waiting and bytes since the rate was looked at last.
#[derive(Debug, Default)]
struct Window {
    waited: Duration,
    bytes: u64,
}

impl ReadTimeout {
    pub(crate) fn new(limits: &Limits) -> Self {
        let now = Instant::now();
        ReadTimeout {
            head: limits.header_timeout,
            body_idle: limits.body_idle_timeout,
            enough: limits.body_min_rate.saturating_mul(WINDOW.as_secs()),
            clock: Clock::default(),
            place: ScanPlace::Between,
            since: now,
            used: now,
            waiting: None,
            window: Window::default(),
            is_too_slow: false,
        }
    }

    /// The first byte of the connection came then.
    pub(crate) fn begun(&mut self, since: Instant) {
        self.place = ScanPlace::Head;
        self.since = since;
    }

    /// Bytes came; they end in this place. `anew` says that they went through others before.
    pub(crate) fn moved(&mut self, place: ScanPlace, anew: bool, bytes: usize) {
        let now = Instant::now();
        self.used = now;
        if anew || place != self.place {
            self.place = place;
            self.since = now;
            self.window = Window::default();
            self.waiting = None;
            self.is_too_slow = false;
            return;
        }
        let waited = self.waiting.take().map(|since| now - since);
        self.window.waited += waited.filter(|pause| *pause <= PAUSE).unwrap_or_default();
        self.window.bytes = self.window.bytes.saturating_add(bytes as u64);
        if self.window.waited >= WINDOW {
            self.is_too_slow |= self.window.bytes < self.enough;
            self.window = Window::default();
        }
    }

    /// Bytes went the other way.
    pub(crate) fn wrote(&mut self) {
        self.used = Instant::now();
    }

    /// Called while nothing comes; ready once that has taken too long. `answered` says when something of the answer was sent
    /// last, once its head is out: then neither side need send for the other to be heard.
    pub(crate) fn poll(
        &mut self,
        place: ScanPlace,
        is_busy: bool,
        answered: Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Poll<ReadVerdict> {
        match place {
            ScanPlace::Head => {
                let deadline = self.since + self.head;
                ready!(self.clock.poll_until(deadline, cx));
                Poll::Ready(ReadVerdict::Head)
            }
            ScanPlace::Body => self.poll_body(answered, cx),
            ScanPlace::Between => loop {
                ready!(self.clock.poll_until(self.used + KEEP_ALIVE, cx));
                if !is_busy {
                    return Poll::Ready(ReadVerdict::Unused);
                }
                self.used = Instant::now();
            },
            ScanPlace::Paused | ScanPlace::Failed => Poll::Pending,
        }
    }

    fn poll_body(&mut self, answered: Option<Instant>, cx: &mut Context<'_>) -> Poll<ReadVerdict> {
        let since = *self.waiting.get_or_insert_with(Instant::now);
        if self.is_too_slow && answered.is_none() {
            return Poll::Ready(ReadVerdict::Body);
        }
        let Some(idle) = self.body_idle else {
            return Poll::Pending;
        };
        let since = answered.map_or(since, |answered| answered.max(since));
        ready!(self.clock.poll_until(since + idle, cx));
        Poll::Ready(ReadVerdict::Body)
    }

    /// The last sign of use, in either direction.
    pub(crate) fn used(&self) -> Instant {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn patience() -> ReadTimeout {
        ReadTimeout::new(&Limits {
            response_headers: 200,
            connections: 1,
            connections_per_ip: None,
            handshakes: None,
            header_bytes: 1024,
            headers: 10,
            header_timeout: Duration::from_secs(5),
            body_idle_timeout: Some(Duration::from_secs(30)),
            body_min_rate: 100,
            memory: 0,
            topics: 1,
            topics_per_principal: 1,
        })
    }

    /// After how many seconds it runs out, when `bytes` come every second.
    async fn runs_out(
        patience: &mut ReadTimeout,
        place: ScanPlace,
        is_busy: bool,
        bytes: usize,
    ) -> u64 {
        let begun = Instant::now();
        for second in 1..200 {
            let next = begun + Duration::from_secs(second);
            let verdict = poll_fn(|cx| patience.poll(place, is_busy, None, cx));
            if tokio::time::timeout_at(next, verdict).await.is_ok() {
                break;
            }
            if bytes > 0 {
                patience.moved(place, false, bytes);
            }
        }
        begun.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_time_however_it_drips() {
        let mut patience = patience();
        patience.moved(ScanPlace::Head, false, 1);
        assert_eq!(runs_out(&mut patience, ScanPlace::Head, false, 1).await, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_cut_and_one_that_flows_is_not() {
        let mut slow = patience();
        slow.moved(ScanPlace::Body, false, 1);
        assert_eq!(runs_out(&mut slow, ScanPlace::Body, true, 99).await, 10);
        let mut fine = patience();
        fine.moved(ScanPlace::Body, false, 1);
        assert_eq!(runs_out(&mut fine, ScanPlace::Body, true, 120).await, 199);
    }

    /// After how many seconds a body runs out of which a piece comes every `every` seconds, of an exchange whose answer sends
    /// something as often as `answering` says, once its head is out; 300 where it does not.
    async fn body_runs_out(
        mut patience: ReadTimeout,
        every: u64,
        bytes: usize,
        answering: Option<u64>,
    ) -> u64 {
        let begun = Instant::now();
        patience.moved(ScanPlace::Body, false, 1);
        for second in 1..300 {
            let next = begun + Duration::from_secs(second);
            let answered = answering.map(|every| {
                let past = begun.elapsed().as_secs();
                begun + Duration::from_secs(past - past % every)
            });
            let verdict = poll_fn(|cx| patience.poll(ScanPlace::Body, true, answered, cx));
            if tokio::time::timeout_at(next, verdict).await.is_ok() {
                return begun.elapsed().as_secs();
            }
            if second % every == 0 {
                patience.moved(ScanPlace::Body, false, bytes);
            }
        }
        300
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_body_is_not_a_slow_one() {
        assert_eq!(body_runs_out(patience(), 1000, 0, None).await, 30);
        assert_eq!(body_runs_out(patience(), 29, 1, None).await, 300);
        assert_eq!(body_runs_out(patience(), 6, 1, None).await, 300);
        assert_eq!(body_runs_out(patience(), 5, 1, None).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn beside_an_answer_only_silence_of_both_sides_counts() {
        assert_eq!(body_runs_out(patience(), 1, 1, Some(1000)).await, 300);
        assert_eq!(body_runs_out(patience(), 1000, 0, Some(29)).await, 300);
        assert_eq!(body_runs_out(patience(), 1000, 0, Some(45)).await, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn none_is_none() {
        let endless = |idle: u64, rate| {
            let mut patience = patience();
            patience.body_idle = (idle > 0).then_some(Duration::from_secs(idle));
            patience.enough = rate * WINDOW.as_secs();
            patience
        };
        assert_eq!(body_runs_out(endless(0, 100), 1000, 0, None).await, 300);
        assert_eq!(body_runs_out(endless(0, 100), 1, 1, None).await, 10);
        assert_eq!(body_runs_out(endless(30, 0), 1, 1, None).await, 300);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unused_connection_ends_and_a_busy_one_does_not() {
        let mut idle = patience();
        assert_eq!(runs_out(&mut idle, ScanPlace::Between, false, 0).await, 60);
        let mut busy = patience();
        assert_eq!(runs_out(&mut busy, ScanPlace::Between, true, 0).await, 199);
    }
}
