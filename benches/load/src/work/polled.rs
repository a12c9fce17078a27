//! Viewers of a document that changes all the time: how old is what they see, and what does it cost the backend?

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::backend::Backend;
use crate::fleet::{Fleet, Target};
use crate::poller::Pollers;
use crate::stamp::Clock;

/// Before measuring, every viewer has been shown a document.
const WARM: Duration = Duration::from_millis(1500);

#[derive(Deserialize)]
pub struct Polled {
    viewers: usize,
    seconds: f64,
    how: How,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum How {
    /// Each viewer asks this server for the document itself.
    Polling {
        address: SocketAddr,
        path: String,
        every_s: f64,
    },
    /// Each viewer is notified over WebSocket.
    Told(Target),
}

#[derive(Serialize)]
pub struct Seen {
    backend_requests_per_s: f64,
    mean_age_ms: f64,
}

impl Polled {
    pub fn run(&self, backend: &Backend, clock: Clock) -> io::Result<Seen> {
        match &self.how {
            How::Polling {
                address,
                path,
                every_s,
            } => {
                let mut viewers = Pollers::open(*address, path, self.viewers, clock)?;
                let period = Duration::from_secs_f64(*every_s);
                // Whole periods, so that each viewer's turn stays where it is when the measurement begins.
                viewers.turn(period * 2, period)?;
                viewers.restart_age();
                let window = Window::open(backend);
                viewers.turn(Duration::from_secs_f64(self.seconds), period)?;
                Ok(window.close(backend, |seconds| viewers.mean_age_ms(seconds)))
            }
            How::Told(target) => {
                let mut viewers = Fleet::new(target, clock)?;
                viewers.open(self.viewers)?;
                viewers.turn(WARM)?;
                viewers.restart_age();
                let window = Window::open(backend);
                viewers.turn(Duration::from_secs_f64(self.seconds))?;
                Ok(window.close(backend, |seconds| viewers.mean_age_ms(seconds)))
            }
        }
    }
}

struct Window {
    began: Instant,
    polls: u64,
}

impl Window {
    fn open(backend: &Backend) -> Window {
        Window {
            began: Instant::now(),
            polls: backend.polls(),
        }
    }

    fn close(&self, backend: &Backend, mean_age_ms: impl FnOnce(f64) -> f64) -> Seen {
        let seconds = self.began.elapsed().as_secs_f64();
        Seen {
            backend_requests_per_s: (backend.polls() - self.polls) as f64 / seconds,
            mean_age_ms: mean_age_ms(seconds),
        }
    }
}
