//! What a `429` says of its limit, in fields. Pure.

use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER};

use super::Wait;
use crate::config::Rate;

/// `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers).
pub(crate) const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// `RateLimit` of the same draft.
pub(crate) const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// `Retry-After` is up to a fifth more than it has to be, so that clients do not all retry at once.
const JITTER: f64 = 0.2;

/// When to retry, the policy that refused, and that nothing of its quota is left. `chance` is in [0, 1).
pub(crate) fn fields(
    policy: &str,
    rate: &Rate,
    wait: &Wait,
    chance: f64,
) -> [(HeaderName, HeaderValue); 3] {
    let name = quoted(policy);
    let (quota, window) = (rate.count, seconds(rate.per));
    [
        (
            RETRY_AFTER,
            HeaderValue::from(retry_after(wait.time, chance)),
        ),
        (
            RATELIMIT_POLICY,
            value(format!("{name};q={quota};w={window}")),
        ),
        (
            RATELIMIT,
            value(format!("{name};r=0;t={}", seconds(wait.time))),
        ),
    ]
}

/// Whole seconds, at least one. `chance` is in [0, 1).
pub(crate) fn retry_after(wait: Duration, chance: f64) -> u64 {
    seconds(wait.saturating_add(wait.mul_f64(JITTER * chance.clamp(0.0, 1.0))))
}

/// Rounded up; there is nothing to wait for in less than a second.
fn seconds(time: Duration) -> u64 {
    let begun = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(begun).max(1)
}

/// A string of a structured field (RFC 9651). It has ASCII alone: of a name in other letters, question marks remain.
fn quoted(name: &str) -> String {
    let mut quoted = String::from('"');
    for letter in name.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            ' '..='~' => quoted.push(letter),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

/// Only visible ASCII and spaces are in it.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn texts(policy: &str, wait: f64, chance: f64) -> [String; 3] {
        let rate = Rate {
            count: NonZeroU32::new(20).unwrap(),
            per: Duration::from_secs(1),
            burst: NonZeroU32::new(40).unwrap(),
        };
        let wait = Wait {
            time: Duration::from_secs_f64(wait),
            is_in_vain: false,
        };
        fields(policy, &rate, &wait, chance).map(|(name, value)| {
            let value = value.to_str().unwrap();
            format!("{name}: {value}")
        })
    }

    #[test]
    fn a_429_says_when_to_come_back_and_what_the_limit_is() {
        assert_eq!(
            texts("api", 2.1, 0.0),
            [
                "retry-after: 3",
                "ratelimit-policy: \"api\";q=20;w=1",
                "ratelimit: \"api\";r=0;t=3",
            ]
        );
    }

    #[test]
    fn names_are_structured_strings_whatever_is_in_them() {
        let [_, policy, _] = texts("a\"b\\c é\r\n", 1.0, 0.0);
        assert_eq!(policy, r#"ratelimit-policy: "a\"b\\c ???";q=20;w=1"#);
    }

    #[test]
    fn seconds_are_whole_rounded_up_and_spread_over_a_fifth() {
        let cases = [
            (0.0, 0.0, 1),
            (0.04, 0.0, 1),
            (1.0, 0.0, 1),
            (1.0, 0.5, 2),
            (10.0, 0.0, 10),
            (10.0, 0.999, 12),
            (3600.0, 0.5, 3960),
        ];
        for (wait, chance, seconds) in cases {
            let wait = Duration::from_secs_f64(wait);
            assert_eq!(retry_after(wait, chance), seconds, "{wait:?} {chance}");
        }
        retry_after(Duration::from_secs(1 << 40), 1.0);
    }
}
