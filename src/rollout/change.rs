//! A stage that changes, and which clients' decisions change with it.

use std::sync::Arc;

use super::plan::Plan;
use super::{Candidate, Reason, Stage, TransportKind, bucket, judge, unit_of};

/// A rollout whose stage is another one now.
#[derive(Clone, Debug)]
pub(crate) struct StageChange {
    /// The rollout.
    pub(crate) plan: Arc<Plan>,
    /// What was in force.
    pub(crate) before: Stage,
    /// What is in force now.
    pub(crate) after: Stage,
}

/// What was, and what is decided for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    before: (TransportKind, Reason),
    after: (TransportKind, Reason),
}

impl StageChange {
    /// What the change is for this client.
    pub(crate) fn turn(&self, candidate: &Candidate) -> Turn {
        let rollout = &self.plan.rollout;
        let unit = unit_of(rollout.by, candidate);
        let bucket = unit.map(|unit| bucket(&rollout.salt, unit));
        let judged = |stage| judge(rollout, stage, candidate, unit, bucket);
        Turn {
            before: judged(&self.before),
            after: judged(&self.after),
        }
    }
}

impl Turn {
    /// Whether a session of this client has something to do: one that stayed has to leave, one that leaves may stay, or leaves
    /// for another reason now.
    pub(crate) fn concerns(self, is_leaving: bool) -> bool {
        let has_to_leave =
            self.before.0 == TransportKind::WebSocket && self.after.0 == TransportKind::Legacy;
        has_to_leave || is_leaving && self.before != self.after
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::StageState::{self, Killed, Paused, RolledBack, Running};
    use crate::rollout::tests::rollout;

    /// A unit whose bucket under the salt `web` is 2,624.
    const ALICE: &str = "alice";

    fn change(before: (u32, StageState), after: (u32, StageState)) -> StageChange {
        let stage = |(percent, state)| Stage { percent, state };
        StageChange {
            plan: Arc::new(Plan {
                rollout: Arc::new(rollout()),
                routes: Vec::new(),
            }),
            before: stage(before),
            after: stage(after),
        }
    }

    fn concerns(change: &StageChange, user: &str) -> (bool, bool) {
        let candidate = Candidate {
            user: Some(user.into()),
            ..Candidate::default()
        };
        let turn = change.turn(&candidate);
        (turn.concerns(false), turn.concerns(true))
    }

    #[test]
    fn a_changed_stage_concerns_clients_by_their_bucket() {
        // Before, after: a session that stays, one that leaves.
        for (before, after, expected) in [
            ((5_000, Running), (10_000, Running), (false, false)),
            ((1_000, Running), (2_624, Running), (false, false)),
            ((1_000, Running), (2_625, Running), (false, true)),
            ((5_000, Running), (2_625, Running), (false, false)),
            ((5_000, Running), (2_624, Running), (true, true)),
            ((5_000, Running), (5_000, Paused), (false, false)),
            ((5_000, Running), (5_000, Killed), (true, true)),
            ((1_000, Running), (1_000, Killed), (false, true)),
            ((5_000, RolledBack), (5_000, Killed), (false, true)),
            ((5_000, Killed), (9_000, Killed), (false, false)),
            ((5_000, Killed), (5_000, Running), (false, true)),
            ((1_000, Killed), (1_000, Running), (false, true)),
        ] {
            let change = change(before, after);
            assert_eq!(concerns(&change, ALICE), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_changed_percentage_concerns_no_listed_client() {
        let lowered = change((90_000, Running), (0, Running));
        for listed in ["vip", "shy"] {
            assert_eq!(concerns(&lowered, listed), (false, false), "{listed}");
        }
        let killed = change((0, Running), (0, Killed));
        assert_eq!(concerns(&killed, "vip"), (true, true));
    }
}
