//! The one owner of every rollout's stage.
