//! Revocations that admins ordered, kept in `state_dir`: a restart undoes none of them.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use crate::admin::REVOCATIONS;
use crate::policy::auth::revocation::{Revocations, Revoked};
use crate::storage::{self, PRIVATE, unix_seconds, write_whole};
use crate::telemetry::Telemetry;

/// Reads them; none where there is no file, or no folder for it. Where there is one that cannot be read, everything that was
/// issued up to now is revoked: which credentials among it were revoked already is not known.
pub(crate) fn find(state_dir: Option<&Path>, telemetry: &Telemetry) -> Revocations {
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
    let now = SystemTime::now();
    let aside = storage::set_aside(&path, now);
    telemetry
        .life
        .revocations_lost(&path, &why, aside.as_deref());
    let mut revocations = Revocations::default();
    revocations.revoke(Revoked::Everything, unix_seconds(now));
    let text = revocations.to_json();
    if let Err(error) = write_whole(&path, text.as_bytes(), PRIVATE) {
        telemetry.life.state_not_kept(&path, &error);
    }
    revocations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_gives_nothing_back() {
        let folder = tempfile::tempdir().unwrap();
        let read = || find(Some(folder.path()), &Telemetry::default());
        assert!(read().is_empty());
        let path = folder.path().join(REVOCATIONS);
        for text in ["", "[", "{\"layout\":2,\"revoked\":[]}"] {
            std::fs::write(&path, text).unwrap();
            let revocations = read();
            let now = unix_seconds(SystemTime::now());
            assert!(revocations.is_out("anybody", Some(now - 60), now), "{text}");
            assert_eq!(read(), revocations, "it outlives the next start");
        }
    }
}
