//! State shared by a wire and the service above the engine.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use hyper::Response;

use super::socket::MaybeTls;
use crate::http::RequestViolation;
use crate::http::header_case::Spelling;

/// One connection's notice board. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Http1State(Arc<Board>);

/// What takes a connection over when its handshake has been answered, with what the client had sent behind it.
pub(crate) type Heir = Box<dyn FnOnce(MaybeTls, Bytes) + Send>;

#[derive(Default)]
struct Board {
    under_way: AtomicUsize,
    fault: OnceLock<RequestViolation>,
    declined: AtomicBool,
    /// Whether a body is under way of which not all has come.
    is_in_body: AtomicBool,
    is_leaving: AtomicBool,
    /// Whether the answer to the last head is being sent.
    is_answering: AtomicBool,
    letters: Mutex<Letters>,
    is_respelled: AtomicBool,
    /// Whether the client of the request under way, or of the last one, polls.
    is_polling: AtomicBool,
    /// Whether the engine may have something of an earlier answer to send.
    is_unsent: AtomicBool,
    /// The connection's task: the engine does not look again by itself.
    waiting: AtomicWaker,
    heir: Mutex<Option<Heir>>,
}

/// How names are spelled, where that is not as usual. Boxed: a connection that becomes a session keeps the board.
#[derive(Debug, Default)]
struct Letters {
    /// In the head that came last.
    came: Option<Box<Spelling>>,
    /// In the head that goes next: what the engine spells otherwise than it is to be.
    going: Option<Box<Spelling>>,
}

impl Http1State {
    /// How the names of the request are spelled that the engine has just read.
    pub(crate) fn came(&self) -> Option<Spelling> {
        self.letters().came.take().map(|came| *came)
    }

    /// The names of this answer are to be spelled as noted with it, else as usual.
    pub(crate) fn answer<B>(&self, answer: &Response<B>) {
        let mut going = Spelling::default();
        going.fill(answer.headers(), answer.extensions().get());
        if !going.is_empty() {
            self.letters().going = Some(Box::new(going));
            self.0.is_respelled.store(true, Ordering::Release);
        }
    }

    pub(super) fn set_came(&self, spelling: Spelling) {
        self.letters().came = Some(Box::new(spelling));
    }

    pub(super) fn going(&self) -> Option<Box<Spelling>> {
        if !self.0.is_respelled.load(Ordering::Relaxed) {
            return None;
        }
        self.0.is_respelled.store(false, Ordering::Relaxed);
        self.letters().going.take()
    }

    fn letters(&self) -> MutexGuard<'_, Letters> {
        self.0
            .letters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the connection has no future, once it has none.
    pub(crate) fn fault(&self) -> Option<RequestViolation> {
        self.0.fault.get().copied()
    }

    /// The handshake that the wire waits behind was not granted.
    pub(crate) fn decline_handshake(&self) {
        self.0.declined.store(true, Ordering::Release);
        self.0.waiting.wake();
    }

    /// An exchange is over: its answer has been handed to the engine or dropped.
    pub(crate) fn answered(&self) {
        let _ = self
            .0
            .under_way
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
        self.0.waiting.wake();
    }

    /// Whether a body is under way of which not all has come.
    pub(crate) fn is_in_body(&self) -> bool {
        self.0.is_in_body.load(Ordering::Relaxed)
    }

    /// The answer to the last head goes out.
    pub(crate) fn answering(&self) {
        self.0.is_answering.store(true, Ordering::Relaxed);
    }

    /// The client of the request under way polls: its connection waits outside the engine, for the answer and for the next
    /// request. It is a GET or POST, for another GET may stand for it, and a body that it has was read to its end.
    pub(crate) fn client_polls(&self) {
        self.set_polling(true);
    }

    /// Whether the client polls, and nothing of an answer is left in the engine.
    pub(super) fn may_leave_engine(&self) -> bool {
        self.0.is_polling.load(Ordering::Relaxed) && !self.0.is_unsent.load(Ordering::Relaxed)
    }

    pub(super) fn set_polling(&self, is_polling: bool) {
        self.0.is_polling.store(is_polling, Ordering::Relaxed);
    }

    pub(super) fn set_unsent(&self, is_unsent: bool) {
        self.0.is_unsent.store(is_unsent, Ordering::Relaxed);
    }

    /// The process leaves: a client that only goes on sending is not waited for.
    pub(crate) fn leave(&self) {
        self.0.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Once its handshake is answered, the connection is this one's. It is dropped where the connection breaks before.
    pub(crate) fn leave_to(&self, heir: Heir) {
        *self.heir() = Some(heir);
    }

    /// What takes the connection over.
    pub(crate) fn take_heir(&self) -> Option<Heir> {
        self.heir().take()
    }

    fn heir(&self) -> MutexGuard<'_, Option<Heir>> {
        self.0.heir.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn expect_answers(&self, heads: usize) {
        if heads > 0 {
            self.0.is_answering.store(false, Ordering::Relaxed);
            self.0.under_way.fetch_add(heads, Ordering::AcqRel);
        }
    }

    pub(super) fn is_answering(&self) -> bool {
        self.0.is_answering.load(Ordering::Relaxed)
    }

    pub(super) fn set_in_body(&self, is_in_body: bool) {
        self.0.is_in_body.store(is_in_body, Ordering::Relaxed);
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.0.is_leaving.load(Ordering::Relaxed)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.0.under_way.load(Ordering::Acquire) > 0
    }

    /// The connection has no future; the first fault counts.
    pub(crate) fn set_fault(&self, fault: RequestViolation) {
        let _ = self.0.fault.set(fault);
    }

    /// Wakes this task when a handshake is declined or an exchange is over.
    pub(super) fn tell(&self, waker: &Waker) {
        self.0.waiting.register(waker);
    }

    /// Whether the handshake was declined.
    pub(super) fn take_declined(&self) -> bool {
        self.0.declined.swap(false, Ordering::AcqRel)
    }
}
