//! A head on its way out, in the letters that it is to have.

use std::io::{self, IoSlice};
use std::task::{Poll, ready};

use super::Spelling;

/// How many pieces are written at once.
const PIECES: usize = 32;
/// The capacity that is kept of a head's buffer for the next head.
const KEPT: usize = 4096;

/// Stands in for the beginning of what an engine writes: as many bytes, other letters.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    head: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.head.is_empty()
    }

    /// Begins with the head at the beginning of `pieces`. Where none is, they stay as they are.
    pub(crate) fn begin(&mut self, pieces: &[IoSlice<'_>], spelling: &Spelling) {
        if !self.is_idle() {
            // A head before this one is still on its way.
            return;
        }
        let first = pieces.iter().find(|piece| !piece.is_empty());
        let Some((first, end)) = first.and_then(|piece| Some((piece, end(piece)?))) else {
            return;
        };
        self.head
            .extend_from_slice(first.get(..end).unwrap_or_default());
        respell(&mut self.head, spelling);
    }

    /// Writes what an engine wants to have written.
    pub(crate) fn poll_write(
        &mut self,
        pieces: &[IoSlice<'_>],
        write: impl FnOnce(&[IoSlice<'_>]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.is_idle() {
            return write(pieces);
        }
        let rest = self.head.get(self.sent..).unwrap_or_default();
        let mut placed = [IoSlice::new(&[]); PIECES];
        let mut replaced = rest.len();
        let theirs = pieces.iter().map(|piece| {
            let skipped = replaced.min(piece.len());
            replaced -= skipped;
            piece.get(skipped..).unwrap_or_default()
        });
        let all = std::iter::once(rest).chain(theirs.filter(|piece| !piece.is_empty()));
        let mut count = 0;
        for (place, piece) in placed.iter_mut().zip(all) {
            *place = IoSlice::new(piece);
            count += 1;
        }
        let written = ready!(write(placed.get(..count).unwrap_or_default()))?;
        self.sent += written;
        if self.sent >= self.head.len() {
            self.sent = 0;
            self.head.clear();
            self.head.shrink_to(KEPT);
        }
        Poll::Ready(Ok(written))
    }
}

/// Where the head ends that `bytes` begin with, behind interim answers of the engine's own (`100 Continue`).
fn end(bytes: &[u8]) -> Option<usize> {
    let line = bytes.split(|byte| *byte == b'\r').next()?;
    if !line.starts_with(b"HTTP/1.") && !line.ends_with(b" HTTP/1.1") {
        return None;
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    match line.starts_with(b"HTTP/1.1 100 ") {
        true => Some(end + self::end(bytes.get(end..)?)?),
        false => Some(end),
    }
}

/// Writes the names as they are to be. A spelling of other length cannot be found, and no other byte changes.
fn respell(head: &mut [u8], spelling: &Spelling) {
    for line in head.split_mut(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let Some(name) = line.get_mut(..colon) else {
            continue;
        };
        if let Some(spelled) = spelling.of(name) {
            name.copy_from_slice(spelled);
        }
    }
}
