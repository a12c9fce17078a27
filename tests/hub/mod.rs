//! Topics with several clients: following, joining, resuming, sharing.

mod bursts;
mod ended;
mod following;
mod identity;
mod joining;
mod pauses;
mod sharing;
