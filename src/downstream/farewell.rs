//! A word to those for whom there is no place.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::exchange;
use super::respond::Problem;
use super::stream::Stream;

/// Seconds after which they may try again.
const RETRY_SECONDS: u32 = 5;

/// Says why there is no place, as far as it reaches the client within `patience`, and closes.
pub async fn say(
    mut stream: Stream,
    reason: &'static str,
    detail: &'static str,
    patience: Duration,
) {
    let problem = Problem::overloaded(reason, detail, RETRY_SECONDS);
    let words = problem.into_last_words(&exchange::new_request_id());
    let farewell = async {
        stream.write_all(&words).await?;
        stream.shutdown().await?;
        // Closing at once would destroy the answer, should the request still be on its way.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    // Whoever does not take it goes without.
    let _ = tokio::time::timeout(patience, farewell).await;
}
