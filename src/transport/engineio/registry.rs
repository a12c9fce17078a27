//! Engine.IO sessions that HTTP requests can reach: those that began with long-polling.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::mailbox::{Mailbox, Receiver};
use crate::protocol::engineio::error::EngineError;
use crate::protocol::engineio::payload::PostedPackets;
use crate::transport::Transport;

/// What an HTTP request asks of a session.
pub(crate) enum EngineRequest {
    /// A poll: answered with the packets that wait, or with the next.
    Poll(oneshot::Sender<Bytes>),
    /// A POST: answered when its packets are read.
    Post(PostedPackets, oneshot::Sender<()>),
    /// A WebSocket that the client may leave polling for.
    Probe(Box<dyn Transport>),
}

/// All of them, by their secret. Cheap to clone.
#[derive(Clone, Default)]
pub struct EngineSessions(Arc<Mutex<HashMap<[u8; 16], Arc<Mailbox>>>>);

/// One session's place there, given back when it is dropped.
pub struct EngineEntry {
    sessions: EngineSessions,
    sid: [u8; 16],
    /// `None` once the client has left polling.
    pub(super) requests: Option<Receiver>,
}

impl EngineSessions {
    /// Makes a session findable.
    pub fn enter(&self, sid: [u8; 16]) -> EngineEntry {
        let mailbox = Arc::<Mailbox>::default();
        let requests = Receiver::of(mailbox.clone());
        self.lock().insert(sid, mailbox);
        EngineEntry {
            sessions: self.clone(),
            sid,
            requests: Some(requests),
        }
    }

    /// Asks a session for what its client is to get next.
    ///
    /// # Errors
    /// The session is unknown, has left polling, or has ended.
    pub async fn poll(&self, sid: &[u8; 16]) -> Result<Bytes, EngineError> {
        let (answer, answered) = oneshot::channel();
        self.ask(sid, EngineRequest::Poll(answer))?;
        answered.await.map_err(|_| EngineError::BadRequest)
    }

    /// Hands a session what its client has sent.
    ///
    /// # Errors
    /// As [`EngineSessions::poll`], and where a packet is none.
    pub async fn post(&self, sid: &[u8; 16], packets: PostedPackets) -> Result<(), EngineError> {
        let (answer, answered) = oneshot::channel();
        self.ask(sid, EngineRequest::Post(packets, answer))?;
        answered.await.map_err(|_| EngineError::BadRequest)
    }

    /// Hands a session a WebSocket that its client opened; dropped where there is no such session.
    pub async fn probe(&self, sid: &[u8; 16], transport: Box<dyn Transport>) {
        // A session that has ended answers by the end of the WebSocket.
        let _ = self.ask(sid, EngineRequest::Probe(transport));
    }

    /// Whether there is such a session, whatever it moves over.
    ///
    /// # Errors
    /// The session is unknown.
    pub fn expect(&self, sid: &[u8; 16]) -> Result<(), EngineError> {
        match self.lock().contains_key(sid) {
            true => Ok(()),
            false => Err(EngineError::Sid),
        }
    }

    /// Whether a session polls.
    ///
    /// # Errors
    /// The session is unknown, or has left polling.
    pub fn expect_polling(&self, sid: &[u8; 16]) -> Result<(), EngineError> {
        match self.lock().get(sid) {
            None => Err(EngineError::Sid),
            Some(mailbox) if mailbox.is_closed() => Err(EngineError::BadRequest),
            Some(_) => Ok(()),
        }
    }

    fn ask(&self, sid: &[u8; 16], request: EngineRequest) -> Result<(), EngineError> {
        let mailbox = self.lock().get(sid).cloned().ok_or(EngineError::Sid)?;
        match mailbox.put(request) {
            true => Ok(()),
            false => Err(EngineError::BadRequest),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 16], Arc<Mailbox>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for EngineEntry {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.sid);
    }
}
