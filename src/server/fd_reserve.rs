//! Descriptors kept aside for the time when there are no others: with them clients get a refusal.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::join_all;

use super::accept::accept;
use super::reject;
use super::socket::ClientSocket;
use crate::server::listener::Listener;
use crate::session::Services;

/// How many clients can be answered at once.
const DESCRIPTORS: usize = 16;
/// How long one of them may take to read it.
const PATIENCE: Duration = Duration::from_millis(100);

/// One listener's descriptors for bad times.
#[derive(Debug, Default)]
pub(crate) struct Reserve(Vec<File>);

impl Reserve {
    /// As many as the system gives now, up to the full number.
    pub(crate) fn new() -> Self {
        let mut reserve = Reserve(Vec::with_capacity(DESCRIPTORS));
        reserve.fill();
        reserve
    }

    /// Spends the reserve on clients that wait: each gets a `503` and is closed. Returns how many they were. The reserve is
    /// filled again as far as descriptors have come free.
    pub(crate) async fn turn_away(&mut self, listener: &Listener, shared: &Services) -> usize {
        let config = shared.in_force.load().config.clone();
        let spent = self.0.len();
        self.0.clear();
        let mut waiting = Vec::with_capacity(spent);
        while waiting.len() < spent
            && let Some(Ok((line, _))) = accept_waiting(listener).await
        {
            let problem = reject::no_room("descriptors", "no descriptors are left");
            let tls = config.server.tls.as_ref();
            waiting.push(reject::say(line, tls, problem, PATIENCE, None));
        }
        let count = waiting.len();
        join_all(waiting).await;
        self.fill();
        count
    }

    fn fill(&mut self) {
        while self.0.len() < DESCRIPTORS
            && let Ok(file) = File::open("/dev/null")
        {
            self.0.push(file);
        }
    }
}

/// Whether the error says that descriptors have run out, of this process or of the system.
pub(crate) fn is_exhaustion(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

/// A client that waits already; `None` where there is none.
async fn accept_waiting(
    listener: &Listener,
) -> Option<io::Result<(ClientSocket, Option<std::net::IpAddr>)>> {
    let accepting = accept(listener);
    tokio::pin!(accepting);
    poll_fn(|cx| match accepting.as_mut().poll(cx) {
        Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
