//! The HTTP/2 connections to one server: each request takes a place on one of them, and waits where all are taken.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, Response};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::connection_auth;
use super::http1::Unanswered;
use super::http2::{Http2, STREAMS, StreamRefused, refusal};
use super::replayable_body::ReplayableBody;
use crate::error::Error;

/// Connections to one server, at most. An event stream keeps its place for good: where a backend allows ten on a connection,
/// that is enough for ten thousand.
const CONNECTIONS: usize = 1000;

/// How long no other connection is tried after one could not be made, where requests can wait for those that there are.
const PAUSE: Duration = Duration::from_secs(1);

/// See the page's head. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct H2Pool(Arc<Mutex<State>>);

struct State {
    open: Vec<Member>,
    /// In the order in which they came.
    waiting: VecDeque<Waiter>,
    /// Connections that are being made.
    dialing: usize,
    /// Places on a connection, as the last one that was made had them.
    expected: usize,
    failed: Option<Instant>,
    counted: u64,
}

impl Default for State {
    fn default() -> Self {
        State {
            open: Vec::new(),
            waiting: VecDeque::new(),
            dialing: 0,
            expected: STREAMS,
            failed: None,
            counted: 0,
        }
    }
}

struct Member {
    number: u64,
    sender: SendRequest<ReplayableBody>,
    made: Instant,
    address: SocketAddr,
    /// Open now.
    streams: usize,
    /// What the backend says that it allows.
    limit: watch::Receiver<usize>,
    /// What it took when it refused another.
    taken: usize,
    /// When a stream ended last.
    used: Instant,
}

struct Waiter {
    /// Only a connection that was made later will do.
    since: Option<Instant>,
    turn: oneshot::Sender<Turn>,
}

/// What comes of waiting.
pub(crate) enum Turn {
    /// A place.
    Place(StreamPermit),
    /// A connection is to be made.
    Dial(Dial),
    /// The server chose HTTP/1.1.
    Http1,
    /// No connection could be made, and there is none.
    Failed(Error),
}

/// A place, or the turn that is waited for.
pub(crate) enum Asked {
    Now(StreamPermit),
    Later(oneshot::Receiver<Turn>),
}

/// A place among the streams of a connection; given back when this is dropped.
pub(crate) struct StreamPermit {
    sender: SendRequest<ReplayableBody>,
    /// `None` where the connection is this request's own.
    of: Option<(H2Pool, u64)>,
}

/// The task of making a connection; when it is dropped, the next waiter may get it.
pub(crate) struct Dial(H2Pool);

impl H2Pool {
    /// A place on a connection that was made after `since`.
    pub(crate) fn ask(&self, since: Option<Instant>) -> Asked {
        let mut state = self.lock();
        if state.waiting.is_empty()
            && let Some(place) = state.find(since)
        {
            return Asked::Now(self.place(&mut state, place));
        }
        let (turn, later) = oneshot::channel();
        state.waiting.push_back(Waiter { since, turn });
        self.serve(state);
        Asked::Later(later)
    }

    /// Whether there is any connection.
    pub(crate) fn is_open(&self) -> bool {
        !self.lock().open.is_empty()
    }

    /// Takes a connection in, and the first place on it.
    pub(crate) fn add(&self, connection: Http2, address: SocketAddr) -> StreamPermit {
        let Http2 { sender, mut limit } = connection;
        let now = Instant::now();
        let mut state = self.lock();
        state.expected = *limit.borrow_and_update();
        state.failed = None;
        state.counted += 1;
        let number = state.counted;
        state.open.push(Member {
            number,
            sender,
            made: now,
            address,
            streams: 0,
            limit: limit.clone(),
            taken: STREAMS,
            used: now,
        });
        let last = state.open.len() - 1;
        let place = self.place(&mut state, last);
        self.serve(state);
        let trunk = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            // What it allows from now on, and its end, may end a wait.
            let mut lives = true;
            while lives {
                lives = limit.changed().await.is_ok();
                let Some(state) = trunk.upgrade() else {
                    return;
                };
                let trunk = H2Pool(state);
                trunk.serve(trunk.lock());
            }
        });
        place
    }

    /// Closes what was idle for too long, and sends nothing more to other addresses than these;
    /// whether any are left.
    pub(crate) fn sweep(
        &self,
        idle_timeout: Duration,
        is_named: impl Fn(&SocketAddr) -> bool,
    ) -> bool {
        let mut state = self.lock();
        state.open.retain(|member| {
            let is_idle = member.streams == 0 && member.used.elapsed() >= idle_timeout;
            is_named(&member.address) && !is_idle
        });
        state.waiting.retain(|waiter| !waiter.turn.is_closed());
        let is_left = !state.open.is_empty();
        self.serve(state);
        is_left
    }

    fn place(&self, state: &mut State, at: usize) -> StreamPermit {
        let member = &mut state.open[at];
        member.streams += 1;
        StreamPermit {
            sender: member.sender.clone(),
            of: Some((self.clone(), member.number)),
        }
    }

    /// Gives out the places that are free, and the connections that are to be made.
    fn serve(&self, mut state: MutexGuard<'_, State>) {
        state.open.retain(|member| !member.sender.is_closed());
        // What its waiter no longer waits for is given back when it is dropped, which takes the lock.
        let mut unwanted = Vec::new();
        let mut at = 0;
        while state.open.iter().any(Member::has_room)
            && let Some(waiter) = state.waiting.get(at)
        {
            if waiter.turn.is_closed() {
                state.waiting.remove(at);
                continue;
            }
            let Some(place) = state.find(waiter.since) else {
                at += 1;
                continue;
            };
            if let Some(waiter) = state.waiting.remove(at) {
                let place = self.place(&mut state, place);
                unwanted.extend(waiter.turn.send(Turn::Place(place)).err());
            }
        }
        while state.wants_more()
            && let Some(waiter) = state.waiting.pop_front()
        {
            if waiter.turn.is_closed() {
                continue;
            }
            state.dialing += 1;
            let dial = Dial(self.clone());
            unwanted.extend(waiter.turn.send(Turn::Dial(dial)).err());
        }
        drop(state);
        drop(unwanted);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The first connection with a free stream.
    fn find(&self, since: Option<Instant>) -> Option<usize> {
        let mut open = self.open.iter();
        open.position(|member| member.has_room() && member.is_newer(since))
    }

    fn member(&mut self, number: u64) -> Option<&mut Member> {
        self.open.iter_mut().find(|member| member.number == number)
    }

    /// Whether the connections that are being made have too few places for the waiters. Each has one less: it is made by
    /// a request that takes a place, too.
    fn wants_more(&self) -> bool {
        let covered = self.dialing * self.expected.saturating_sub(1);
        let may_try = self.failed.is_none_or(|failed| failed.elapsed() >= PAUSE);
        self.waiting.len() > covered
            && self.open.len() + self.dialing < CONNECTIONS
            && (may_try || self.open.is_empty())
    }
}

