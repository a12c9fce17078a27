//! Readers that stop reading, among others that go on.

use std::fs;
use std::io::{self, Read};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Server;
use crate::backend::Backend;
use crate::channel::Channel;
use crate::fleet::Fleet;
use crate::meter::{Meter, Reading};
use crate::process::Tree;
use crate::publisher::Plan;
use crate::stamp::Clock;

/// Memory is looked at so often while the stalled fall behind.
const LOOK: Duration = Duration::from_millis(250);
const PAGE_BYTES: u64 = 4096;

#[derive(Deserialize)]
pub struct Stalled {
    server: Server,
    readers: usize,
    stalled: usize,
    /// First the stalled fall behind: far enough to fill what the kernel keeps for each, and the server's own bound.
    fill: Pace,
    /// Then the others are measured.
    measure: Pace,
}

#[derive(Deserialize)]
struct Pace {
    rate: f64,
    size: usize,
    seconds: f64,
}

#[derive(Serialize)]
pub struct Suffered {
    reading: Reading,
    /// The most that the server's processes took while the stalled fell behind, above what they took before.
    peak_growth_bytes: u64,
    /// What the kernel's TCP buffers grew by in that time, of all sockets of the machine.
    kernel_growth_bytes: u64,
    /// Stalled readers whose connection the server had ended.
    stalled_closed: usize,
}

impl Stalled {
    pub fn run(&self, backend: &Backend, clock: Clock) -> io::Result<Suffered> {
        let tree = Tree::of(self.server.pid);
        let mut fleet = Fleet::new(&self.server.target, clock)?;
        // One goes on reading, so that the topic lives however many are stalled.
        fleet.open(1)?;
        let mut stalled = fleet.open_stalled(self.stalled)?;
        fleet.turn(Duration::from_millis(500))?;
        let (before, kernel_before) = (tree.pss_bytes(), kernel_bytes());
        let mut peak = before;
        self.publish(&self.fill, backend);
        for _ in 0..(self.fill.seconds / LOOK.as_secs_f64()) as u32 {
            fleet.turn(LOOK)?;
            peak = peak.max(tree.pss_bytes());
        }
        backend.publisher.stop();
        if fleet.tally.latency.count() == 0 {
            return Err(io::Error::other("no event came through"));
        }
        let kernel_growth_bytes = kernel_bytes().saturating_sub(kernel_before);
        fleet.turn(Duration::from_millis(500))?;

        fleet.open(self.readers.saturating_sub(fleet.ready()))?;
        self.publish(&self.measure, backend);
        fleet.turn(Duration::from_millis(500))?;
        let meter = Meter::start(self.server.pid, &mut fleet, backend);
        fleet.turn(Duration::from_secs_f64(self.measure.seconds))?;
        let reading = meter.read(&fleet, backend);
        backend.publisher.stop();
        Ok(Suffered {
            reading,
            peak_growth_bytes: peak - before,
            kernel_growth_bytes,
            stalled_closed: stalled
                .iter_mut()
                .filter_map(|stream| was_closed(stream).then_some(()))
                .count(),
        })
    }

    fn publish(&self, pace: &Pace, backend: &Backend) {
        let destination = self.server.publish.clone();
        backend.publisher.publish(Plan {
            destination,
            rate: pace.rate,
            size: pace.size,
        });
    }
}

/// Reads what lies in the socket, to its end or to where nothing more has come.
fn was_closed(stream: &mut Channel) -> bool {
    let mut chunk = [0; 64 * 1024];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// `TCP: … mem PAGES` of `/proc/net/sockstat`.
fn kernel_bytes() -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text
        .lines()
        .find(|line| line.starts_with("TCP:"))
        .unwrap_or_default();
    let pages = line
        .rsplit(' ')
        .next()
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * PAGE_BYTES
}
