//! The clients that are sent events: one epoll loop that reads, counts and times what they receive.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::ClientConfig;
use serde::Deserialize;
use socket2::{Domain, Socket, Type};

use memchr::memmem;

use crate::channel::{self, Channel};
use crate::frame::{self, Frame};
use crate::histogram::Histogram;
use crate::http;
use crate::long_poll::{self, LongPoll};
use crate::stamp::{Clock, Stamp, age_area};

const READ_BYTES: usize = 256 * 1024;
/// Connections being opened at the same time, where the work is not to open all at once.
const OPENING: usize = 128;
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);
const EINPROGRESS: i32 = 115;

/// A server's endpoint.
#[derive(Clone, Deserialize)]
pub struct Target {
    pub address: SocketAddr,
    pub path: String,
    pub protocol: Protocol,
    /// A PEM file with the server's certificate, where it is spoken to over TLS.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// What each connection subscribes to, where one subscribes to several topics.
    #[serde(default)]
    pub subscriptions: Option<Subscriptions>,
}

/// So many of all topics on each connection, each connection the next ones.
#[derive(Clone, Deserialize)]
pub struct Subscriptions {
    pub topics: usize,
    pub each: usize,
    /// Of a topic, before its number: `sub` frames name it so, the handshake's path ends with a list of them otherwise.
    pub path: String,
    /// JSON.
    #[serde(default)]
    pub filter: Option<String>,
}

impl Subscriptions {
    /// Topics of the connection with this number.
    fn paths(&self, connection: usize) -> impl Iterator<Item = String> {
        let numbers = (0..self.each).map(move |at| (connection * self.each + at) % self.topics);
        numbers.map(|number| format!("{}{number}", self.path))
    }
}

/// What clients speak on it.
#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Each text message is an event.
    Raw,
    /// `crossfade.v1.json`: ready when the subscription is answered.
    Json,
    /// `crossfade.v1.json` without a subscription: ready when welcomed.
    Welcome,
    /// `crossfade.v1.json` with several: ready when all are answered.
    Subs,
    /// Engine.IO 4 and Socket.IO 5 over WebSocket: ready when the namespace is joined.
    SocketIo,
    /// The same over long-polling: a client polls again as soon as a poll is answered.
    Polling,
    /// No WebSocket at all: an event stream over HTTP, ready when its head is there.
    Sse,
}

/// What all clients together saw. The works clear and read it.
pub struct Tally {
    pub latency: Histogram,
    /// From `connect` to the handshake's answer.
    pub handshakes: Histogram,
    /// From `connect` until a connection is ready.
    pub joined: Histogram,
    /// Event numbers that a client should have seen and did not.
    pub lost: u64,
    /// Answers to polls that brought an event.
    pub polls: u64,
    /// Connections that the server refused or closed.
    pub closed: u64,
    /// The close code that came last, 0 where none did.
    pub close_code: u16,
    /// Age times time, in µs², of what viewers were shown: see [`Fleet::mean_age_ms`].
    age_area: f64,
}

pub struct Fleet {
    poll: Poll,
    events: Events,
    connections: Vec<Option<Connection>>,
    buffer: Box<[u8]>,
    target: Target,
    tls: Option<Arc<ClientConfig>>,
    clock: Clock,
    open: usize,
    ready: usize,
    pub tally: Tally,
}

struct Connection {
    stream: Channel,
    phase: Phase,
    number: usize,
    /// Subscriptions that are answered.
    subscribed: usize,
    /// The start of a frame or head whose rest has not come yet.
    partial: Vec<u8>,
    /// What it asks for, where it polls and has its session.
    long_poll: Option<LongPoll>,
    began_us: u64,
    seen: Option<Stamp>,
    shown_since_us: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Connecting,
    Handshaking,
    Joining,
    Ready,
}

impl Fleet {
    pub fn new(target: &Target, clock: Clock) -> io::Result<Fleet> {
        Ok(Fleet {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            connections: Vec::new(),
            buffer: vec![0; READ_BYTES].into(),
            target: target.clone(),
            tls: target.ca.as_deref().map(channel::trust).transpose()?,
            clock,
            open: 0,
            ready: 0,
            tally: Tally {
                latency: Histogram::new(),
                handshakes: Histogram::new(),
                joined: Histogram::new(),
                lost: 0,
                polls: 0,
                closed: 0,
                close_code: 0,
                age_area: 0.0,
            },
        })
    }

    /// Connections that are open and have joined.
    pub fn ready(&self) -> usize {
        self.ready
    }

