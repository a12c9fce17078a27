//! How long a client may take for what it sends.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::clock::Clock;
use crate::config::Limits;
use crate::edge::hygiene::scan::Place;

/// How long an unused connection is kept.
pub const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Over how much time of waiting the rate of a body is measured.
const WINDOW: Duration = Duration::from_secs(10);

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The next request.
    Unused,
    /// A head.
    Head,
    /// A body, or the next piece of it.
    Body,
}

/// The clocks of a connection's reading half.
#[derive(Debug)]
pub struct Patience {
    head: Duration,
    body_idle: Duration,
    body_rate: u64,
    clock: Clock,
    place: Place,
    /// Since when bytes stand in this place.
    since: Instant,
    /// The last sign of use.
    used: Instant,
    /// Since when the next piece of a body is waited for. Only waiting counts: a backend that
    /// takes its time is not the client's fault.
    waiting: Option<Instant>,
    window: Window,
}

/// Waiting and bytes since the rate was looked at last.
#[derive(Debug, Default)]
struct Window {
    waited: Duration,
    bytes: u64,
}

impl Patience {
    pub fn new(limits: &Limits) -> Self {
        let now = Instant::now();
        Patience {
            head: limits.header_timeout,
            body_idle: limits.body_idle_timeout,
            body_rate: limits.body_min_rate,
            clock: Clock::default(),
            place: Place::Between,
            since: now,
            used: now,
            waiting: None,
            window: Window::default(),
        }
    }

    /// The first byte of the connection came then.
    pub fn begun(&mut self, since: Instant) {
        self.place = Place::Head;
        self.since = since;
    }

    /// Bytes came; they end in this place. `anew` says that they went through others before.
    pub fn moved(&mut self, place: Place, anew: bool, bytes: usize) {
        let now = Instant::now();
        self.used = now;
        if anew || place != self.place {
            self.place = place;
            self.since = now;
            self.window = Window::default();
            self.waiting = None;
            return;
        }
        if let Some(since) = self.waiting.take() {
            self.window.waited += now - since;
        }
        self.window.bytes = self.window.bytes.saturating_add(bytes as u64);
    }

    /// Bytes went the other way.
    pub fn wrote(&mut self) {
        self.used = Instant::now();
    }

    /// Called while nothing comes; ready once that has taken too long.
    pub fn poll(&mut self, place: Place, is_busy: bool, cx: &mut Context<'_>) -> Poll<Verdict> {
        match place {
            Place::Head => {
                let deadline = self.since + self.head;
                ready!(self.clock.poll_until(deadline, cx));
                Poll::Ready(Verdict::Head)
            }
            Place::Body => self.poll_body(cx),
            Place::Between => loop {
                ready!(self.clock.poll_until(self.used + KEEP_ALIVE, cx));
                if !is_busy {
                    return Poll::Ready(Verdict::Unused);
                }
                self.used = Instant::now();
            },
            Place::Paused | Place::Failed => Poll::Pending,
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Verdict> {
        loop {
            let since = *self.waiting.get_or_insert_with(Instant::now);
            let rate_is_due = since + WINDOW.saturating_sub(self.window.waited);
            let deadline = rate_is_due.min(since + self.body_idle);
            ready!(self.clock.poll_until(deadline, cx));
            let enough = self.body_rate.saturating_mul(WINDOW.as_secs());
            if deadline < rate_is_due || self.window.bytes < enough {
                return Poll::Ready(Verdict::Body);
            }
            self.window = Window::default();
            self.waiting = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn patience() -> Patience {
        Patience::new(&Limits {
            response_headers: 200,
            connections: 1,
            connections_per_ip: None,
            handshakes: None,
            header_bytes: 1024,
            headers: 10,
            header_timeout: Duration::from_secs(5),
            body_idle_timeout: Duration::from_secs(30),
            body_min_rate: 100,
            memory: 0,
            topics: 1,
            topics_per_principal: 1,
        })
    }

    /// After how many seconds it runs out, when `bytes` come every second.
    async fn runs_out(patience: &mut Patience, place: Place, is_busy: bool, bytes: usize) -> u64 {
        let begun = Instant::now();
        for second in 1..200 {
            let next = begun + Duration::from_secs(second);
            let verdict = poll_fn(|cx| patience.poll(place, is_busy, cx));
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
        patience.moved(Place::Head, false, 1);
        assert_eq!(runs_out(&mut patience, Place::Head, false, 1).await, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_cut_and_one_that_flows_is_not() {
        let mut slow = patience();
        slow.moved(Place::Body, false, 1);
        assert_eq!(runs_out(&mut slow, Place::Body, true, 99).await, 10);
        let mut fine = patience();
        fine.moved(Place::Body, false, 1);
        assert_eq!(runs_out(&mut fine, Place::Body, true, 120).await, 199);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unused_connection_ends_and_a_busy_one_does_not() {
        let mut idle = patience();
        assert_eq!(runs_out(&mut idle, Place::Between, false, 0).await, 60);
        let mut busy = patience();
        assert_eq!(runs_out(&mut busy, Place::Between, true, 0).await, 199);
    }
}
