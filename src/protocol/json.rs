//! `crossfade.v1.json`.
