//! Ends an exchange whose credential does not hold any longer: passed-through answers, and the backend's own WebSockets.

use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::select_all;
use hyper::header::HeaderValue;
use tokio::time::sleep;

use super::context::AuthContext;
use super::context::RequestContext;
use crate::http::header_text::Text;
use crate::policy::auth::{AuthError, Authenticated, context};
use crate::session::Services;

/// What takes less than this is not looked at: most answers do, and a revocation may take a second.
const BRIEF: Duration = Duration::from_millis(500);

/// The credentials that an exchange was accepted by: of the route, and of what else its path may be read as. It is over when one
/// of them is. While an exchange is short this allocates nothing and sets no timer of its
/// own.
#[derive(Default)]
pub(crate) struct Expiry(State);

#[derive(Default)]
enum State {
    /// No policy has demanded an identity.
    #[default]
    Endless,
    /// It was judged just now.
    Fresh(Fresh),
    /// It is looked at whenever it may have ended.
    Watched(Over),
    /// It has ended.
    Over(AuthError),
}

type Over = Pin<Box<dyn Future<Output = AuthError> + Send>>;

struct Fresh {
    shared: Arc<Services>,
    admission: Arc<Authenticated>,
    others: Vec<Arc<Authenticated>>,
    host: HeaderValue,
    proto: &'static str,
    remote: Text,
}

impl Fresh {
    fn until_over(self) -> Over {
        let until_over = |admission: Arc<Authenticated>| -> Over {
            let context = context(&self.host, self.proto, &self.remote);
            let authenticator = self.shared.authenticator.clone();
            Box::pin(authenticator.until_over(admission, context))
        };
        if self.others.is_empty() {
            return until_over(self.admission);
        }
        let all = [self.admission].into_iter().chain(self.others);
        let first = select_all(all.map(until_over));
        Box::pin(first.map(|(denied, ..)| denied))
    }
}

impl Expiry {
    /// Of the credentials that have let a request in, where any has.
    pub(crate) fn of(exchange: &RequestContext, entrant: &AuthContext) -> Self {
        let mut others = entrant.others.clone();
        let first = entrant.admission().cloned().or_else(|| others.pop());
        let fresh = first.map(|admission| Fresh {
            shared: exchange.shared.clone(),
            others,
            admission,
            host: exchange.host.value.clone(),
            proto: exchange.client.proto,
            remote: exchange.client.ip.clone(),
        });
        Expiry(fresh.map_or(State::Endless, State::Fresh))
    }

    /// Whether its end is being watched for.
    pub(crate) fn is_watched(&self) -> bool {
        matches!(self.0, State::Watched(_) | State::Over(_))
    }

    /// Whether it has ended, and why. The task is woken when it does.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<AuthError> {
        if let State::Fresh(_) = self.0
            && let State::Fresh(fresh) = mem::take(&mut self.0)
        {
            self.0 = State::Watched(fresh.until_over());
        }
        match &mut self.0 {
            State::Endless | State::Fresh(_) => Poll::Pending,
            State::Watched(over) => over.as_mut().poll(cx).map(|denied| {
                self.0 = State::Over(denied.clone());
                denied
            }),
            State::Over(denied) => Poll::Ready(denied.clone()),
        }
    }

    /// Resolves when it has ended.
    pub(crate) async fn over(&mut self) -> AuthError {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Does something as long as it holds.
    ///
    /// # Errors
    /// It has ended before.
    pub(crate) async fn during<T>(
        &mut self,
        work: impl Future<Output = T> + Unpin,
    ) -> Result<T, AuthError> {
        let mut work = work;
        if matches!(self.0, State::Endless) {
            return Ok(work.await);
        }
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            () = sleep(BRIEF) => {}
        }
        tokio::select! {
            biased;
            done = work => Ok(done),
            denied = self.over() => {
                // What answers then is our own, and whole.
                self.0 = State::Endless;
                Err(denied)
            }
        }
    }
}
