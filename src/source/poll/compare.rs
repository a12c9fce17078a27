//! Parses and compares documents; large ones away from the workers that sessions run on.

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::config::Poll;
use crate::error::{Error, ErrorKind};
use crate::hub::Fenced;
use crate::source::diff::{ComparedDocument, DiffOutcome, NotJson};

/// Comparing documents above this size would hold up a worker thread.
const LARGE: usize = 128 * 1024;

/// So many documents above that size are looked through at once in this process: what that takes beside them is bounded.
static TURNS: Semaphore = Semaphore::const_new(2);

/// Compares two documents.
pub(super) async fn compare(
    old: &ComparedDocument,
    new: Bytes,
    poll: &Poll,
    is_filtered: bool,
) -> Result<(ComparedDocument, DiffOutcome), NotJson> {
    let size = new.len().max(old.bytes().len());
    if size <= LARGE || new == *old.bytes() {
        return old.diff(new, poll, is_filtered);
    }
    let (old, poll) = (old.clone(), poll.clone());
    aside(size, move || old.diff(new, &poll, is_filtered)).await
}

/// Looks through documents: large ones away from the workers that sessions run on, and only a few at once.
pub(super) async fn aside<T: Send + 'static>(
    size: usize,
    look: impl FnOnce() -> Result<T, NotJson> + Send + 'static,
) -> Result<T, NotJson> {
    if size <= LARGE {
        return look();
    }
    let _turn = TURNS.acquire().await;
    let looking = tokio::task::spawn_blocking(look);
    looking.await.unwrap_or(Err(NotJson))
}

/// Why a body was not taken in.
pub(super) enum Untaken {
    /// It is no document, or could not be compared.
    Unusable(Error),
    /// The topic is over.
    Fenced,
}

impl From<NotJson> for Untaken {
    fn from(_: NotJson) -> Self {
        Untaken::Unusable(Error::upstream(
            ErrorKind::Broken,
            "the body is no JSON document",
        ))
    }
}

impl From<Fenced> for Untaken {
    fn from(_: Fenced) -> Self {
        Untaken::Fenced
    }
}