    /// Opens `count` connections, some at a time, and waits until all have joined.
    pub fn open(&mut self, count: usize) -> io::Result<()> {
        let deadline = Instant::now() + OPEN_TIMEOUT;
        let wanted = self.open + count;
        while self.ready < wanted {
            while self.open < wanted && self.open - self.ready < OPENING {
                self.connect(None)?;
            }
            self.expect_progress(deadline)?;
        }
        Ok(())
    }

    /// Opens `count` connections as fast as this core can ask for them, and waits until all have joined.
    pub fn open_at_once(&mut self, count: usize) -> io::Result<()> {
        let deadline = Instant::now() + OPEN_TIMEOUT;
        let wanted = self.ready + count;
        for asked in 0..count {
            self.connect(None)?;
            if asked % OPENING == 0 {
                self.turn_once(Duration::ZERO)?;
            }
        }
        while self.ready < wanted {
            self.expect_progress(deadline)?;
        }
        Ok(())
    }

    /// Opens `count` connections that join and then never read again; their sockets take as little as the kernel lets them.
    pub fn open_stalled(&mut self, count: usize) -> io::Result<Vec<Channel>> {
        let first = self.connections.len();
        let deadline = Instant::now() + OPEN_TIMEOUT;
        let wanted = self.ready + count;
        for _ in 0..count {
            self.connect(Some(4096))?;
        }
        while self.ready < wanted {
            self.expect_progress(deadline)?;
        }
        let mut stalled = Vec::new();
        for slot in self.connections.iter_mut().skip(first) {
            if let Some(mut connection) = slot.take() {
                self.poll
                    .registry()
                    .deregister(connection.stream.socket())?;
                self.open -= 1;
                self.ready -= 1;
                stalled.push(connection.stream);
            }
        }
        Ok(stalled)
    }

    /// Asks for one more connection, without waiting for it.
    pub fn connect(&mut self, receive_buffer: Option<usize>) -> io::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        // Closed by a reset: thousands of sockets in TIME_WAIT would leave no ports for the next run.
        socket.set_linger(Some(Duration::ZERO))?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let began_us = self.clock.now_us();
        match socket.connect(&self.target.address.into()) {
            Err(error) if error.raw_os_error() != Some(EINPROGRESS) => return Err(error),
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        let token = Token(self.connections.len());
        self.poll.registry().register(
            &mut stream,
            token,
            Interest::READABLE | Interest::WRITABLE,
        )?;
        self.open += 1;
        self.connections.push(Some(Connection {
            stream: Channel::new(stream, self.tls.as_ref())?,
            phase: Phase::Connecting,
            number: token.0,
            subscribed: 0,
            partial: Vec::new(),
            long_poll: None,
            began_us,
            seen: None,
            shown_since_us: 0,
        }));
        Ok(())
    }

    /// Reads what comes, for so long.
    pub fn turn(&mut self, time: Duration) -> io::Result<()> {
        self.turn_until(Instant::now() + time)
    }

    pub fn turn_until(&mut self, deadline: Instant) -> io::Result<()> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.turn_once(left)?;
        }
    }

    /// Forgets the ages so far: a new measurement begins.
    pub fn restart_age(&mut self) {
        let now_us = self.clock.now_us();
        self.tally.age_area = 0.0;
        self.connections
            .iter_mut()
            .flatten()
            .for_each(|connection| connection.shown_since_us = now_us);
    }

    /// How old, on the average over `seconds` and all viewers, what they were shown was.
    pub fn mean_age_ms(&mut self, seconds: f64) -> f64 {
        let now_us = self.clock.now_us();
        let last: f64 = self
            .connections
            .iter()
            .flatten()
            .map(|connection| connection.age_area(now_us))
            .sum();
        (self.tally.age_area + last) / (seconds * 1e6 * self.ready as f64) / 1e3
    }

    fn expect_progress(&mut self, deadline: Instant) -> io::Result<()> {
        let before = self.tally.closed;
        self.turn_once(Duration::from_millis(100))?;
        if self.tally.closed > before {
            return Err(io::Error::other(format!(
                "refused or closed while opening, code {}",
                self.tally.close_code
            )));
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!(
                "only {} of {} connections joined",
                self.ready, self.open
            )));
        }
        Ok(())
    }

    fn turn_once(&mut self, timeout: Duration) -> io::Result<()> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let polled = self.poll.poll(&mut events, Some(timeout));
        for event in &events {
            self.advance(event.token());
        }
        self.events = events;
        match polled {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    fn advance(&mut self, Token(index): Token) {
        let Some(slot) = self.connections.get_mut(index) else {
            return;
        };
        let Some(connection) = slot else { return };
        let before = connection.phase;
        let mut reader = Reader {
            target: &self.target,
            clock: self.clock,
            tally: &mut self.tally,
        };
        let lives = reader.advance(connection, &mut self.buffer);
        if connection.phase == Phase::Ready && before != Phase::Ready {
            self.ready += 1;
            let now_us = self.clock.now_us();
            let joined = &mut self.tally.joined;
            joined.add(now_us.saturating_sub(connection.began_us));
        }
        if !lives {
            self.open -= 1;
            self.ready -= usize::from(connection.phase == Phase::Ready);
            self.tally.closed += 1;
            *slot = None;
        }
    }
}

