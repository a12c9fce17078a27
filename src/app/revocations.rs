//! What admins took back, as `state_dir` keeps it: a restart gives nobody back what was taken.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use crate::admin::REVOCATIONS;
use crate::edge::auth::revocation::Revocations;
use crate::state;
use crate::telemetry::Telemetry;

/// Reads them; none where there is no file, or no folder for it.
pub fn find(state_dir: Option<&Path>, telemetry: &Telemetry) -> Revocations {
    let Some(path) = state_dir.map(|folder| folder.join(REVOCATIONS)) else {
        return Revocations::default();
    };
    let why = match std::fs::read_to_string(&path) {
        Ok(text) => match Revocations::from_json(&text) {
            Ok(revocations) => return revocations,
            Err(why) => why,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Revocations::default(),
        Err(error) => error.to_string(),
    };
    let aside = state::set_aside(&path, SystemTime::now());
    telemetry.state_corrupt(&path, &why, aside.as_deref());
    Revocations::default()
}
