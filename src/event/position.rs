//! A place in a topic's log, as clients name it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Random name of one topic's life; a position means nothing under another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Epoch(pub(crate) u32);

/// A place in a topic's log: `<epoch>-<offset>` on the wire, the epoch in base 36.
///
/// The offset counts from 1; 0 is the place before the first event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Which life of the topic.
    pub(crate) epoch: Epoch,
    /// The counter, strictly increasing within an epoch.
    pub offset: u64,
}

/// A position that no topic knows: its offset alone lies in every topic's future.
const NOWHERE: Position = Position {
    epoch: Epoch(0),
    offset: u64::MAX,
};

/// The longest position that a client may name.
const LONGEST: usize = 64;

impl Position {
    /// The position that a client names, which need not be one of ours: one whose parts cannot be is known to no topic.
    /// `None` where it is no position at all.
    pub(crate) fn named(text: &str) -> Option<Position> {
        let (epoch, offset) = text.split_once('-')?;
        let is_position = text.len() <= LONGEST
            && !epoch.is_empty()
            && epoch.bytes().all(|b| b.is_ascii_alphanumeric())
            && !offset.is_empty()
            && offset.bytes().all(|b| b.is_ascii_digit());
        is_position.then(|| text.parse().unwrap_or(NOWHERE))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut out = [0u8; 7];
        let (mut rest, mut at) = (self.0, out.len());
        loop {
            at -= 1;
            out[at] = DIGITS[(rest % 36) as usize];
            rest /= 36;
            if rest == 0 {
                break;
            }
        }
        out[at..]
            .iter()
            .try_for_each(|digit| write!(f, "{}", *digit as char))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.offset)
    }
}

impl std::str::FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (epoch, offset) = text.split_once('-').ok_or(())?;
        let plain = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
        };
        if !plain(epoch) || !offset.bytes().all(|b| b.is_ascii_digit()) {
            return Err(());
        }
        let epoch = Epoch(u32::from_str_radix(epoch, 36).map_err(drop)?);
        Ok(Position {
            epoch,
            offset: offset.parse().map_err(drop)?,
        })
    }
}
