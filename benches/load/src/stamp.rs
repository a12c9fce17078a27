//! When an event was due, carried inside the event, so that every delivery can be timed.

use std::sync::LazyLock;
use std::time::Instant;

use memchr::memmem::Finder;

/// The time that all threads of this process share. Stamps are microseconds since its start.
#[derive(Clone, Copy)]
pub struct Clock(Instant);

/// What an event carries: when it was due, and its number among those of its publisher.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stamp {
    pub at_us: u64,
    pub number: u64,
}

/// Added to both numbers of a stamp, so that each has always as many digits.
const BASE: u64 = 1_000_000_000_000;
const DIGITS: usize = 13;
const KEY: &[u8] = b"\"at_us\":";
const SECOND_KEY: &[u8] = b",\"n\":";

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY));

impl Clock {
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    pub fn now_us(self) -> u64 {
        self.to_us(Instant::now())
    }

    pub fn to_us(self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.0).as_micros()).unwrap_or(u64::MAX)
    }
}

impl Stamp {
    /// A JSON object of exactly `size` bytes (of the least possible size where that is more). Filters may ask for its `kind`.
    pub fn to_json(self, size: usize) -> String {
        let mut json = format!(
            "{{\"at_us\":{},\"n\":{},\"kind\":\"a\",\"pad\":\"",
            BASE + self.at_us,
            BASE + self.number
        );
        let pad = size.saturating_sub(json.len() + 2);
        json.extend(std::iter::repeat_n('x', pad));
        json.push_str("\"}");
        json
    }

    /// The first stamp anywhere in `bytes`, whatever it is wrapped in.
    pub fn find(bytes: &[u8]) -> Option<Stamp> {
        let at = FINDER.find(bytes)? + KEY.len();
        let second = at + DIGITS + SECOND_KEY.len();
        Some(Stamp {
            at_us: digits(bytes.get(at..at + DIGITS)?)?.checked_sub(BASE)?,
            number: digits(bytes.get(second..second + DIGITS)?)?.checked_sub(BASE)?,
        })
    }
}

fn digits(bytes: &[u8]) -> Option<u64> {
    bytes.iter().try_fold(0, |sum, byte| {
        byte.is_ascii_digit()
            .then(|| sum * 10 + u64::from(byte - b'0'))
    })
}

/// Age times time, in µs², of a document that was shown between two instants.
pub fn age_area(shown: Option<Stamp>, since_us: u64, until_us: u64) -> f64 {
    let Some(stamp) = shown else { return 0.0 };
    let age = |at_us: u64| at_us.saturating_sub(stamp.at_us) as f64;
    (age(until_us).powi(2) - age(since_us).powi(2)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_any_wrapping() {
        let stamp = Stamp {
            at_us: 12_345_678,
            number: 42,
        };
        let json = stamp.to_json(200);
        assert_eq!(json.len(), 200);
        assert_eq!(
            Stamp::find(format!("42[\"ev\",{json}]").as_bytes()),
            Some(stamp)
        );
        assert_eq!(Stamp::find(&json.as_bytes()[..30]), None);
    }

    #[test]
    fn a_document_shown_from_its_birth_is_half_its_time_old() {
        let stamp = Some(Stamp {
            at_us: 1000,
            number: 0,
        });
        let mean = age_area(stamp, 1000, 2000) / 1000.0;
        assert!((mean - 500.0).abs() < f64::EPSILON);
        let later = age_area(stamp, 2000, 3000) / 1000.0;
        assert!((later - 1500.0).abs() < f64::EPSILON);
    }
}
