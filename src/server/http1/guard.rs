//! The layer below the server engine: every byte of a request is scanned here before the engine sees it, and every clock of a
//! connection runs here.
//!
//! What has not been understood to its end is held back. So a request that breaks a rule never
//! reaches the engine: in its place the engine reads [`REFUSED`], and the service answers that by
//! the table of answers, in its turn behind earlier requests. A head that is too large or comes
//! too slowly gets its answer the same way. A body that breaks a rule ends in an error.
//!
//! One request at a time: what a client sends ahead waits here, not scanned, until the running
//! exchange is over. The engine, which looks for the client's end only while it has nothing to
//! read, so learns at once of a client that sent ahead and left.

mod write;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use crate::config;
use crate::http::RequestViolation;
use crate::http::header_case::Outgoing;
use crate::http::parser::{HeadLimits, Rewritten, ScanPlace, Scanned, Scanner};
use crate::policy::connection_limits::Connections;
use crate::server::detect_http::FirstBytes;
use crate::server::http1_state::Http1State;
use crate::server::linger::Linger;
use crate::server::read_timeout::{ReadTimeout, ReadVerdict};
use crate::server::socket::{self, MaybeTls};

/// What the engine reads in place of a refused head. Nothing follows it. It has an effect only once the traffic has a fault: a
/// client that sends it earlier is served like any other.
const REFUSED: &[u8] = b"REFUSED / HTTP/1.1\r\nconnection: close\r\n\r\n";
/// The method in [`REFUSED`].
pub(crate) const REFUSED_METHOD: &str = "REFUSED";

/// What the next engine reads in place of a request whose answer was waited for without one: all that it needs to know is how
/// the answer is to be framed, and whether the connection stays open.
const REPEATED: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
const REPEATED_LAST: &[u8] = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n";

/// How much is read at once where it may have to be held back.
const PIECE: usize = 2048;
/// How much a client may send ahead before it is answered: then nothing more is read.
const AHEAD: usize = 16 * 1024;

/// A connection as the server engine sees it.
pub(crate) struct Http1Guard {
    io: MaybeTls,
    traffic: Http1State,
    scanner: Scanner,
    /// An answer's head whose names are spelled otherwise than the engine has written them.
    outgoing: Option<Box<Outgoing>>,
    /// Read and not delivered: first `clear` bytes that may be, then such that may not yet.
    held: BytesMut,
    clear: usize,
    /// Whether the latter are not even scanned: they wait for an exchange, or a handshake, to end.
    ahead: bool,
    state: State,
    patience: ReadTimeout,
    connections: Connections,
    /// What a client goes on sending that is not waited for any more.
    linger: Option<Box<Linger>>,
    is_shut: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// A head was refused: nothing comes after what stands for it.
    Refused,
    /// A body broke a rule.
    Broken,
    /// The client closed its half. The engine takes that for a vanished client, so it learns of it
    /// only after it had a chance to answer what it has already read.
    HalfClosed,
    Closed,
}

impl Http1Guard {
    /// A wire at the beginning of a connection.
    pub(crate) fn new(
        mut io: MaybeTls,
        limits: &config::Limits,
        traffic: Http1State,
        connections: Connections,
    ) -> Self {
        socket::below(&mut io).demand(limits.body_min_rate);
        Http1Guard {
            io,
            traffic,
            scanner: Scanner::new(HeadLimits {
                bytes: limits.header_bytes,
                fields: limits.headers,
            }),
            outgoing: None,
            held: BytesMut::new(),
            clear: 0,
            ahead: false,
            state: State::Open,
            patience: ReadTimeout::new(limits),
            connections,
            linger: None,
            is_shut: false,
        }
    }

    /// The first bytes were read before it was clear that this is HTTP/1.
    pub(crate) fn begun_with(mut self, beginning: FirstBytes) -> Self {
        self.patience.begun(beginning.since);
        self.take_in(&beginning.ahead);
        self
    }

    /// The socket, and what the client sent behind its handshake.
    pub(crate) fn into_parts(mut self) -> (MaybeTls, Bytes) {
        socket::below(&mut self.io).demand_nothing();
        (self.io, self.held.freeze())
    }

