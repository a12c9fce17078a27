//! The exchange under way on a connection, which outlives the engine that read its request.
//!
//! The engine keeps 16 KiB of buffers for each connection as long as it serves it. The connection of a client that polls waits
//! without it, for an answer and for the next request: it leaves the engine, and a new one reads on, or sends the answer.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Method, Request, Response, Version};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;

use super::guard::Http1Guard;
use crate::http::body::Body;

/// What becomes the answer. Cheap to clone; `F` is the future that makes it.
pub(super) struct Exchange<F>(Arc<Mutex<Under<F>>>);

/// Boxed: the engine reserves memory for what it polls as long as the connection lives.
struct Under<F> {
    answer: Pending<F>,
    request: RequestFraming,
}

/// What the head of a request says of its end, and of the connection's.
#[derive(Clone, Copy, Default)]
pub(super) struct RequestFraming {
    is_get: bool,
    has_body: bool,
    stays_open: bool,
}

enum Pending<F> {
    None,
    Made(Pin<Box<F>>),
    /// The engine that sends it has not asked yet.
    Ready(Box<Response<Body>>),
}

impl<F> Clone for Exchange<F> {
    fn clone(&self) -> Self {
        Exchange(self.0.clone())
    }
}

impl<F: Future<Output = Response<Body>>> Exchange<F> {
    /// None is under way.
    pub(super) fn none() -> Self {
        Exchange(Arc::new(Mutex::new(Under {
            answer: Pending::None,
            request: RequestFraming::default(),
        })))
    }

    /// Whether the request that the engine has just read only stands for one that has its answer.
    pub(super) fn has_answer(&self) -> bool {
        matches!(self.lock().answer, Pending::Ready(_))
    }

    /// Begins with a request.
    pub(super) fn begin(&self, request: RequestFraming, future: F) {
        let answer = Pending::Made(Box::pin(future));
        *self.lock() = Under { answer, request };
    }

    /// Whether another request may stand for the one whose answer is waited for.
    pub(super) fn may_repeat(&self) -> bool {
        let under = self.lock();
        let RequestFraming {
            is_get,
            has_body,
            stays_open,
        } = under.request;
        matches!(under.answer, Pending::Made(_)) && is_get && !has_body && stays_open
    }

    /// Whether the last answer has been handed to the engine, which keeps the connection open behind it.
    pub(super) fn is_over(&self) -> bool {
        let under = self.lock();
        matches!(under.answer, Pending::None) && under.request.stays_open
    }

    /// The answer, once.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        let mut under = self.lock();
        let answer = match &mut under.answer {
            Pending::None => return Poll::Pending,
            Pending::Made(future) => ready!(future.as_mut().poll(cx)),
            Pending::Ready(_) => match std::mem::replace(&mut under.answer, Pending::None) {
                Pending::Ready(answer) => return Poll::Ready(*answer),
                _ => return Poll::Pending,
            },
        };
        under.answer = Pending::None;
        under.request.stays_open &= !answer.headers().contains_key(CONNECTION);
        Poll::Ready(answer)
    }

    /// Waits without an engine: for the answer, or for the next request where the last has its answer. `None` where the
    /// connection is over.
    pub(super) async fn wait(
        self,
        mut wire: Http1Guard,
        mut stop: watch::Receiver<bool>,
    ) -> Option<Http1Guard> {
        if self.is_over() {
            let comes = tokio::select! {
                biased;
                comes = poll_fn(|cx| wire.poll_request(cx)) => comes,
                // An error means that the listener is gone: the same.
                _ = stop.wait_for(|stop| *stop) => false,
            };
            if comes {
                return Some(wire);
            }
            // The client may be gone.
            let _ = wire.shutdown().await;
            return None;
        }
        let mut is_stopping = *stop.borrow();
        let answer = loop {
            tokio::select! {
                biased;
                answer = poll_fn(|cx| self.poll_beside(&mut wire, cx)) => break answer?,
                // An error means that the listener is gone: the same.
                _ = stop.wait_for(|stop| *stop), if !is_stopping => {
                    is_stopping = true;
                    wire.leave();
                }
            }
        };
        self.lock().answer = Pending::Ready(Box::new(answer));
        // The next engine reads what stands for the request, and its service finds the answer.
        wire.repeat_request(is_stopping);
        Some(wire)
    }

    fn poll_beside(
        &self,
        wire: &mut Http1Guard,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Response<Body>>> {
        if let Poll::Ready(answer) = self.poll(cx) {
            return Poll::Ready(Some(answer));
        }
        // The wire delivers nothing behind a request that has no answer: what ends here is the connection.
        let mut nothing = [0; 1];
        let read = Pin::new(wire).poll_read(cx, &mut ReadBuf::new(&mut nothing));
        read.map(|_| None)
    }

    fn lock(&self) -> MutexGuard<'_, Under<F>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RequestFraming {
    /// As the engine has read it.
    pub(super) fn of<B: hyper::body::Body>(request: &Request<B>) -> Self {
        let stays_open = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"keep-alive");
        let mut connection = request.headers().get_all(CONNECTION).iter();
        RequestFraming {
            is_get: request.method() == Method::GET,
            has_body: !request.body().is_end_stream(),
            stays_open: request.version() == Version::HTTP_11 && connection.all(stays_open),
        }
    }
}
