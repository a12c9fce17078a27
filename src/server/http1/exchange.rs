//! The exchange under way on a connection, which outlives the engine that read its request.
//!
//! The engine keeps 16 KiB of buffers for each connection as long as it serves it. The connection of a client that polls waits
//! without it, for an answer and for the next request: it leaves the engine, and a new one reads on, or sends the answer.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Request, Response, Version};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;

use super::guard::Http1Guard;
use crate::http::body::Body;

/// What becomes the answer. Cheap to clone; `F` is the future that makes it.
pub(super) struct Exchange<F>(Arc<Mutex<Under<F>>>);

struct Under<F> {
    /// Boxed: the engine reserves memory for what it polls as long as the connection lives.
    future: Option<Pin<Box<F>>>,
    /// What the future came to without an engine; the next one sends it.
    answer: Option<Box<Response<Body>>>,
    /// Whether neither the request nor its answer ends the connection.
    stays_open: bool,
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
            future: None,
            answer: None,
            stays_open: false,
        })))
    }

    /// Whether the request that the engine has just read only stands for one that has its answer.
    pub(super) fn has_answer(&self) -> bool {
        self.lock().answer.is_some()
    }

    /// Begins with a request of which [`stays_open`] said this.
    pub(super) fn begin(&self, stays_open: bool, future: F) {
        *self.lock() = Under {
            future: Some(Box::pin(future)),
            answer: None,
            stays_open,
        };
    }

    /// Whether the answer is waited for, and the connection stays open behind it.
    pub(super) fn is_awaited(&self) -> bool {
        let under = self.lock();
        under.future.is_some() && under.stays_open
    }

    /// Whether the last answer has been handed to the engine, which keeps the connection open behind it.
    pub(super) fn is_over(&self) -> bool {
        let under = self.lock();
        under.future.is_none() && under.answer.is_none() && under.stays_open
    }

    /// The answer, once.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        let mut under = self.lock();
        if let Some(answer) = under.answer.take() {
            return Poll::Ready(*answer);
        }
        let Some(future) = &mut under.future else {
            return Poll::Pending;
        };
        let answer = ready!(future.as_mut().poll(cx));
        under.future = None;
        under.stays_open &= !answer.headers().contains_key(CONNECTION);
        Poll::Ready(answer)
    }

    /// Waits without an engine: for the answer, or for the next request where the last has its answer. `None` where the
    /// connection is over.
    pub(super) async fn wait(
        &self,
        mut wire: Http1Guard,
        stop: &mut watch::Receiver<bool>,
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
        let mut is_last = false;
        let answer = loop {
            tokio::select! {
                biased;
                answer = poll_fn(|cx| self.poll_beside(&mut wire, cx)) => break answer?,
                _ = stop.wait_for(|stop| *stop), if !is_last => is_last = true,
            }
        };
        {
            let mut under = self.lock();
            under.answer = Some(Box::new(answer));
            under.stays_open &= !is_last;
        }
        // The next engine reads what stands for the request, and its service finds the answer.
        wire.repeat_request(is_last);
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

/// Whether the connection stays open behind this request.
pub(super) fn stays_open<B>(request: &Request<B>) -> bool {
    let keeps = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"keep-alive");
    let mut connection = request.headers().get_all(CONNECTION).iter();
    request.version() == Version::HTTP_11 && connection.all(keeps)
}
