//! The last answer to clients that are rejected before their first request.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};

use super::dropped::Dropped;
use super::linger;
use super::socket::{ClientSocket, MaybeTls};
use super::tls;
use crate::config::Tls;
use crate::http::problem::Problem;
use crate::http::request_id;
use crate::policy::connection_limits::Lingering;

/// Seconds after which a client that was over a cap may try again.
const RETRY_SECONDS: u32 = 5;

/// There is no place.
pub(crate) fn no_room(reason: &'static str, detail: &'static str) -> Problem {
    Problem::overloaded(reason, detail, RETRY_SECONDS)
}

/// Says why, over TLS where that is spoken, as far as it reaches the client within `patience`, and closes. A client that is
/// still sending is listened to for longer where there is a place for that.
pub(crate) async fn say(
    line: ClientSocket,
    tls: Option<&Tls>,
    problem: Problem,
    patience: Duration,
    place: Option<Lingering>,
) {
    let deadline = Instant::now() + patience;
    let farewell = async {
        let mut stream = match tls {
            None => MaybeTls::Left(line),
            Some(tls) => tls::accept_tls(line, tls.plain_engine(), deadline).await?,
        };
        let words = problem.into_last_words(&request_id::new());
        let spoken = speak(&mut stream, &words).await;
        spoken.map(|()| stream).map_err(|_| Dropped::Gone)
    };
    // A client that does not read it goes without.
    if let Ok(Ok(mut stream)) = timeout_at(deadline, farewell).await {
        linger::listen(&mut stream, place, deadline).await;
    }
}

async fn speak(stream: &mut MaybeTls, words: &[u8]) -> io::Result<()> {
    stream.write_all(words).await?;
    stream.shutdown().await
}