impl Member {
    fn has_room(&self) -> bool {
        let limit = (*self.limit.borrow()).min(self.taken);
        self.streams < limit && !self.sender.is_closed()
    }

    fn is_newer(&self, since: Option<Instant>) -> bool {
        since.is_none_or(|since| self.made > since)
    }
}

impl Dial {
    /// The server chose HTTP/1.1: each request makes a connection of its own.
    pub(crate) fn chose_http1(self) {
        let waiting = std::mem::take(&mut self.0.lock().waiting);
        for waiter in waiting {
            // Its waiter may have left.
            let _ = waiter.turn.send(Turn::Http1);
        }
    }

    /// No connection came about. Whether there is another, made after `since`, on which a place can be waited for. Waiters
    /// for which there is none fail with the same error.
    pub(crate) fn failed(self, error: &Error, since: Option<Instant>) -> bool {
        let mut state = self.0.lock();
        state.failed = Some(Instant::now());
        state.open.retain(|member| !member.sender.is_closed());
        let State { open, waiting, .. } = &mut *state;
        let can_wait = |since| open.iter().any(|member| member.is_newer(since));
        for waiter in std::mem::take(waiting) {
            match can_wait(waiter.since) {
                true => waiting.push_back(waiter),
                false => {
                    let _ = waiter.turn.send(Turn::Failed(error.clone()));
                }
            }
        }
        can_wait(since)
    }
}

impl Drop for Dial {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.dialing -= 1;
        self.0.serve(state);
    }
}

impl StreamPermit {
    /// The only place on a connection that is not shared.
    pub(crate) fn alone(connection: Http2) -> StreamPermit {
        StreamPermit {
            sender: connection.sender,
            of: None,
        }
    }

    /// Sends one request, up to the head of its answer.
    pub(crate) async fn ask(
        &mut self,
        request: Request<ReplayableBody>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let outcome: Result<_, Unanswered> = match self.sender.try_send_request(request).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(error.into()),
        };
        match &outcome {
            Ok(answer) if connection_auth::is_told(answer.headers()) => self.retire(),
            Err(Unanswered::Broken(error)) => match refusal(error) {
                Some(StreamRefused::Stream) => self.learn(),
                Some(StreamRefused::Connection) => self.retire(),
                _ => {}
            },
            _ => {}
        }
        outcome
    }

    /// The backend refused this request: beside the others that are open it takes no more.
    fn learn(&self) {
        let Some((trunk, number)) = &self.of else {
            return;
        };
        let mut state = trunk.lock();
        let Some(member) = state.member(*number) else {
            return;
        };
        member.taken = member.taken.min(member.streams - 1);
        if member.taken == 0 {
            drop(state);
            self.retire();
        }
    }

    /// Its connection gets no more requests, and ends with the last stream.
    fn retire(&self) {
        if let Some((trunk, number)) = &self.of {
            let mut state = trunk.lock();
            state.open.retain(|member| member.number != *number);
            trunk.serve(state);
        }
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let Some((trunk, number)) = &self.of else {
            return;
        };
        let mut state = trunk.lock();
        if let Some(member) = state.member(*number) {
            member.streams -= 1;
            member.used = Instant::now();
        }
        trunk.serve(state);
    }
}
