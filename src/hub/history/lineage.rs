//! Which positions a log knows, and which writer may add to it.
//!
//! An epoch is one process's account of a topic. A process that owns a topic after another one that vanished may give an offset to
//! another event than that one did, so it goes on in an epoch of its own. Positions of the epoch before stay known as far as they had
//! come here; one beyond names an event that never came.

use crate::event::{Epoch, Position};

/// Positions beyond the head that may be on their way from the leader: more than it can have published meanwhile.
const UNDERWAY: u64 = 1 << 16;

/// Epochs of before that are remembered, the newest. A position of an earlier one is as unknown as any foreign one.
pub(crate) const FORMER: usize = 4;

/// A writer of the log. The number counts how often another process came to lead: what came of an earlier role is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// This process's feed.
    Feed(u32),
    /// The process that this one follows.
    Leader(u32),
}

impl Writer {
    /// The feed that publishes in this role, or once this process has it.
    pub(crate) fn feed(self) -> Writer {
        let (Writer::Feed(number) | Writer::Leader(number)) = self;
        Writer::Feed(number)
    }
}

/// A log's epoch, and those before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Epochs {
    /// The epoch of what comes next. Every offset of the log may be named by it.
    pub(crate) now: Epoch,
    /// Earlier ones, each with the last offset that it names, oldest first.
    pub(crate) former: Vec<(Epoch, u64)>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Lineage {
    epochs: Epochs,
    writer: Writer,
    /// The furthest position beyond the head that a client has come with while it may have been on its way.
    promised: u64,
}

impl Lineage {
    /// Of a log that begins with this epoch.
    pub(crate) fn new(epoch: Epoch) -> Self {
        Lineage {
            epochs: Epochs {
                now: epoch,
                former: Vec::new(),
            },
            writer: Writer::Feed(0),
            promised: 0,
        }
    }

    /// See [`Epochs`].
    pub(crate) fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// The epochs as the leader knows them.
    pub(crate) fn import(&mut self, epochs: Epochs) {
        let surplus = epochs.former.len().saturating_sub(FORMER);
        self.epochs = epochs;
        self.epochs.former.drain(..surplus);
    }

    /// The one that may append now.
    pub(crate) fn writer(&self) -> Writer {
        self.writer
    }

    /// From now on another process appends.
    pub(crate) fn follow(&mut self) {
        let (Writer::Feed(number) | Writer::Leader(number)) = self.writer;
        self.writer = Writer::Leader(number.wrapping_add(1));
        self.promised = 0;
    }

    /// From now on this process's feed appends, and that of the leader's time goes on.
    pub(crate) fn lead(&mut self) {
        self.writer = self.writer.feed();
    }

    /// The leader is gone, and may have given positions to events that never came here: from `head` on there is another epoch.
    /// Returns the furthest of these positions that a client has come with already, if any.
    pub(crate) fn diverge(&mut self, epoch: Epoch, head: u64) -> Option<u64> {
        let former = &mut self.epochs.former;
        former.push((self.epochs.now, head));
        if former.len() > FORMER {
            former.remove(0);
        }
        self.epochs.now = epoch;
        (self.promised > head).then_some(self.promised)
    }

    /// Whether this position has been given to an entry up to `head`, or may be on its way here.
    pub(crate) fn knows(&mut self, position: Position, head: u64) -> bool {
        let Position { epoch, offset } = position;
        if epoch != self.epochs.now {
            let mut former = self.epochs.former.iter();
            return former.any(|(known, last)| *known == epoch && offset <= *last);
        }
        let ahead = offset.saturating_sub(head);
        let is_underway =
            matches!(self.writer, Writer::Leader(_)) && (1..=UNDERWAY).contains(&ahead);
        if is_underway {
            self.promised = self.promised.max(offset);
        }
        ahead == 0 || is_underway
    }
}
