//! What a server's own word says of it: the verdict of the active checks. Pure.

/// So many failed checks in a row, and the server is out.
const FALLS: u32 = 3;
/// After so many passed checks it is healthy again.
const RISES: u32 = 2;

/// What the checks have come to.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// `None` before the first.
    verdict: Option<bool>,
    /// How many in a row say otherwise.
    against: u32,
    /// How many in a row passed.
    good: u32,
}

impl Checks {
    /// Whether it is out by its own word.
    pub(crate) fn is_out(&self) -> bool {
        self.verdict == Some(false)
    }

    /// Whether so many checks in a row passed that they outweigh what requests have met.
    pub(crate) fn is_sure(&self) -> bool {
        self.good >= RISES
    }

    /// Takes in a check; the new verdict where it changed. `others` says whether another server is
    /// there: the first check decides then, and where there is none the first good one does.
    pub(crate) fn take(&mut self, is_good: bool, others: bool) -> Option<bool> {
        self.good = if is_good {
            self.good.saturating_add(1)
        } else {
            0
        };
        let was_out = self.is_out();
        let is_first = self.verdict.is_none();
        if is_good != was_out {
            self.against = 0;
            self.verdict = Some(is_good);
            return None;
        }
        self.against = self.against.saturating_add(1);
        let wanted = match (was_out, others, is_first) {
            (true, false, _) | (false, true, true) => 1,
            (true, true, _) => RISES,
            (false, ..) => FALLS,
        };
        if self.against < wanted {
            // Not out yet, and no longer the first.
            self.verdict = Some(!was_out);
            return None;
        }
        self.against = 0;
        self.verdict = Some(is_good);
        Some(is_good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(checks: &mut Checks, others: bool, said: &str) -> String {
        let turn = |said| match checks.take(said == '+', others) {
            Some(true) => 'u',
            Some(false) => 'd',
            None => '.',
        };
        said.chars().map(turn).collect()
    }

    #[test]
    fn three_falls_and_two_rises() {
        let mut checks = Checks::default();
        assert_eq!(turns(&mut checks, true, "+--+--+---"), ".........d");
        assert!(checks.is_out());
        assert_eq!(turns(&mut checks, true, "+-+-++---++"), ".....u..d.u");
        assert!(!checks.is_out());
    }

    #[test]
    fn the_first_check_decides_where_there_are_others() {
        assert_eq!(turns(&mut Checks::default(), true, "-"), "d");
        assert_eq!(turns(&mut Checks::default(), false, "---"), "..d");
        assert_eq!(turns(&mut Checks::default(), true, "+---"), "...d");
    }

    #[test]
    fn one_good_check_is_enough_where_there_is_no_other() {
        let mut checks = Checks::default();
        assert_eq!(turns(&mut checks, false, "---+---"), "..du..d");
        assert!(!checks.is_sure());
        turns(&mut checks, false, "++");
        assert!(checks.is_sure());
    }
}
