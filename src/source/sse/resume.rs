//! After which event a stream is asked for: the newest id that it has sent itself, or the one that a client brought, until the
//! backend has answered. Pure.

use std::sync::Arc;

use hyper::header::HeaderValue;

use crate::hub::{StreamConnection, last_event_id};

/// So many requests with a client's id may bring nothing before one goes without: the others are not to wait for ever.
const PATIENCE: u32 = 3;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Resume {
    /// The newest id that the stream itself has sent.
    own: Option<Arc<str>>,
    /// What a client brought; no event has come yet.
    brought: Option<Arc<str>>,
    /// Requests with that id that brought nothing: no answer, or an empty stream.
    strikes: u32,
    /// The next request goes without the id.
    is_without: bool,
    /// Since the stream was lost one request without the id has gone at once.
    has_hurried: bool,
    /// What the present connection's events show until the stream sends an id.
    shown: Option<Arc<str>>,
}

/// When the request without the id goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Now.
    AtOnce,
    /// After the usual wait.
    Later,
}

impl Resume {
    /// For a stream that a client may have seen before.
    pub(crate) fn new(brought: Option<Arc<str>>) -> Self {
        Resume {
            brought,
            ..Resume::default()
        }
    }

    /// The header of the next request.
    pub(crate) fn sent(&self) -> Option<HeaderValue> {
        let id = self.own.as_ref().or(self.brought.as_ref())?;
        last_event_id(id).filter(|_| !self.is_without)
    }

    /// Whether that is one that a client brought.
    pub(crate) fn sends_brought(&self) -> bool {
        self.own.is_none() && self.sent().is_some()
    }

    /// The backend has refused the id.
    pub(crate) fn refused(&mut self) -> Next {
        self.is_without = true;
        match std::mem::replace(&mut self.has_hurried, true) {
            false => Next::AtOnce,
            true => Next::Later,
        }
    }

    /// A request with the client's id brought nothing.
    pub(crate) fn strike(&mut self) {
        self.strikes += u32::from(self.sends_brought());
    }

    /// A request failed, or its stream is over: was it one without the id, the id is not to blame.
    pub(crate) fn failed(&mut self) {
        self.is_without = !self.is_without && self.strikes >= PATIENCE;
    }

    /// The stream is open. An id that it was not asked with is forgotten.
    pub(crate) fn connected(&mut self) -> StreamConnection {
        if self.sent().is_none() {
            (self.own, self.brought) = (None, None);
        }
        self.is_without = false;
        self.has_hurried = false;
        self.shown = self.own.clone().or_else(|| self.brought.clone());
        match (&self.own, &self.brought) {
            (Some(_), _) => StreamConnection::Resumed,
            (None, Some(_)) => StreamConnection::Brought,
            (None, None) => StreamConnection::Fresh,
        }
    }

    /// An event has come: a client's id has done its work.
    pub(crate) fn has_come(&mut self) {
        self.brought = None;
        self.strikes = 0;
    }

    /// What events show until the stream sends an id.
    pub(crate) fn shown(&self) -> Option<&Arc<str>> {
        self.shown.as_ref()
    }

    /// The stream has sent an id, or an empty one.
    pub(crate) fn set(&mut self, id: Option<Arc<str>>) {
        self.own = id;
    }

    /// Another process has read up to this id.
    pub(crate) fn go_on_from(&mut self, own: Option<Arc<str>>) {
        self.shown.clone_from(&own);
        self.own = own;
    }
}
