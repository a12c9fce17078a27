use proptest::prelude::*;

use super::*;

pub(super) fn rollout() -> Rollout {
    Rollout {
        name: "web".into(),
        percent: 50_000,
        by: By::User,
        salt: "web".into(),
        always: vec!["vip".into(), "both".into()],
        never: vec!["shy".into(), "both".into()],
        header: Some(hyper::header::HeaderName::from_static("x-transport")),
        kill: false,
        drain: std::time::Duration::from_secs(30),
        kill_drain: std::time::Duration::from_secs(5),
        fallback: true,
    }
}

fn stages(percent: u32, state: StageState) -> Stages {
    Stages::from([("web".into(), Stage { percent, state })])
}

fn user(name: &str, wish: &str) -> Candidate {
    let overrides = match wish {
        "" => vec![],
        wish => vec![("x-transport".to_owned(), wish.to_owned())],
    };
    Candidate {
        user: Some(name.into()),
        overrides,
        ..Candidate::default()
    }
}

#[test]
fn the_published_vectors_hold() {
    for (salt, unit, expected) in [
        ("web", "alice", 2624),
        ("web", "bob", 52185),
        ("web", "Zoë", 59287),
        ("2026-11", "user-42", 44378),
    ] {
        assert_eq!(bucket(salt, unit), expected, "{salt} {unit}");
    }
}

#[test]
fn every_rule_in_its_order() {
    use Reason::{Always, Bucket, Header, Never};
    use StageState::{Paused, Running};
    use TransportKind::{Legacy as L, WebSocket as W};
    // alice is in from 2.625 %, bob from 52.186 %.
    for (who, wish, percent, state, transport, reason) in [
        ("alice", "", 50_000, Running, W, Bucket),
        ("bob", "", 50_000, Running, L, Bucket),
        ("bob", "", 52_185, Running, L, Bucket),
        ("bob", "", 52_186, Running, W, Bucket),
        ("alice", "", 2_624, Running, L, Bucket),
        ("alice", "", 2_625, Paused, W, Bucket),
        ("alice", "", 0, Running, L, Bucket),
        ("bob", "", 100_000, Running, W, Bucket),
        ("vip", "", 0, Running, W, Always),
        ("shy", "", 100_000, Running, L, Never),
        ("both", "", 50_000, Running, W, Always),
        ("bob", "websocket", 0, Running, W, Header),
        ("alice", "legacy", 100_000, Running, L, Header),
        ("alice", "WebSocket", 100_000, Running, W, Bucket),
        ("shy", "websocket", 100_000, Running, L, Never),
        ("vip", "legacy", 0, Running, W, Always),
        (
            "vip",
            "websocket",
            100_000,
            StageState::Killed,
            L,
            Reason::Killed,
        ),
        (
            "vip",
            "websocket",
            100_000,
            StageState::RolledBack,
            L,
            Reason::RolledBack,
        ),
    ] {
        let decision = decide(Some(&rollout()), &stages(percent, state), &user(who, wish));
        assert_eq!(
            (decision.transport, decision.reason),
            (transport, reason),
            "{who} {wish:?} {percent} {state:?}"
        );
    }
}

#[test]
fn a_route_without_rollout_is_on_for_everybody() {
    let decision = decide(None, &Stages::new(), &Candidate::default());
    assert_eq!(decision.transport, TransportKind::WebSocket);
    assert_eq!(decision.reason, Reason::None);
}

#[test]
fn without_a_stage_the_file_decides() {
    let mut rollout = rollout();
    let decide = |rollout: &Rollout| decide(Some(rollout), &Stages::new(), &user("alice", ""));
    assert_eq!(decide(&rollout).transport, TransportKind::WebSocket);
    rollout.kill = true;
    assert_eq!(decide(&rollout).reason, Reason::Killed);
}

#[test]
fn the_unit_is_what_by_says() {
    let all = Candidate {
        cookie: Some("c".into()),
        ip: "192.0.2.1".into(),
        user: Some("u".into()),
        tenant: Some("t".into()),
        overrides: vec![],
    };
    let anonymous = Candidate {
        user: None,
        tenant: None,
        ..all.clone()
    };
    for (by, known, unknown) in [
        (By::User, Some("u"), Some("c")),
        (By::Tenant, Some("t"), None),
        (By::Cookie, Some("c"), Some("c")),
        (By::Ip, Some("192.0.2.1"), Some("192.0.2.1")),
    ] {
        assert_eq!(unit_of(by, &all), known);
        assert_eq!(unit_of(by, &anonymous), unknown);
    }
    let mut by_tenant = rollout();
    by_tenant.by = By::Tenant;
    for (percent, expected) in [
        (99_999, TransportKind::Legacy),
        (100_000, TransportKind::WebSocket),
    ] {
        let stages = stages(percent, StageState::Running);
        let decision = decide(Some(&by_tenant), &stages, &anonymous);
        assert_eq!(decision.transport, expected);
    }
}

#[test]
fn percentages_have_three_decimals() {
    for (percent, expected) in [
        (0.0, Some(0)),
        (0.001, Some(1)),
        (0.145, Some(145)),
        (12.5, Some(12_500)),
        (33.333, Some(33_333)),
        (57.899, Some(57_899)),
        (99.999, Some(99_999)),
        (100.0, Some(100_000)),
        (100.001, None),
        (-0.001, None),
        (0.0001, None),
        (12.3456, None),
        (99.9999, None),
        (f64::NAN, None),
        (f64::INFINITY, None),
    ] {
        assert_eq!(thousandths(percent), expected, "{percent}");
    }
    for whole in 0..=EVERYBODY {
        assert_eq!(thousandths(f64::from(whole) / 1000.0), Some(whole));
    }
}

#[test]
fn percentages_are_shown_as_they_are_written() {
    for (thousandths, shown) in [
        (0, "0"),
        (125, "0.125"),
        (12_500, "12.5"),
        (25_000, "25"),
        (57_899, "57.899"),
        (100_000, "100"),
    ] {
        assert_eq!(Percent::new(thousandths).to_string(), shown);
    }
}

#[test]
fn buckets_are_spread_evenly() {
    // 100,000 units at 10 %: the binomial's standard deviation is 95, so 500 is more than five of them.
    let inside = (0..100_000)
        .filter(|n| bucket("even", &format!("unit-{n}")) < 10_000)
        .count();
    assert!((9_500..=10_500).contains(&inside), "{inside}");
}

proptest! {
    #[test]
    fn raising_the_percentage_never_takes_anyone_out(
        who in ".*",
        low in 0u32..=EVERYBODY,
        high in 0u32..=EVERYBODY,
    ) {
        let (low, high) = (low.min(high), low.max(high));
        let at = |percent| {
            decide(
                Some(&rollout()),
                &stages(percent, StageState::Running),
                &user(&who, ""),
            )
            .transport
        };
        prop_assert!(at(low) == TransportKind::Legacy || at(high) == TransportKind::WebSocket);
    }
}
