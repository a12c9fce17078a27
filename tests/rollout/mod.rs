//! What an admin sets, against the file, restarts and damage.

mod record;
