//! Files of `state_dir`: written whole, fsynced, renamed; a corrupt one is set aside, never guessed at.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Only the owner may read or write.
pub(crate) const PRIVATE: u32 = 0o600;

/// Replaces a file so that a reader, or a machine that loses power, sees either the old or the new one whole.
///
/// # Errors
/// What the file system says; the old file is untouched then.
pub(crate) fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_as(path, bytes, mode, None)
}

/// As [`write_whole`], for a file that belongs to others: owner, group and permissions stay as they are.
///
/// # Errors
/// What the file system says, also of an owner or a group that this process may not give a file to.
pub(crate) fn replace_whole(path: &Path, bytes: &[u8], like: &Metadata) -> io::Result<()> {
    let mode = like.permissions().mode() & 0o7777;
    write_as(path, bytes, mode, Some((like.uid(), like.gid())))
}

fn write_as(path: &Path, bytes: &[u8], mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let scratch = folder.join(format!(".{name}.{:016x}", fastrand::u64(..)));
    let written = write_new(&scratch, bytes, mode, owner).and_then(|()| fs::rename(&scratch, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&scratch);
        return written;
    }
    File::open(folder)?.sync_all()
}

fn write_new(path: &Path, bytes: &[u8], mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        // No wider than its final permissions, and private before its owner is set.
        .mode(mode & PRIVATE)
        .open(path)?;
    if let Some((user, group)) = owner {
        give(&file, user, group)?;
    }
    // The umask may have taken bits away that the file replaced had.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn give(file: &File, user: u32, group: u32) -> io::Result<()> {
    let is = file.metadata()?;
    if (is.uid(), is.gid()) == (user, group) {
        return Ok(());
    }
    fchown(file, Some(user), Some(group)).map_err(|error| {
        let what = format!("it belongs to user {user} and group {group}, which a new file cannot be given to: {error}");
        io::Error::new(error.kind(), what)
    })
}

/// Renames a file that cannot be understood, so that nothing is lost and nothing is guessed. Returns its new name.
///
/// # Errors
/// What the file system says.
pub(crate) fn set_aside(path: &Path, now: SystemTime) -> io::Result<PathBuf> {
    let seconds = unix_seconds(now);
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".corrupt-{seconds}"));
    let aside = PathBuf::from(aside);
    fs::rename(path, &aside)?;
    Ok(aside)
}

/// Whole seconds since 1970.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// `2026-11-21T05:00:00Z`.
pub(crate) fn rfc3339(seconds: u64) -> String {
    // Far beyond the year 9999 there is nothing to show.
    const LAST: u64 = 253_402_300_799;
    let time = UNIX_EPOCH + std::time::Duration::from_secs(seconds.min(LAST));
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        write_whole(&path, b"one", PRIVATE).unwrap();
        write_whole(&path, b"two", PRIVATE).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, PRIVATE);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_replaced_keeps_its_owner_and_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        fs::write(&path, b"one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        // Only root can make a file another one's; for any other user it stays its own.
        let _ = fchown(File::open(&path).unwrap(), Some(12345), Some(54321));
        let like = fs::metadata(&path).unwrap();
        replace_whole(&path, b"two", &like).unwrap();
        let now = fs::metadata(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(
            (now.uid(), now.gid(), now.mode()),
            (like.uid(), like.gid(), like.mode())
        );
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"old").unwrap();
        assert!(write_whole(&path, b"new", PRIVATE).is_err());
        assert_eq!(fs::read(path.join("inside")).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_set_aside_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        fs::write(&path, b"?").unwrap();
        let aside = set_aside(&path, UNIX_EPOCH).unwrap();
        assert!(!path.exists());
        assert_eq!(fs::read(aside).unwrap(), b"?");
    }

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(rfc3339(1_795_237_200), "2026-11-21T05:00:00Z");
    }
}
