//! A transport in memory: what a client sends is there at once, and it takes as many bytes as it has room for. The time is
//! tokio's, paused: it passes only where nothing else can happen.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::transport::outbox::{Framing, Outbox};
use crate::transport::{Incoming, Transport};

/// What no message begins with: a word of the transport itself.
const CONTROL: u8 = 0;

/// A connection between a session and a client of a test.
pub(crate) fn pair(room: usize) -> (Box<dyn Transport>, Far) {
    let line = Arc::new(Mutex::new(Line {
        room,
        ..Line::default()
    }));
    let near = Near {
        line: line.clone(),
        longest: usize::MAX,
        read: 0,
        end: End::No,
    };
    (Box::new(near), Far { line })
}

#[derive(Default)]
struct Line {
    to_session: VecDeque<Incoming>,
    to_client: VecDeque<Bytes>,
    /// Bytes that the client may leave unread.
    room: usize,
    unread: usize,
    near_is_gone: bool,
    far_is_gone: bool,
    session: Option<Waker>,
    client: Option<Waker>,
}

impl Line {
    fn wake_session(&mut self) {
        self.session.take().into_iter().for_each(Waker::wake);
    }

    fn wake_client(&mut self) {
        self.client.take().into_iter().for_each(Waker::wake);
    }
}

/// The session's end.
struct Near {
    line: Arc<Mutex<Line>>,
    longest: usize,
    read: u64,
    end: End,
}

#[derive(PartialEq)]
enum End {
    No,
    /// The session has said it; the client has not answered.
    Asked,
    /// The client has.
    Agreed,
}

/// The client's end.
pub(crate) struct Far {
    line: Arc<Mutex<Line>>,
}

fn lock(line: &Mutex<Line>) -> std::sync::MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

fn control(word: &str) -> Bytes {
    [&[CONTROL], word.as_bytes()].concat().into()
}

impl Transport for Near {
    fn framing(&self) -> Framing {
        Framing::EngineIo
    }

    fn poll_receive(
        &mut self,
        outbox: &mut Outbox,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Incoming>> {
        if outbox.is_held() {
            ready!(self.poll_send(outbox, cx))?;
        }
        let mut line = lock(&self.line);
        let Some(incoming) = line.to_session.pop_front() else {
            if line.far_is_gone {
                return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
            }
            line.session = Some(cx.waker().clone());
            return Poll::Pending;
        };
        drop(line);
        Poll::Ready(Ok(match incoming {
            Incoming::Text(bytes) | Incoming::Binary(bytes) if bytes.len() > self.longest => {
                self.close(outbox, 4009, "");
                self.end = End::Agreed;
                Incoming::Broken(4009)
            }
            Incoming::Close(code) => {
                if self.end == End::No {
                    outbox.control(control("close"));
                    outbox.seal();
                }
                self.end = End::Agreed;
                Incoming::Close(code)
            }
            incoming => {
                if let Incoming::Text(bytes) | Incoming::Binary(bytes) = &incoming {
                    self.read += bytes.len() as u64;
                }
                incoming
            }
        }))
    }

    fn poll_send(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut line = lock(&self.line);
        while !outbox.is_empty() {
            if line.far_is_gone {
                return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
            }
            if line.unread >= line.room {
                line.session = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let piece = outbox.pop().expect("it is not empty");
            line.unread += piece.len();
            line.to_client.push_back(piece);
            line.wake_client();
        }
        Poll::Ready(Ok(()))
    }

    fn ping(&mut self, outbox: &mut Outbox) {
        outbox.control_first(control("ping"));
    }

    fn close(&mut self, outbox: &mut Outbox, code: u16, reason: &str) {
        if self.end == End::No {
            outbox.control(control(&format!("close {code} {reason}")));
            outbox.seal();
            self.end = End::Asked;
        }
    }

    fn poll_end(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<()> {
        while self.end == End::Asked {
            if self.poll_send(outbox, cx).is_pending() {
                return Poll::Pending;
            }
            if ready!(self.poll_receive(outbox, cx)).is_err() {
                return Poll::Ready(());
            }
        }
        self.poll_send(outbox, cx).map(drop)
    }

    fn limit_messages(&mut self, bytes: usize) {
        self.longest = bytes;
    }

    fn bytes_read(&self) -> u64 {
        self.read
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        let mut line = lock(&self.line);
        line.near_is_gone = true;
        line.wake_client();
    }
}

impl Far {
    /// Sends a message, or what a client says beside messages.
    pub(crate) fn send(&self, message: Message) {
        let incoming = match message {
            Message::Text(text) => Incoming::Text(text.into()),
            Message::Binary(bytes) => Incoming::Binary(bytes),
            Message::Ping(_) => Incoming::Ping,
            Message::Pong(_) => Incoming::Pong,
            Message::Close(frame) => Incoming::Close(frame.map(|frame| frame.code.into())),
            Message::Frame(frame) => panic!("{frame:?}"),
        };
        let mut line = lock(&self.line);
        line.to_session.push_back(incoming);
        line.wake_session();
    }

    /// What comes next; pings and closes are answered. `None` where the session has let go.
    pub(crate) async fn next(&self) -> Option<Message> {
        let piece = std::future::poll_fn(|cx| {
            let mut line = lock(&self.line);
            match line.to_client.pop_front() {
                Some(piece) => {
                    line.unread -= piece.len();
                    line.wake_session();
                    Poll::Ready(Some(piece))
                }
                None if line.near_is_gone => Poll::Ready(None),
                None => {
                    line.client = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await?;
        let text = std::str::from_utf8(&piece).expect("UTF-8");
        let Some(word) = text.strip_prefix(char::from(CONTROL)) else {
            return Some(Message::text(text));
        };
        if word == "ping" {
            self.send(Message::Pong(Bytes::new()));
            return Some(Message::Ping(Bytes::new()));
        }
        self.send(Message::Close(None));
        let mut words = word.splitn(3, ' ').skip(1);
        let frame = words.next().map(|code| CloseFrame {
            code: code.parse::<u16>().expect("a code").into(),
            reason: words.next().unwrap_or_default().into(),
        });
        Some(Message::Close(frame))
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let mut line = lock(&self.line);
        line.far_is_gone = true;
        line.wake_session();
    }
}
