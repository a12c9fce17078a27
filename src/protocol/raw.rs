//! `crossfade.v1.raw`: bare data.
