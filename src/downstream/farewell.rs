//! A word to those who have to go before their first request.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::arrival::{self, Dropped};
use super::exchange;
use super::line::Line;
use super::respond::Problem;
use super::stream::Stream;
use crate::config::Tls;

/// Seconds after which somebody for whom there was no place may try again.
const RETRY_SECONDS: u32 = 5;

/// There is no place.
pub fn no_room(reason: &'static str, detail: &'static str) -> Problem {
    Problem::overloaded(reason, detail, RETRY_SECONDS)
}

/// Says why, over TLS where that is spoken, as far as it reaches the client within `patience`, and closes.
pub async fn say(line: Line, tls: Option<&Tls>, problem: Problem, patience: Duration) {
    let deadline = Instant::now() + patience;
    let farewell = async {
        let stream = match tls {
            None => Stream::Plain(line),
            Some(tls) => arrival::accept_tls(line, tls.plain_engine(), deadline).await?,
        };
        let words = problem.into_last_words(&exchange::new_request_id());
        speak(stream, &words).await.map_err(|_| Dropped::Gone)
    };
    // Whoever does not take it goes without.
    let _ = timeout_at(deadline, farewell).await;
}

async fn speak(mut stream: Stream, words: &[u8]) -> io::Result<()> {
    stream.write_all(words).await?;
    stream.shutdown().await?;
    // Closing at once would destroy the answer, should the request still be on its way.
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
