//! Viewers without WebSocket: each asks for the document once a period, evenly spread over it, on a connection it keeps.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::http;
use crate::stamp::{Clock, Stamp, age_area};

pub struct Pollers {
    poll: Poll,
    viewers: Vec<Viewer>,
    request: String,
    clock: Clock,
    age_area: f64,
}

struct Viewer {
    stream: TcpStream,
    received: Vec<u8>,
    seen: Option<Stamp>,
    shown_since_us: u64,
}

impl Pollers {
    pub fn open(
        address: SocketAddr,
        path: &str,
        count: usize,
        clock: Clock,
    ) -> io::Result<Pollers> {
        let poll = Poll::new()?;
        let mut viewers = Vec::with_capacity(count);
        for index in 0..count {
            let plain = std::net::TcpStream::connect(address)?;
            plain.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(plain);
            poll.registry()
                .register(&mut stream, Token(index), Interest::READABLE)?;
            viewers.push(Viewer {
                stream,
                received: Vec::new(),
                seen: None,
                shown_since_us: 0,
            });
        }
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        Ok(Pollers {
            poll,
            viewers,
            request,
            clock,
            age_area: 0.0,
        })
    }

    /// Polls for so long, each viewer once a `period`.
    pub fn turn(&mut self, time: Duration, period: Duration) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let began = Instant::now();
        let step = period / u32::try_from(self.viewers.len()).map_err(io::Error::other)?;
        let mut asked = 0;
        while began.elapsed() < time {
            while step * asked <= began.elapsed() {
                let index = asked as usize % self.viewers.len();
                self.viewers[index]
                    .stream
                    .write_all(self.request.as_bytes())?;
                asked += 1;
            }
            // The kernel counts a wait in whole milliseconds: several may be due at once.
            self.poll.poll(
                &mut events,
                Some((step * asked).saturating_sub(began.elapsed())),
            )?;
            for event in &events {
                self.receive(event.token())?;
            }
        }
        Ok(())
    }

    pub fn restart_age(&mut self) {
        self.age_area = 0.0;
        let now_us = self.clock.now_us();
        self.viewers
            .iter_mut()
            .for_each(|viewer| viewer.shown_since_us = now_us);
    }

    /// As [`crate::fleet::Fleet::mean_age_ms`].
    pub fn mean_age_ms(&self, seconds: f64) -> f64 {
        let now_us = self.clock.now_us();
        let last: f64 = self
            .viewers
            .iter()
            .map(|viewer| age_area(viewer.seen, viewer.shown_since_us, now_us))
            .sum();
        (self.age_area + last) / (seconds * 1e6 * self.viewers.len() as f64) / 1e3
    }

    fn receive(&mut self, Token(index): Token) -> io::Result<()> {
        let Some(viewer) = self.viewers.get_mut(index) else {
            return Ok(());
        };
        let mut chunk = [0; 16 * 1024];
        loop {
            match viewer.stream.read(&mut chunk) {
                Ok(0) => return Err(io::Error::other("the polled server closed a connection")),
                Ok(length) => viewer.received.extend(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let now_us = self.clock.now_us();
        while let Some(length) = http::head_length(&viewer.received) {
            let end = length + http::body_length(&viewer.received[..length]);
            let Some(answer) = viewer.received.get(..end) else {
                break;
            };
            self.age_area += age_area(viewer.seen, viewer.shown_since_us, now_us);
            viewer.seen = Stamp::find(answer);
            viewer.shown_since_us = now_us;
            viewer.received.drain(..end);
        }
        Ok(())
    }
}
