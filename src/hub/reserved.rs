//! Memory beside the logs that counts against their budget.

use std::sync::Arc;

use super::registry::Registry;

/// Bytes that are counted as long as this is there.
pub(crate) struct Reserved {
    node: Arc<Registry>,
    bytes: usize,
}

impl Reserved {
    /// No bytes yet.
    pub(super) fn nothing(node: Arc<Registry>) -> Self {
        Reserved { node, bytes: 0 }
    }

    /// Counts so many bytes instead; false where there is no room for more.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let has_room = more == 0 || self.node.squeeze.reserve(more, || self.node.all());
        if has_room {
            self.bytes += more;
        }
        has_room
    }
}

impl std::fmt::Debug for Reserved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.bytes)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.node.budget.recount(self.bytes, 0);
    }
}
