//! HTTP/1.1 clients, each of which asks again as soon as it has its answer: one epoll loop over connections that are kept.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::channel::{self, Channel};
use crate::fleet::Target;
use crate::histogram::Histogram;
use crate::http;

const READ_BYTES: usize = 256 * 1024;
/// A server that answers no request for so long is given up.
const SILENCE: Duration = Duration::from_secs(10);

pub struct Askers {
    poll: Poll,
    clients: Vec<Client>,
    request: Vec<u8>,
    buffer: Box<[u8]>,
    /// From a request's first byte written to its answer's last byte read.
    pub latency: Histogram,
}

struct Client {
    channel: Channel,
    asked: Instant,
    /// The start of a head whose rest has not come yet.
    head: Vec<u8>,
    body_left: usize,
}

impl Askers {
    /// Opens `count` connections, each with its first request.
    pub fn open(target: &Target, count: usize) -> io::Result<Askers> {
        let tls = target.ca.as_deref().map(channel::trust).transpose()?;
        let (path, host) = (&target.path, target.address);
        let mut askers = Askers {
            poll: Poll::new()?,
            clients: Vec::with_capacity(count),
            request: format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into(),
            buffer: vec![0; READ_BYTES].into(),
            latency: Histogram::new(),
        };
        for index in 0..count {
            let plain = std::net::TcpStream::connect(target.address)?;
            plain.set_nodelay(true)?;
            plain.set_nonblocking(true)?;
            let mut client = Client {
                channel: Channel::new(TcpStream::from_std(plain), tls.as_ref())?,
                asked: Instant::now(),
                head: Vec::new(),
                body_left: 0,
            };
            askers.poll.registry().register(
                client.channel.socket(),
                Token(index),
                Interest::READABLE,
            )?;
            client.channel.write_all(&askers.request)?;
            askers.clients.push(client);
        }
        Ok(askers)
    }

    /// Asks for so long.
    pub fn turn(&mut self, time: Duration) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut heard = Instant::now();
        let deadline = heard + time;
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Ok(());
            }
            match self.poll.poll(&mut events, Some(deadline - now)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            if !events.is_empty() {
                heard = now;
            } else if now - heard > SILENCE {
                return Err(io::Error::other("the server fell silent"));
            }
            for event in &events {
                let Token(index) = event.token();
                if let Some(client) = self.clients.get_mut(index) {
                    client.advance(&self.request, &mut self.buffer, &mut self.latency)?;
                }
            }
        }
    }
}

impl Client {
    fn advance(
        &mut self,
        request: &[u8],
        buffer: &mut [u8],
        latency: &mut Histogram,
    ) -> io::Result<()> {
        loop {
            let length = match self.channel.read(buffer) {
                Ok(0) => return Err(io::Error::other("the server closed a connection")),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            if self.take(&buffer[..length])? {
                let now = Instant::now();
                let took = now - self.asked;
                latency.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
                self.asked = now;
                self.channel.write_all(request)?;
            }
            if self.channel.is_plain() && length < buffer.len() {
                return Ok(());
            }
        }
    }

    /// Whether the answer is whole with this piece. Nothing can follow it: no request is open.
    fn take(&mut self, piece: &[u8]) -> io::Result<bool> {
        if self.body_left > 0 {
            self.body_left = self.body_left.saturating_sub(piece.len());
            return Ok(self.body_left == 0);
        }
        self.head.extend(piece);
        let Some(length) = http::head_length(&self.head) else {
            return Ok(false);
        };
        let (head, body) = self.head.split_at(length);
        if http::status(head) != Some(200) {
            let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            return Err(io::Error::other(format!("an answer began {line:?}")));
        }
        self.body_left = http::body_length(head).saturating_sub(body.len());
        self.head.clear();
        Ok(self.body_left == 0)
    }
}
