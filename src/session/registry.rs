//! The present sessions, as the admin API and the rollout see them.

/// All sessions of this node. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sessions {}

impl Sessions {
    /// Makes every session look again at configuration and stages (each decides for itself).
    pub fn recheck(&self) {
        todo!()
    }
}