impl Connection {
    /// The next request of a client that polls.
    fn ask(&mut self, request: impl FnOnce(&LongPoll) -> Vec<u8>) -> bool {
        let request = self.long_poll.as_ref().map(request);
        request.is_some_and(|request| self.stream.write_all(&request).is_ok())
    }

    fn age_area(&self, now_us: u64) -> f64 {
        age_area(self.seen, self.shown_since_us, now_us)
    }
}

/// Advances one connection.
struct Reader<'a> {
    target: &'a Target,
    clock: Clock,
    tally: &'a mut Tally,
}

impl Reader<'_> {
    /// Whether the connection lives on.
    fn advance(&mut self, connection: &mut Connection, buffer: &mut [u8]) -> bool {
        if connection.phase == Phase::Connecting && !self.send_handshake(connection) {
            return false;
        }
        loop {
            let kept = connection.partial.len();
            let Some((head, space)) = buffer.split_at_mut_checked(kept) else {
                return false;
            };
            match connection.stream.read(space) {
                Ok(0) => return false,
                Ok(length) => {
                    head.copy_from_slice(&connection.partial);
                    connection.partial.clear();
                    let drained = connection.stream.is_plain() && length < space.len();
                    if !self.consume(connection, &buffer[..kept + length]) {
                        return false;
                    }
                    if drained {
                        return true;
                    }
                }
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }

    fn send_handshake(&self, connection: &mut Connection) -> bool {
        match connection.stream.socket().peer_addr() {
            Ok(_) => {}
            Err(error) => {
                return error.kind() == io::ErrorKind::NotConnected
                    && connection
                        .stream
                        .socket()
                        .take_error()
                        .is_ok_and(|error| error.is_none());
            }
        }
        let subprotocol = match self.target.protocol {
            Protocol::Json | Protocol::Welcome | Protocol::Subs => Some("crossfade.v1.json"),
            Protocol::Raw | Protocol::SocketIo | Protocol::Polling | Protocol::Sse => None,
        };
        let (host, mut path) = (self.target.address.to_string(), self.target.path.clone());
        if self.target.protocol == Protocol::Raw
            && let Some(subscriptions) = &self.target.subscriptions
        {
            let topics: Vec<_> = subscriptions.paths(connection.number).collect();
            path.push_str(&topics.join(","));
        }
        let request = match self.target.protocol {
            Protocol::Sse => {
                format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n")
            }
            Protocol::Polling => format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            _ => frame::handshake(&host, &path, subprotocol),
        };
        connection.phase = Phase::Handshaking;
        connection.stream.write_all(request.as_bytes()).is_ok()
    }

    fn consume(&mut self, connection: &mut Connection, bytes: &[u8]) -> bool {
        if self.target.protocol == Protocol::Polling {
            return self.consume_answers(connection, bytes);
        }
        let mut rest = bytes;
        let now_us = self.clock.now_us();
        if connection.phase == Phase::Handshaking {
            let Some(length) = http::head_length(rest) else {
                connection.partial.extend(rest);
                return true;
            };
            let is_stream = self.target.protocol == Protocol::Sse;
            if http::status(rest) != Some(if is_stream { 200 } else { 101 }) {
                return false;
            }
            self.tally
                .handshakes
                .add(now_us.saturating_sub(connection.began_us));
            connection.phase = match self.target.protocol {
                Protocol::Raw | Protocol::Sse => Phase::Ready,
                _ => Phase::Joining,
            };
            rest = &rest[length..];
        }
        if self.target.protocol == Protocol::Sse {
            // A chunk's frame, where a proxy wrote one, lies between two events.
            while let Some(end) = memmem::find(rest, b"\n\n") {
                self.take(connection, &rest[..end], now_us);
                rest = &rest[end + 2..];
            }
            connection.partial.extend(rest);
            return true;
        }
        while let Some((frame, length)) = frame::next(rest) {
            rest = &rest[length..];
            let goes_on = match frame {
                Frame::Text(payload) => self.take(connection, payload, now_us),
                Frame::Ping(payload) => connection
                    .stream
                    .write_all(&frame::masked(10, payload))
                    .is_ok(),
                Frame::Close(code) => {
                    self.tally.close_code = code;
                    false
                }
                Frame::Other => true,
            };
            if !goes_on {
                return false;
            }
        }
        connection.partial.extend(rest);
        true
    }

    /// Of a client that polls.
    fn consume_answers(&mut self, connection: &mut Connection, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        let now_us = self.clock.now_us();
        while let Some(length) = http::head_length(rest) {
            let end = length + http::body_length(&rest[..length]);
            let Some(body) = rest.get(length..end) else {
                break;
            };
            if http::status(rest) != Some(200) || !self.take_answer(connection, body, now_us) {
                return false;
            }
            rest = &rest[end..];
        }
        connection.partial.extend(rest);
        true
    }

    fn take_answer(&mut self, connection: &mut Connection, body: &[u8], now_us: u64) -> bool {
        if connection.phase == Phase::Handshaking {
            let took_us = now_us.saturating_sub(connection.began_us);
            self.tally.handshakes.add(took_us);
            let Target { address, path, .. } = self.target;
            connection.long_poll = LongPoll::open(*address, path, body);
            connection.phase = Phase::Joining;
            return connection.ask(|session| session.post("40"));
        }
        if body == long_poll::POSTED {
            return connection.ask(LongPoll::poll);
        }
        let before = self.tally.latency.count();
        let mut is_pinged = false;
        for packet in long_poll::packets(body) {
            is_pinged |= packet == b"2";
            if packet == b"1" || !self.take(connection, packet, now_us) {
                return false;
            }
        }
        self.tally.polls += u64::from(self.tally.latency.count() > before);
        connection.ask(|session| match is_pinged {
            true => session.post("3"),
            false => session.poll(),
        })
    }

    fn take(&mut self, connection: &mut Connection, payload: &[u8], now_us: u64) -> bool {
        let Some(stamp) = Stamp::find(payload) else {
            return self.take_control(connection, payload);
        };
        self.tally.latency.add(now_us.saturating_sub(stamp.at_us));
        self.tally.age_area += connection.age_area(now_us);
        // Where it hears several topics, what another one published in between is not lost.
        if self.target.subscriptions.is_none()
            && let Some(seen) = connection.seen
        {
            self.tally.lost += stamp.number.saturating_sub(seen.number + 1);
        }
        connection.seen = Some(stamp);
        connection.shown_since_us = now_us;
        true
    }

    fn take_control(&self, connection: &mut Connection, payload: &[u8]) -> bool {
        let has = |part: &str| payload.starts_with(part.as_bytes());
        let joined = match self.target.protocol {
            Protocol::Raw | Protocol::Sse => false,
            Protocol::Json if has("{\"t\":\"err\"") => return false,
            Protocol::Json => has("{\"t\":\"ok\""),
            Protocol::Welcome => has("{\"t\":\"welcome\""),
            Protocol::Subs if has("{\"t\":\"err\"") => return false,
            Protocol::Subs if has("{\"t\":\"welcome\"") => return self.subscribe(connection),
            Protocol::Subs if has("{\"t\":\"ok\"") => {
                connection.subscribed += 1;
                let all = self.target.subscriptions.as_ref().map_or(0, |all| all.each);
                connection.subscribed == all
            }
            Protocol::Subs => false,
            Protocol::SocketIo | Protocol::Polling if has("44") => return false,
            Protocol::SocketIo if has("0{") => {
                return connection
                    .stream
                    .write_all(&frame::masked(1, b"40"))
                    .is_ok();
            }
            Protocol::SocketIo if has("2") => {
                return connection.stream.write_all(&frame::masked(1, b"3")).is_ok();
            }
            Protocol::SocketIo | Protocol::Polling => has("40"),
        };
        if joined {
            connection.phase = Phase::Ready;
        }
        true
    }

    fn subscribe(&self, connection: &mut Connection) -> bool {
        let Some(subscriptions) = &self.target.subscriptions else {
            return false;
        };
        let filter = subscriptions.filter.as_ref();
        let filter = filter.map_or(String::new(), |filter| format!(",\"filter\":{filter}"));
        let mut frames = Vec::new();
        for (id, path) in subscriptions.paths(connection.number).enumerate() {
            let sub = format!("{{\"t\":\"sub\",\"id\":{id},\"path\":\"{path}\"{filter}}}");
            frames.extend(frame::masked(1, sub.as_bytes()));
        }
        connection.stream.write_all(&frames).is_ok()
    }
}
