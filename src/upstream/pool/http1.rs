//! One HTTP/1.1 connection to a backend.
//!
//! The engine's connection is a future that must be polled for bytes to move. It has no task of its own: the request's task
//! polls it while it waits for the answer, and then the reader of the answer does. So a request and its answer cost no switch
//! from task to task.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};

use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::ext::ReasonPhrase;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use super::connect::Connected;
use super::connection_auth;
use super::guard::{Question, Strict};
use super::replayable_body::ReplayableBody;

/// How much of an answer is read at once, and so waits here for a client that reads slowly; a head has to fit in.
const READ_AHEAD: usize = 128 * 1024;
/// How many fields of an answer the engine takes by default.
const ENGINE_FIELDS: usize = 100;

/// A connection and the handle that gives it requests.
pub(crate) struct Http1 {
    sender: SendRequest<ReplayableBody>,
    /// `None` when it is over.
    driver: Option<Driver>,
    question: Question,
    /// The other end.
    pub(crate) address: SocketAddr,
    /// Whether its backend may take every request on it for one user's from now on.
    pub(crate) is_bound: bool,
    /// Whether nothing more may come over it: the last answer was written carelessly.
    pub(crate) is_spent: bool,
}

/// The engine's connection; the type of one that can be upgraded has no name.
type Driver = Pin<Box<dyn Future<Output = Result<(), hyper::Error>> + Send>>;

/// How a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// A request or its answer is under way.
    Busy,
    /// It can carry a request.
    Ready,
    /// It has ended.
    Over,
}

/// Why a request has no answer.
pub(crate) enum Unanswered {
    /// Not a byte of it was written; here it is again.
    Unsent(Box<Request<ReplayableBody>>),
    /// The connection broke, or what came was no answer.
    Broken(hyper::Error),
    /// For this reason it is no answer to those here.
    Refused(&'static str),
}

impl Http1 {
    /// Puts the engine over a new connection.
    pub(crate) async fn over(
        connected: Connected,
        fields_limit: usize,
    ) -> Result<Box<Self>, hyper::Error> {
        let question = Question::default();
        let strict = Strict::new(connected.stream, fields_limit, question.clone());
        let mut engine = http1::Builder::new();
        engine.max_buf_size(READ_AHEAD).title_case_headers(true);
        if fields_limit > ENGINE_FIELDS {
            engine.max_headers(fields_limit);
        }
        let (sender, driver) = engine.handshake(TokioIo::new(strict)).await?;
        Ok(Box::new(Http1 {
            sender,
            driver: Some(Box::pin(driver.with_upgrades())),
            question,
            address: connected.address,
            is_bound: false,
            is_spent: false,
        }))
    }

    /// Sends one request and drives the connection until the head of its answer is there.
    pub(crate) async fn ask(
        &mut self,
        request: Request<ReplayableBody>,
    ) -> Result<Response<Incoming>, Unanswered> {
        self.question.ask(&request);
        self.is_bound |= connection_auth::is_presented(request.headers());
        // Whatever it waits for comes from the driver, which this task polls first: it needs
        // neither a waker nor a share of the task's budget.
        let mut sending = pin!(tokio::task::unconstrained(
            self.sender.try_send_request(request)
        ));
        let driver = &mut self.driver;
        let answer = std::future::poll_fn(|cx| {
            drive(driver, cx);
            sending
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
        });
        let mut answer = answer.await?;
        self.is_bound |= connection_auth::is_told(answer.headers());
        if let Some(told) = self.question.told() {
            self.is_spent |= told.is_careless;
            if let Some(reason) = told
                .reason
                .and_then(|reason| reason.into_vec().try_into().ok())
            {
                answer.extensions_mut().insert::<ReasonPhrase>(reason);
            }
            if !told.spelling.is_empty() {
                answer.extensions_mut().insert(told.spelling);
            }
        }
        Ok(answer)
    }

    /// Moves what can be moved.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) -> State {
        drive(&mut self.driver, cx);
        self.state()
    }

    /// Moves what can be moved without a task to wake; whether the connection is still good for another request.
    pub(crate) fn is_alive(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        self.drive(&mut nobody) == State::Ready
    }

    /// How it stands after it was driven.
    pub(crate) fn state(&self) -> State {
        match (&self.driver, self.sender.is_ready()) {
            (None, _) => State::Over,
            (Some(_), true) => State::Ready,
            (Some(_), false) => State::Busy,
        }
    }

    /// Gives the connection a task of its own, for what is left of this exchange.
    pub(crate) fn leave(self) -> Task {
        Task::of(self.driver)
    }
}

/// What is over is dropped, so that its waiters see the end.
fn drive(driver: &mut Option<Driver>, cx: &mut Context<'_>) {
    // The request, or its answer's body, gets the reason why it ended.
    if let Some(moving) = driver
        && moving.as_mut().poll(cx).is_ready()
    {
        *driver = None;
    }
}

impl From<TrySendError<Request<ReplayableBody>>> for Unanswered {
    fn from(mut error: TrySendError<Request<ReplayableBody>>) -> Self {
        match error.take_message() {
            Some(request) => Unanswered::Unsent(Box::new(request)),
            None => Unanswered::Broken(error.into_error()),
        }
    }
}

/// A connection's own task; it ends with this.
pub(crate) struct Task(Option<JoinHandle<()>>);

impl Task {
    fn of(driver: Option<Driver>) -> Self {
        Task(driver.map(|driver| {
            tokio::spawn(async {
                // The request, or its answer's body, gets the reason why it ended.
                let _ = driver.await;
            })
        }))
    }

    /// Lets it run to its own end.
    pub(crate) fn detach(mut self) {
        self.0 = None;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
