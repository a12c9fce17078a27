//! Whether the client is still there, and how far away. Pure: the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// Control frames come at most this often, and this many at once.
const CONTROL_EVERY: Duration = Duration::from_millis(100);
const CONTROL_BURST: u32 = 10;

/// The most that a ping's round trip adds to a latency: when the answer comes is the client's to choose.
const ONE_WAY: Duration = Duration::from_millis(250);

/// Pings on their way, and what came back.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    next_ping: Instant,
    last_ping: Option<Instant>,
    /// The oldest ping since the client was last heard of.
    unanswered: Option<Instant>,
    /// Nanoseconds of [`Heartbeat::one_way`]; no more than [`ONE_WAY`] has.
    one_way: u32,
    /// Pings that were answered; it may wrap.
    answered: u32,
    /// When the client's allowance of control frames is full again.
    allowance_full: Instant,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// Nothing.
    No,
    /// A ping.
    Ping,
    /// The end: nothing came back in time.
    Lost,
}

impl Heartbeat {
    /// The first ping is due after a part of the interval: clients that came together need not be
    /// pinged together.
    pub(crate) fn new(now: Instant, interval: Duration, part: f64) -> Self {
        Heartbeat {
            next_ping: now + interval.mul_f64(part),
            last_ping: None,
            unanswered: None,
            one_way: 0,
            answered: 0,
            allowance_full: now,
        }
    }

    /// Any frame of the client counts as the answer.
    pub(crate) fn hear(&mut self) {
        self.unanswered = None;
    }

    /// The answer to the last ping.
    pub(crate) fn hear_pong(&mut self, now: Instant) {
        if let Some(sent) = self.last_ping.take() {
            self.one_way = ONE_WAY.min((now - sent) / 2).subsec_nanos();
            self.answered = self.answered.wrapping_add(1);
        }
    }

    /// Counts a control frame; false where there are too many.
    pub(crate) fn allows_control(&mut self, now: Instant) -> bool {
        let full = self.allowance_full.max(now) + CONTROL_EVERY;
        let allows = full - now <= CONTROL_EVERY * CONTROL_BURST;
        if allows {
            self.allowance_full = full;
        }
        allows
    }

    /// Half of the last ping's round trip, within bounds.
    pub(crate) fn one_way(&self) -> Duration {
        Duration::from_nanos(self.one_way.into())
    }

    /// How many pings were answered; it may wrap.
    pub(crate) fn answered(&self) -> u32 {
        self.answered
    }

    /// What is due now; a ping counts as sent.
    pub(crate) fn beat(&mut self, now: Instant, interval: Duration, timeout: Duration) -> Beat {
        if self.unanswered.is_some_and(|sent| now >= sent + timeout) {
            return Beat::Lost;
        }
        if now < self.next_ping {
            return Beat::No;
        }
        self.next_ping = now + interval;
        self.last_ping = Some(now);
        self.unanswered.get_or_insert(now);
        Beat::Ping
    }

    /// When a client that stays silent from now on counts as lost.
    pub(crate) fn lost_at(&self, timeout: Duration) -> Instant {
        self.unanswered.unwrap_or(self.next_ping) + timeout
    }

    /// When to ask again.
    pub(crate) fn deadline(&self, timeout: Duration) -> Instant {
        match self.unanswered {
            Some(sent) => self.next_ping.min(sent + timeout),
            None => self.next_ping,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(25);
    const TIMEOUT: Duration = Duration::from_secs(20);

    #[test]
    fn silence_after_a_ping_is_the_end() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start, INTERVAL, 1.0);
        assert_eq!(heartbeat.deadline(TIMEOUT), start + INTERVAL);
        assert_eq!(heartbeat.beat(start, INTERVAL, TIMEOUT), Beat::No);
        assert_eq!(heartbeat.lost_at(TIMEOUT), start + INTERVAL + TIMEOUT);
        let pinged = start + INTERVAL;
        assert_eq!(heartbeat.beat(pinged, INTERVAL, TIMEOUT), Beat::Ping);
        let due = pinged + TIMEOUT;
        assert_eq!(heartbeat.deadline(TIMEOUT), due);
        assert_eq!(heartbeat.beat(due, INTERVAL, TIMEOUT), Beat::Lost);
    }

    #[test]
    fn any_frame_is_an_answer_and_a_pong_tells_the_distance() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start, INTERVAL, 0.0);
        assert_eq!(heartbeat.beat(start, INTERVAL, TIMEOUT), Beat::Ping);
        heartbeat.hear();
        heartbeat.hear_pong(start + Duration::from_millis(80));
        assert_eq!(heartbeat.one_way(), Duration::from_millis(40));
        let later = start + TIMEOUT;
        assert_eq!(heartbeat.beat(later, INTERVAL, TIMEOUT), Beat::No);
    }

    #[test]
    fn a_pong_that_is_held_back_counts_for_so_much() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start, INTERVAL, 0.0);
        assert_eq!(heartbeat.beat(start, INTERVAL, TIMEOUT), Beat::Ping);
        heartbeat.hear_pong(start + TIMEOUT);
        assert_eq!(heartbeat.one_way(), Duration::from_millis(250));
    }

    #[test]
    fn timeout_above_the_interval_counts_from_the_first_ping() {
        let start = Instant::now();
        let long = INTERVAL * 3;
        let mut heartbeat = Heartbeat::new(start, INTERVAL, 0.0);
        for turn in 0..3 {
            let now = start + INTERVAL * turn;
            assert_eq!(heartbeat.beat(now, INTERVAL, long), Beat::Ping);
        }
        assert_eq!(heartbeat.beat(start + long, INTERVAL, long), Beat::Lost);
    }

    #[test]
    fn control_frames_have_a_rate() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start, INTERVAL, 1.0);
        for _ in 0..10 {
            assert!(heartbeat.allows_control(start));
        }
        assert!(!heartbeat.allows_control(start));
        let later = start + CONTROL_EVERY;
        assert!(heartbeat.allows_control(later));
        assert!(!heartbeat.allows_control(later));
    }
}
