//! One HTTP/1.1 connection to a backend.
//!
//! The engine's connection is a future that must be polled for bytes to move. It has no task of
//! its own: the request's task polls it while it waits for the answer, and then whoever reads the
//! answer. So a request and its answer cost no switch from task to task.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::lent::Lent;
use super::strict::{Question, Strict};

/// A connection and the handle that gives it requests.
pub(super) struct Http1 {
    sender: SendRequest<Lent>,
    driver: Connection<TokioIo<Strict<TcpStream>>, Lent>,
    question: Question,
}

/// Why a request has no answer.
pub(super) enum Unanswered {
    /// Not a byte of it was written; here it is again.
    Unsent(Box<Request<Lent>>),
    /// The connection broke, or what came was no answer.
    Broken(hyper::Error),
}

impl Http1 {
    /// Puts the engine over a new connection.
    pub(super) async fn over(stream: TcpStream) -> Result<Self, hyper::Error> {
        let question = Question::default();
        let strict = Strict::new(stream, question.clone());
        let (sender, driver) = http1::handshake(TokioIo::new(strict)).await?;
        Ok(Http1 {
            sender,
            driver,
            question,
        })
    }

    /// Sends one request and drives the connection until the head of its answer is there. The
    /// connection comes back with it, unless it has ended.
    pub(super) async fn ask(
        mut self,
        request: Request<Lent>,
    ) -> Result<(Response<Incoming>, Option<Self>), Unanswered> {
        self.question.ask(&request);
        // Whatever it waits for comes from the driver, which this task polls first: it needs
        // neither a waker nor a share of the task's budget.
        let mut sending = pin!(tokio::task::unconstrained(
            self.sender.try_send_request(request)
        ));
        let mut driver = Some(self.driver);
        let answer = std::future::poll_fn(|cx| {
            if driver
                .as_mut()
                .is_some_and(|driver| Pin::new(driver).poll(cx).is_ready())
            {
                driver = None;
            }
            sending
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
        })
        .await?;
        let (sender, question) = (self.sender, self.question);
        let connection = driver.map(|driver| Http1 {
            sender,
            driver,
            question,
        });
        Ok((answer, connection))
    }

    /// Sends one request that asks for another protocol. The connection is driven apart, because
    /// only so can it be taken over.
    pub(super) async fn ask_for_upgrade(
        mut self,
        request: Request<Lent>,
    ) -> Result<(Response<Incoming>, Task), Unanswered> {
        self.question.ask(&request);
        let sending = self.sender.try_send_request(request);
        let task = Task::of(self.driver.with_upgrades());
        Ok((sending.await?, task))
    }

    /// Moves what can be moved; ready when the connection is over.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Why it ended was told to the request or to its answer's body.
        Pin::new(&mut self.driver).poll(cx).map(drop)
    }

    /// Moves what can be moved without anybody to wake; whether the connection is still good for
    /// another request.
    pub(super) fn is_alive(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()))
            .is_pending()
            && self.is_ready()
    }

    /// Whether request and answer are over and it can carry the next.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Gives the connection a task of its own, for what is left of this exchange.
    pub(super) fn leave(self) -> Task {
        Task::of(self.driver)
    }
}

impl From<TrySendError<Request<Lent>>> for Unanswered {
    fn from(mut error: TrySendError<Request<Lent>>) -> Self {
        match error.take_message() {
            Some(request) => Unanswered::Unsent(Box::new(request)),
            None => Unanswered::Broken(error.into_error()),
        }
    }
}

/// A connection's own task; it ends with this.
pub(super) struct Task(Option<JoinHandle<()>>);

impl Task {
    fn of(driver: impl Future<Output = Result<(), hyper::Error>> + Send + 'static) -> Self {
        Task(Some(tokio::spawn(async {
            // Why it ended was told to the request or to its answer's body.
            let _ = driver.await;
        })))
    }

    /// Lets it run to its own end.
    pub(super) fn detach(mut self) {
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
