//! How long a credential holds for what outlives its check: sessions, tunnels, and answers that stream. Pure.
//!
//! [`look`] says what is due now, and [`hear`] what an authority's further answer comes to. Sessions, tunnels and answers run
//! both by their own clocks, and end what they carry in their own way.

use std::time::{Duration, Instant};

use super::error::AuthError;

/// How long before a token's end its client is notified.
const NOTICE: Duration = Duration::from_secs(30);

/// Between two requests to an authority that is out of reach.
pub(crate) const ASK_AGAIN: Duration = Duration::from_secs(5);

/// What waits for an answer is not looked at more often.
const SOON: Duration = Duration::from_millis(100);

/// A credential that something lives on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// An operator has revoked it, or its user.
    pub(crate) is_revoked: bool,
    /// Unix seconds at which it expires (`exp`).
    pub(crate) expires: Option<u64>,
    /// The same, clocks forgiven.
    pub(crate) ends: Option<u64>,
    /// The policy that let it in.
    pub(crate) policy: Policy,
    /// When its authority verified it last.
    pub(crate) vouched_at: Instant,
    /// How often the authority is asked again.
    pub(crate) recheck: Option<Duration>,
    /// The authority was out of reach, and is left alone until then.
    pub(crate) ask_at: Option<Instant>,
    /// It is being asked.
    pub(crate) is_asked: bool,
}

/// What a reload has made of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// It is what it was.
    Same,
    /// It is another under the same name.
    Changed,
    /// It is gone.
    Gone,
}

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing.
    Nothing,
    /// Its authority has to be asked again, past all caches.
    Recheck,
    /// What was presented has to be judged by the policy as it is now.
    Judge,
    /// It does not hold any longer.
    Over(AuthError),
}

/// What a look at a credential comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outlook {
    /// What is due now.
    pub(crate) due: Due,
    /// It expires soon, and its client is to know.
    pub(crate) expires_soon: bool,
    /// When to look again; `None` where no clock ends it.
    pub(crate) look_at: Option<Instant>,
}

/// An authority's further word, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    /// It speaks of the same subject.
    pub(crate) is_same_subject: bool,
    /// When it was given; as before where the authority was out of reach, which is forgiven for a while.
    pub(crate) vouched_at: Instant,
    /// How long that verdict is valid.
    pub(crate) good_for: Option<Duration>,
}

/// What a further answer comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The credential holds as it was answered; its authority is left alone until then, where it was out of reach.
    Holds(Option<Instant>),
    /// It holds as before, and is asked for again then.
    Unknown(Instant),
    /// It does not hold any longer.
    Over(AuthError),
}

/// Looks at a credential: `unix` is the clock on the wall.
pub(crate) fn look(held: &Held, now: Instant, unix: Duration) -> Outlook {
    let mut outlook = Outlook {
        due: Due::Nothing,
        expires_soon: false,
        look_at: None,
    };
    if held.is_revoked {
        outlook.due = Due::Over(AuthError::Revoked);
        return outlook;
    }
    if let (Some(expires), Some(ends)) = (held.expires, held.ends) {
        let (expires, ends) = (Duration::from_secs(expires), Duration::from_secs(ends));
        if unix >= ends {
            outlook.due = Due::Over(AuthError::Expired);
            return outlook;
        }
        let told = expires.saturating_sub(NOTICE);
        outlook.expires_soon = unix >= told;
        let next = if outlook.expires_soon { ends } else { told };
        // What lies beyond all clocks is never reached.
        outlook.look_at = now.checked_add(next - unix);
    }
    let (due, then) = match (held.policy, held.recheck) {
        (Policy::Gone, _) => {
            outlook.due = Due::Over(AuthError::Missing);
            return outlook;
        }
        (Policy::Same, None) => return outlook,
        (Policy::Same, Some(every)) => (held.vouched_at.checked_add(every), Due::Recheck),
        (Policy::Changed, _) => (Some(now), Due::Judge),
    };
    let Some(due) = due.map(|due| held.ask_at.map_or(due, |at| at.max(due))) else {
        return outlook;
    };
    if due <= now && !held.is_asked {
        outlook.due = then;
        return outlook;
    }
    let again = due.max(now + SOON);
    outlook.look_at = Some(outlook.look_at.map_or(again, |at| at.min(again)));
    outlook
}

/// Hears what came of [`Due::Recheck`] or [`Due::Judge`].
pub(crate) fn hear(outcome: Result<Word, &AuthError>, held: &Held, now: Instant) -> Heard {
    match outcome {
        Ok(word) if word.is_same_subject => {
            let could_tell = word.vouched_at != held.vouched_at;
            Heard::Holds((!could_tell).then(|| ask_again(word, now)))
        }
        Ok(_) => Heard::Over(AuthError::Expired),
        // A reload must not end what it does not concern: as before, until the authority answers.
        Err(AuthError::Unavailable(_)) if held.policy != Policy::Same => {
            Heard::Unknown(now + ASK_AGAIN)
        }
        // It was valid before, so its session is over.
        Err(AuthError::Invalid(_) | AuthError::Missing) => Heard::Over(AuthError::Expired),
        Err(denied) => Heard::Over(denied.clone()),
    }
}

