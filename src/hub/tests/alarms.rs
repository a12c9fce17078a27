//! An answer that is not for all is reported once for each topic.

use std::sync::Arc;

use super::support::*;
use crate::config::Share;
use crate::hub::private_answers::Alarms;
use crate::hub::*;

/// Whether it was reported.
fn raise(alarms: &Alarms, target: &Target, reason: &'static str) -> bool {
    let mut is_told = false;
    alarms.raise(target, reason, || {
        is_told = true;
        true
    });
    is_told
}

fn of(url: &str) -> Arc<Target> {
    let route = route("feed", sse(), Share::Public, window(10));
    target(&route, url, Scope::Public)
}

#[test]
fn an_alarm_is_raised_once_until_it_is_over() {
    let alarms = Alarms::default();
    let (feed, other) = (of("/feed"), of("/feed?a"));
    alarms.lower(&feed);
    for (target, reason, is_news) in [
        (&feed, "401", true),
        (&of("/feed"), "401", false),
        (&other, "401", true),
        (&feed, "vary", true),
        (&feed, "vary", false),
    ] {
        assert_eq!(raise(&alarms, target, reason), is_news, "{reason}");
    }
    alarms.lower(&feed);
    assert!(raise(&alarms, &feed, "vary"));
    assert!(!raise(&alarms, &other, "401"));
    alarms.forget();
    assert!(raise(&alarms, &feed, "vary") && raise(&alarms, &other, "401"));
}

#[test]
fn an_alarm_that_was_held_back_is_raised_later() {
    let (alarms, feed) = (Alarms::default(), of("/feed"));
    alarms.raise(&feed, "401", || false);
    assert!(raise(&alarms, &feed, "401"));
}

#[test]
fn alarms_without_end_are_forgotten() {
    let alarms = Alarms::default();
    for n in 0..5_000 {
        assert!(raise(&alarms, &of(&format!("/feed?{n}")), "401"));
    }
    assert!(alarms.remembered() <= 1024);
}