    /// The next engine reads what stands for the request under way, which the last one has read.
    pub(super) fn repeat_request(&mut self, is_last: bool) {
        let head = match is_last {
            true => REPEATED_LAST,
            false => REPEATED,
        };
        self.put_back(head);
    }

    /// Waits, without an engine, for the next request; false where the connection is over. The next engine reads it.
    pub(super) fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut piece = [0; PIECE];
        let mut piece = ReadBuf::new(&mut piece);
        let read = ready!(Pin::new(&mut *self).poll_read(cx, &mut piece));
        let comes = read.is_ok() && !piece.filled().is_empty();
        self.put_back(piece.filled());
        Poll::Ready(comes)
    }

    /// The engine reads this next.
    fn put_back(&mut self, clear: &[u8]) {
        let held = std::mem::take(&mut self.held);
        self.held.extend_from_slice(clear);
        self.held.extend_from_slice(&held);
        self.clear += clear.len();
    }

    /// Moves what may be delivered into `buf`; false where there is nothing.
    fn deliver(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let count = self.clear.min(buf.remaining());
        if count > 0 {
            buf.put_slice(&self.held.split_to(count));
            self.clear -= count;
        }
        if self.held.is_empty() {
            // An idle connection keeps no buffer.
            self.held = BytesMut::new();
        }
        count > 0
    }

    /// Reads straight into the engine's buffer, and takes back what may not be delivered.
    fn poll_read_through(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let piece = buf.filled().get(before..).unwrap_or_default();
        if piece.is_empty() {
            self.state = State::HalfClosed;
            return Poll::Ready(Ok(()));
        }
        let scanned = self.scan(piece);
        let clear = scanned.clear.unwrap_or(0);
        if let Some(rewritten) = self.rewritten(&scanned) {
            self.held.extend_from_slice(piece);
            buf.set_filled(before);
            self.clear = clear;
            self.rewrite(0, &rewritten);
            self.refuse_if_failed();
            return Poll::Ready(Ok(()));
        }
        let behind = piece.get(clear..).unwrap_or_default();
        self.held.extend_from_slice(behind);
        buf.set_filled(before + clear);
        self.refuse_if_failed();
        Poll::Ready(Ok(()))
    }

    /// Reads behind what is held back already.
    fn poll_read_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut piece = [0; PIECE];
        let mut piece = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut piece))?;
        if piece.filled().is_empty() {
            self.state = State::HalfClosed;
        } else if self.must_wait() {
            self.held.extend_from_slice(piece.filled());
            self.ahead = true;
        } else {
            self.take_in(piece.filled());
        }
        Poll::Ready(Ok(()))
    }

    /// Adds a piece to what is held.
    fn take_in(&mut self, piece: &[u8]) {
        let (start, before) = (self.clear, self.held.len());
        let scanned = self.scan(piece);
        self.held.extend_from_slice(piece);
        if let Some(clear) = scanned.clear {
            self.clear = before + clear;
        }
        if let Some(rewritten) = self.rewritten(&scanned) {
            self.rewrite(start, &rewritten);
        }
        self.refuse_if_failed();
    }

    fn rewritten(&mut self, scanned: &Scanned) -> Option<Box<Rewritten>> {
        match scanned.head {
            true => self.scanner.take_rewritten(),
            false => None,
        }
    }

    /// Puts another line in the place of the request line that `start`s a head that is clear now.
    fn rewrite(&mut self, start: usize, rewritten: &Rewritten) {
        let behind = self.held.split_off(start + rewritten.was);
        self.held.truncate(start);
        self.held.extend_from_slice(&rewritten.line);
        self.held.extend_from_slice(&behind);
        self.clear = self.clear + rewritten.line.len() - rewritten.was;
    }

    fn scan(&mut self, piece: &[u8]) -> Scanned {
        let scanned = self.scanner.feed(piece);
        self.traffic.expect_answers(usize::from(scanned.head));
        if scanned.head
            && let Some(spelling) = self.scanner.spelling()
        {
            self.traffic.set_came(spelling);
        }
        self.patience
            .moved(self.scanner.place(), scanned.head, piece.len());
        self.traffic
            .set_in_body(self.scanner.place() == ScanPlace::Body);
        match scanned.fault {
            Some(fault) => self.fail(fault, scanned.in_body),
            None => self.ahead = scanned.seen < piece.len(),
        }
        scanned
    }

    /// Whether the next byte belongs to what has to wait.
    fn must_wait(&self) -> bool {
        match self.scanner.place() {
            ScanPlace::Paused => true,
            ScanPlace::Between => self.traffic.is_busy(),
            _ => false,
        }
    }

    /// Lets in what was sent ahead, where its turn has come; else the task is woken when it has.
    fn let_in(&mut self, cx: &mut Context<'_>) -> bool {
        self.traffic.tell(cx.waker());
        if self.scanner.place() == ScanPlace::Paused && self.traffic.take_declined() {
            self.scanner.resume();
        }
        if !self.ahead || self.must_wait() {
            return false;
        }
        self.ahead = false;
        if self.state == State::Closed {
            // The engine does not know yet that the client closed, so this request is served as well.
            self.state = State::HalfClosed;
        }
        let ahead = self.held.split_off(self.clear);
        self.take_in(&ahead);
        true
    }

    fn fail(&mut self, fault: RequestViolation, in_body: bool) {
        self.traffic.set_fault(fault);
        self.state = match in_body {
            true => State::Broken,
            false => State::Refused,
        };
    }

    /// Puts what stands for a refused head in the place of what is not clear.
    fn refuse_if_failed(&mut self) {
        if !matches!(self.state, State::Refused | State::Broken) {
            return;
        }
        self.held.truncate(self.clear);
        self.ahead = false;
        if self.state == State::Refused {
            self.held.extend_from_slice(REFUSED);
            self.clear = self.held.len();
            self.traffic.expect_answers(1);
        }
    }

    /// Nothing came: perhaps it has taken too long. Ready where the state has changed.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_busy = self.traffic.is_busy();
        let is_answering = self.traffic.is_answering();
        let answered = is_answering.then(|| self.patience.used());
        let place = self.scanner.place();
        match ready!(self.patience.poll(place, is_busy, answered, cx)) {
            ReadVerdict::Unused => self.state = State::Closed,
            ReadVerdict::Head => self.fail(RequestViolation::HeadTimeout, false),
            ReadVerdict::Body => self.fail(RequestViolation::BodyTimeout, true),
        }
        self.refuse_if_failed();
        Poll::Ready(())
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let connections = &self.connections;
        let linger = self
            .linger
            .get_or_insert_with(|| Box::new(Linger::new(connections.linger(), Instant::now())));
        if self.traffic.is_leaving() {
            linger.hurry();
        }
        linger.poll(&mut self.io, cx)
    }

    fn note_written(&mut self, written: &Poll<io::Result<usize>>) {
        if written.is_ready() {
            self.patience.wrote();
        }
    }
}

impl AsyncRead for Http1Guard {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let before = buf.filled().len();
        loop {
            if wire.deliver(buf) || buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            let waits = wire.ahead || wire.scanner.place() == ScanPlace::Paused;
            if waits && wire.let_in(cx) {
                continue;
            }
            match wire.state {
                State::Open => {}
                State::Refused => return Poll::Pending,
                State::Broken => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                State::HalfClosed => {
                    wire.state = State::Closed;
                    if wire.traffic.is_busy() {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    continue;
                }
                State::Closed => return Poll::Ready(Ok(())),
            }
            if wire.ahead && wire.held.len() >= AHEAD {
                return Poll::Pending;
            }
            let read = match wire.held.is_empty() && !wire.must_wait() {
                true => wire.poll_read_through(cx, buf),
                false => wire.poll_read_behind(cx),
            };
            match read {
                Poll::Ready(read) => read?,
                Poll::Pending => ready!(wire.poll_patience(cx)),
            }
        }
    }
}
