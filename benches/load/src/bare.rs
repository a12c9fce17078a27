//! The floor: a server that does nothing but one `write` of a finished frame per event and connection. No history, no
//! positions, no bounds: what it costs is what the kernel costs, and no server that sends each event by itself can be cheaper.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream as Upstream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use crate::{frame, http};

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
const FIRST: usize = 2;
/// Events that may wait to be sent; where more come, the backend waits.
const WAITING: usize = 1024;

/// Serves on a port that it prints as `ready ADDRESS`, what comes from the event stream at `path` of `upstream`.
pub fn serve(upstream: &str, path: &str) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let (send, received) = mpsc::sync_channel(WAITING);
    let mut stream = Upstream::connect(upstream)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {upstream}\r\n\r\n")?;
    let reader_s = Arc::clone(&waker);
    thread::spawn(move || read_events(stream, &send, &reader_s));
    println!("ready {}", listener.local_addr()?);

    let mut connections = Connections(Vec::new());
    let mut events = Events::with_capacity(1024);
    loop {
        if let Err(error) = poll.poll(&mut events, None)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error);
        }
        for event in &events {
            match event.token() {
                LISTENER => connections.accept(&listener, &poll)?,
                WAKER => {
                    if connections.send_some(&received) {
                        waker.wake()?;
                    }
                }
                Token(token) => connections.read(token - FIRST),
            }
        }
    }
}

fn read_events(stream: Upstream, events: &SyncSender<Vec<u8>>, waker: &Waker) {
    let lines = BufReader::new(stream).lines();
    for line in lines.map_while(Result::ok) {
        if let Some(data) = line.strip_prefix("data: ")
            && (events.send(frame::text(data.as_bytes())).is_err() || waker.wake().is_err())
        {
            return;
        }
    }
}

/// By slot, and whether the handshake is done.
struct Connections(Vec<Option<(TcpStream, bool)>>);

impl Connections {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> io::Result<()> {
        while let Ok((mut stream, _)) = listener.accept() {
            stream.set_nodelay(true)?;
            poll.registry().register(
                &mut stream,
                Token(FIRST + self.0.len()),
                Interest::READABLE,
            )?;
            self.0.push(Some((stream, false)));
        }
        Ok(())
    }

    /// Answers the handshake, which comes in one piece; what follows is dropped.
    fn read(&mut self, index: usize) {
        let Some(slot) = self.0.get_mut(index) else {
            return;
        };
        let Some((stream, upgraded)) = slot else {
            return;
        };
        let mut chunk = [0; 4096];
        let lives = loop {
            match stream.read(&mut chunk) {
                Ok(0) => break false,
                Ok(length) if !*upgraded && http::head_length(&chunk[..length]).is_some() => {
                    *upgraded = true;
                    if stream.write_all(frame::ACCEPT.as_bytes()).is_err() {
                        break false;
                    }
                }
                Ok(_) => {}
                Err(error) => break error.kind() == io::ErrorKind::WouldBlock,
            }
        };
        if !lives {
            *slot = None;
        }
    }

    /// A few events, so that newcomers get their turn; whether there were any.
    fn send_some(&mut self, events: &Receiver<Vec<u8>>) -> bool {
        let mut any = false;
        for frame in events.try_iter().take(4) {
            any = true;
            for slot in &mut self.0 {
                if let Some((stream, true)) = slot
                    && !matches!(stream.write(&frame), Ok(length) if length == frame.len())
                {
                    *slot = None;
                }
            }
        }
        any
    }
}
