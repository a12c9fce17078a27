//! The legacy backend: an event stream at every path under `/events`, a polled document at `/list`, so many bytes at
//! `/bytes/COUNT`, and a WebSocket that says nothing at `/ws` (for proxies that only pass one through). One thread, besides
//! the publisher's.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::publisher::Publisher;
use crate::stamp::{Clock, Stamp};
use crate::{frame, http};

const LISTENER: Token = Token(0);
const DOCUMENT_BYTES: usize = 1024;
const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\r\n";

/// What the works see of it.
pub struct Backend {
    address: SocketAddr,
    pub publisher: Arc<Publisher>,
    polls: Arc<AtomicU64>,
}

impl Backend {
    pub fn start(clock: Clock) -> io::Result<Backend> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let backend = Backend {
            address: listener.local_addr()?,
            publisher: Publisher::start(clock),
            polls: Arc::default(),
        };
        let mut server = Server {
            poll: Poll::new()?,
            listener,
            connections: HashMap::new(),
            next: LISTENER.0 + 1,
            clock,
            publisher: Arc::clone(&backend.publisher),
            polls: Arc::clone(&backend.polls),
            blobs: HashMap::new(),
        };
        thread::Builder::new()
            .name("backend".into())
            .spawn(move || server.serve())?;
        Ok(backend)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests for `/list` since the start.
    pub fn polls(&self) -> u64 {
        self.polls.load(Relaxed)
    }
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    connections: HashMap<Token, Connection>,
    next: usize,
    clock: Clock,
    publisher: Arc<Publisher>,
    polls: Arc<AtomicU64>,
    /// Finished answers of `/bytes/COUNT`, by path.
    blobs: HashMap<String, Arc<[u8]>>,
}

struct Connection {
    stream: TcpStream,
    upgraded: bool,
    received: Vec<u8>,
    /// An answer, and how much of it the kernel has taken.
    unsent: Option<(Arc<[u8]>, usize)>,
}

/// What becomes of a connection after it was served.
enum After {
    Stays,
    Closes,
    Streams(String),
}

impl Server {
    fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        self.poll
            .registry()
            .register(&mut self.listener, LISTENER, Interest::READABLE)?;
        loop {
            if let Err(error) = self.poll.poll(&mut events, None)
                && error.kind() != io::ErrorKind::Interrupted
            {
                return Err(error);
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    token => self.advance(token)?,
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Ok((mut stream, _)) = self.listener.accept() {
            stream.set_nodelay(true)?;
            let token = Token(self.next);
            self.next += 1;
            self.poll.registry().register(
                &mut stream,
                token,
                Interest::READABLE | Interest::WRITABLE,
            )?;
            self.connections.insert(
                token,
                Connection {
                    stream,
                    upgraded: false,
                    received: Vec::new(),
                    unsent: None,
                },
            );
        }
        Ok(())
    }

    fn advance(&mut self, token: Token) -> io::Result<()> {
        let Some(mut connection) = self.connections.remove(&token) else {
            return Ok(());
        };
        match self.answer(&mut connection) {
            After::Stays => {
                self.connections.insert(token, connection);
            }
            After::Closes => {}
            After::Streams(path) => {
                self.poll.registry().deregister(&mut connection.stream)?;
                self.publisher.add(path, connection.stream.into())?;
            }
        }
        Ok(())
    }

    /// Reads all that is there and answers every whole request in it.
    fn answer(&mut self, connection: &mut Connection) -> After {
        if connection.send_rest().is_err() {
            return After::Closes;
        }
        let mut chunk = [0; 4096];
        loop {
            match connection.stream.read(&mut chunk) {
                Ok(0) => return After::Closes,
                Ok(_) if connection.upgraded => {}
                Ok(length) => {
                    connection.received.extend(&chunk[..length]);
                    if length < chunk.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return After::Closes,
            }
        }
        while let Some(length) = http::head_length(&connection.received) {
            let head: Vec<u8> = connection.received.drain(..length).collect();
            let path = http::path(&head);
            if path.starts_with("/bytes/") {
                connection.unsent = Some((self.blob(path), 0));
                if connection.send_rest().is_err() {
                    return After::Closes;
                }
                continue;
            }
            let answer = match path {
                "/list" => self.document(),
                "/ws" => {
                    connection.upgraded = true;
                    frame::ACCEPT.into()
                }
                _ if path.starts_with("/events") => STREAM_HEAD.into(),
                _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into(),
            };
            if connection.stream.write_all(answer.as_bytes()).is_err() {
                return After::Closes;
            }
            if answer == STREAM_HEAD {
                return After::Streams(path.to_owned());
            }
        }
        if connection.received.is_empty() {
            connection.received = Vec::new();
        }
        After::Stays
    }

    fn blob(&mut self, path: &str) -> Arc<[u8]> {
        if let Some(blob) = self.blobs.get(path) {
            return Arc::clone(blob);
        }
        let length = path.trim_start_matches("/bytes/").parse().unwrap_or(0);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut answer = head.into_bytes();
        answer.resize(answer.len() + length, b'x');
        let blob: Arc<[u8]> = answer.into();
        self.blobs.insert(path.to_owned(), Arc::clone(&blob));
        blob
    }

    /// A list that changes all the time: each answer is another one, and says when it was true.
    fn document(&self) -> String {
        let number = self.polls.fetch_add(1, Relaxed);
        let stamp = Stamp {
            at_us: self.clock.now_us(),
            number,
        };
        let body = format!("[{}]", stamp.to_json(DOCUMENT_BYTES - 2));
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

impl Connection {
    /// Sends what the kernel takes of an answer; the rest follows when its buffer has space.
    fn send_rest(&mut self) -> io::Result<()> {
        while let Some((answer, sent)) = &mut self.unsent {
            match self.stream.write(&answer[*sent..]) {
                Ok(length) => *sent += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if *sent == answer.len() {
                self.unsent = None;
            }
        }
        Ok(())
    }
}
