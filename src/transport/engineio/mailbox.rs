//! Requests that wait for their session's task. It takes no memory while none waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::registry::EngineRequest;

/// Requests that wait. A client has one poll and one POST under way, and may try one WebSocket.
const WAITING: usize = 4;

/// Where requests are put.
#[derive(Default)]
pub(super) struct Mailbox(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    requests: VecDeque<EngineRequest>,
    task: Option<Waker>,
    is_closed: bool,
}

/// The session's end of a mailbox, which closes it when it is dropped.
pub(super) struct Receiver(Arc<Mailbox>);

impl Mailbox {
    /// False where the session has gone, or as many wait as may.
    pub(super) fn put(&self, request: EngineRequest) -> bool {
        let mut waiting = self.lock();
        if waiting.is_closed || waiting.requests.len() >= WAITING {
            return false;
        }
        waiting.requests.push_back(request);
        let task = waiting.task.take();
        drop(waiting);
        task.into_iter().for_each(Waker::wake);
        true
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver {
    pub(super) fn of(mailbox: Arc<Mailbox>) -> Self {
        Receiver(mailbox)
    }

    /// The request that has waited longest.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<EngineRequest> {
        let mut waiting = self.0.lock();
        if let Some(request) = waiting.requests.pop_front() {
            if waiting.requests.is_empty() {
                waiting.requests = VecDeque::new();
            }
            return Poll::Ready(request);
        }
        match &mut waiting.task {
            Some(task) => task.clone_from(cx.waker()),
            None => waiting.task = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.is_closed = true;
        waiting.task = None;
        let left = std::mem::take(&mut waiting.requests);
        drop(waiting);
        // What they ask is answered by their end.
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::oneshot;

    use super::*;

    fn poll() -> (EngineRequest, oneshot::Receiver<Bytes>) {
        let (answer, answered) = oneshot::channel();
        (EngineRequest::Poll(answer), answered)
    }

    #[tokio::test]
    async fn request_wakes_the_task_that_waits() {
        let mailbox = Arc::<Mailbox>::default();
        let mut receiver = Receiver::of(mailbox.clone());
        let waits =
            tokio::spawn(async move { std::future::poll_fn(|cx| receiver.poll_next(cx)).await });
        tokio::task::yield_now().await;
        assert!(mailbox.put(poll().0));
        assert!(matches!(waits.await, Ok(EngineRequest::Poll(_))));
        assert!(mailbox.is_closed());
    }

    #[tokio::test]
    async fn request_of_a_gone_session_is_answered() {
        let mailbox = Arc::<Mailbox>::default();
        let receiver = Receiver::of(mailbox.clone());
        let (request, answered) = poll();
        assert!(mailbox.put(request));
        for _ in 1..WAITING {
            assert!(mailbox.put(poll().0));
        }
        assert!(!mailbox.put(poll().0));
        drop(receiver);
        assert!(answered.await.is_err());
        assert!(!mailbox.put(poll().0));
    }
}