/// When an authority that was out of reach is asked again; once more when its last verdict expires.
fn ask_again(word: Word, now: Instant) -> Instant {
    let good_for = word.good_for;
    let end = good_for.and_then(|time| word.vouched_at.checked_add(time));
    let soon = now + ASK_AGAIN;
    end.filter(|end| *end > now)
        .map_or(soon, |end| end.min(soon))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRES: u64 = 1_000;
    const ENDS: u64 = 1_005;

    fn held(now: Instant) -> Held {
        Held {
            is_revoked: false,
            expires: None,
            ends: None,
            policy: Policy::Same,
            vouched_at: now,
            recheck: None,
            ask_at: None,
            is_asked: false,
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// What is due, whether the end is near, and in how many milliseconds to look again.
    fn at(held: &Held, now: Instant, unix: Duration) -> (Due, bool, Option<u128>) {
        let outlook = look(held, now, unix);
        let again = outlook.look_at.map(|at| (at - now).as_millis());
        (outlook.due, outlook.expires_soon, again)
    }

    #[test]
    fn a_token_is_told_of_its_end_and_ends_with_its_leeway() {
        let now = Instant::now();
        let token = Held {
            expires: Some(EXPIRES),
            ends: Some(ENDS),
            ..held(now)
        };
        let over = || Due::Over(AuthError::Expired);
        for (unix, expected) in [
            (seconds(900), (Due::Nothing, false, Some(70_000))),
            (
                Duration::from_millis(969_999),
                (Due::Nothing, false, Some(1)),
            ),
            (seconds(970), (Due::Nothing, true, Some(35_000))),
            (
                Duration::from_millis(1_004_500),
                (Due::Nothing, true, Some(500)),
            ),
            (seconds(ENDS), (over(), false, None)),
            (seconds(9_999), (over(), false, None)),
        ] {
            assert_eq!(at(&token, now, unix), expected, "{unix:?}");
        }
        let forever = Held {
            expires: Some(u64::MAX),
            ends: Some(u64::MAX),
            ..held(now)
        };
        assert_eq!(at(&forever, now, seconds(1)).0, Due::Nothing);
        assert_eq!(at(&held(now), now, seconds(1)), (Due::Nothing, false, None));
    }

    #[test]
    fn what_is_revoked_is_over_whatever_else_holds() {
        let now = Instant::now();
        for policy in [Policy::Same, Policy::Changed, Policy::Gone] {
            let revoked = Held {
                is_revoked: true,
                ends: Some(ENDS),
                expires: Some(EXPIRES),
                policy,
                ..held(now)
            };
            let due = look(&revoked, now, seconds(2_000)).due;
            assert_eq!(due, Due::Over(AuthError::Revoked));
        }
    }

    #[test]
    fn an_authority_is_asked_when_it_is_time_and_once() {
        let before = Instant::now();
        let now = before + seconds(60);
        let login = Held {
            recheck: Some(seconds(60)),
            ..held(before)
        };
        let cases = [
            (login, (Due::Recheck, None)),
            (
                Held {
                    is_asked: true,
                    ..login
                },
                (Due::Nothing, Some(100)),
            ),
            (
                Held {
                    ask_at: Some(now + seconds(3)),
                    ..login
                },
                (Due::Nothing, Some(3_000)),
            ),
            (
                Held {
                    vouched_at: now,
                    ..login
                },
                (Due::Nothing, Some(60_000)),
            ),
            (
                Held {
                    policy: Policy::Changed,
                    vouched_at: now,
                    ..login
                },
                (Due::Judge, None),
            ),
            (
                Held {
                    policy: Policy::Changed,
                    recheck: None,
                    ask_at: Some(now + seconds(5)),
                    ..login
                },
                (Due::Nothing, Some(5_000)),
            ),
            (
                Held {
                    policy: Policy::Gone,
                    ..login
                },
                (Due::Over(AuthError::Missing), None),
            ),
        ];
        for (held, (due, again)) in cases {
            assert_eq!(at(&held, now, seconds(1)), (due, false, again), "{held:?}");
        }
    }

    #[test]
    fn an_answer_holds_ends_or_is_waited_for() {
        let before = Instant::now();
        let now = before + seconds(60);
        let login = held(before);
        let changed = Held {
            policy: Policy::Changed,
            ..login
        };
        let word = |is_same_subject, vouched_at| {
            Ok(Word {
                is_same_subject,
                vouched_at,
                good_for: Some(seconds(62)),
            })
        };
        let unavailable = AuthError::Unavailable(seconds(1));
        let invalid = AuthError::Invalid("bad".into());
        let over = Heard::Over;
        let again = Heard::Unknown(now + ASK_AGAIN);
        for (outcome, held, expected) in [
            (word(true, now), &login, Heard::Holds(None)),
            // Its last verdict is valid for two seconds more.
            (
                word(true, before),
                &login,
                Heard::Holds(Some(now + seconds(2))),
            ),
            (word(false, now), &login, over(AuthError::Expired)),
            (Err(&AuthError::Missing), &login, over(AuthError::Expired)),
            (Err(&invalid), &changed, over(AuthError::Expired)),
            (Err(&AuthError::Revoked), &login, over(AuthError::Revoked)),
            (Err(&unavailable), &login, over(unavailable.clone())),
            (Err(&unavailable), &changed, again),
        ] {
            assert_eq!(hear(outcome, held, now), expected, "{outcome:?} {held:?}");
        }
    }
}
