//! The connections to one upstream's servers.

use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::lent::Lent;
use crate::config::{Authority, Upstream};
use crate::error::{Error, Kind};

/// What of an upstream's definition a pool depends on; the rest may change under it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Settings {
    name: String,
    connect_timeout: Duration,
    idle_timeout: Duration,
    keepalive: usize,
}

impl Settings {
    pub(super) fn of(upstream: &Upstream) -> Self {
        Settings {
            name: upstream.name.clone(),
            connect_timeout: upstream.connect_timeout,
            idle_timeout: upstream.idle_timeout,
            keepalive: upstream.keepalive,
        }
    }
}

pub(super) struct Pool {
    client: Client<HttpConnector, Lent>,
    turn: AtomicUsize,
}

impl Pool {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(settings.connect_timeout));
        connector.set_nodelay(true);
        // A backend that vanished without a word is found out on idle and on busy connections alike.
        connector.set_keepalive(Some(Duration::from_secs(15)));
        connector.set_keepalive_interval(Some(Duration::from_secs(5)));
        connector.set_keepalive_retries(Some(3));
        #[cfg(target_os = "linux")]
        connector.set_tcp_user_timeout(Some(Duration::from_secs(30)));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(settings.idle_timeout)
            .pool_max_idle_per_host(settings.keepalive)
            .build(connector);
        Pool {
            client,
            turn: AtomicUsize::new(0),
        }
    }

    /// The server whose turn it is; `config` never lets the list be empty.
    pub(super) fn next_server<'a>(&self, servers: &'a [Authority]) -> &'a Authority {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &servers[turn % servers.len()]
    }

    /// One request over one connection, up to the head of its answer.
    pub(super) async fn request(
        &self,
        mut request: Request<Lent>,
        lent: &Lent,
    ) -> Result<Response<Incoming>, Error> {
        let connection = (!lent.is_empty()).then(|| capture_connection(&mut request));
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| lent.failed().unwrap_or_else(|| explain(error)))?;
        // A backend that answers before it has read the whole body may take the rest for the next
        // request: such a connection serves nobody else.
        if let (false, Some(connection)) = (lent.is_done(), connection)
            && let Some(connection) = connection.connection_metadata().as_ref()
        {
            connection.poison();
        }
        Ok(answer)
    }
}

fn explain(error: hyper_util::client::legacy::Error) -> Error {
    let mut detail = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        detail = format!("{detail}: {inner}");
        cause = inner.source();
    }
    let kind = if error.is_connect() {
        Kind::Connect
    } else {
        Kind::Broken
    };
    Error::upstream(kind, detail)
}
