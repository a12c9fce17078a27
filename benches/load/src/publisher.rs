//! Publishes stamped events at an even pace: into the backend's event streams, or by POST to a server that is published to.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::stamp::{Clock, Stamp};

/// At most so much leaves in one write, where the publisher is behind its pace.
const BATCH_BYTES: usize = 64 * 1024;
/// A reader that takes nothing for so long is let go.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Where events go.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Destination {
    /// All readers of the backend's event stream at this path.
    Stream(String),
    /// One request each to this address and path, pipelined on one connection.
    Post { address: SocketAddr, path: String },
    /// In turn to the readers of so many of the backend's event streams: this path with a number behind it.
    Streams { path: String, count: u64 },
    /// In turn to so many paths, as a `Post` each.
    Posts {
        address: SocketAddr,
        path: String,
        count: u64,
    },
}

impl Destination {
    /// Where servers are posted to.
    fn posts_to(&self) -> Option<SocketAddr> {
        match self {
            Destination::Post { address, .. } | Destination::Posts { address, .. } => {
                Some(*address)
            }
            Destination::Stream(_) | Destination::Streams { .. } => None,
        }
    }
}

/// What is published until the next order.
#[derive(Clone)]
pub struct Plan {
    pub destination: Destination,
    pub rate: f64,
    pub size: usize,
}

pub struct Publisher {
    orders: Mutex<SyncSender<Option<Plan>>>,
    streams: Mutex<HashMap<String, Vec<TcpStream>>>,
    published: AtomicU64,
}

impl Publisher {
    pub fn start(clock: Clock) -> Arc<Publisher> {
        let (orders, received) = mpsc::sync_channel(1);
        let publisher = Arc::new(Publisher {
            orders: Mutex::new(orders),
            streams: Mutex::default(),
            published: AtomicU64::new(0),
        });
        let worker = Arc::clone(&publisher);
        thread::spawn(move || worker.follow(&received, clock));
        publisher
    }

    pub fn publish(&self, plan: Plan) {
        self.order(Some(plan));
    }

    pub fn stop(&self) {
        self.order(None);
    }

    /// Events written so far.
    pub fn published(&self) -> u64 {
        self.published.load(Relaxed)
    }

    /// A reader of the stream at `path`, whose head was sent.
    pub fn add(&self, path: String, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        self.streams().entry(path).or_default().push(stream);
        Ok(())
    }

    /// Ends all streams: thousands of them would take the descriptors that the next server's need.
    pub fn hang_up(&self) {
        self.streams().clear();
    }

    fn order(&self, plan: Option<Plan>) {
        // The worker lives as long as the process.
        let _ = self
            .orders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send(plan);
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<String, Vec<TcpStream>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, orders: &Receiver<Option<Plan>>, clock: Clock) {
        let mut number = 0;
        let mut order = orders.recv();
        while let Ok(plan) = order {
            order = match plan {
                Some(plan) => self.pace(&plan, orders, clock, &mut number),
                None => orders.recv(),
            };
        }
    }

    /// Publishes until the next order. A stamp says when its event was due: waiting for a slow server counts as its latency.
    fn pace(
        &self,
        plan: &Plan,
        orders: &Receiver<Option<Plan>>,
        clock: Clock,
        number: &mut u64,
    ) -> Result<Option<Plan>, mpsc::RecvError> {
        let posts_to = plan.destination.posts_to();
        let mut post = posts_to.and_then(|address| connect_for_posts(address).ok());
        let began = Instant::now();
        let due = |sent: u64| began + Duration::from_secs_f64(sent as f64 / plan.rate);
        let mut sent = 0;
        loop {
            match orders.recv_timeout(due(sent).saturating_duration_since(Instant::now())) {
                Ok(order) => return Ok(order),
                Err(RecvTimeoutError::Disconnected) => return Err(mpsc::RecvError),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let mut batch = Vec::new();
            if let Destination::Streams { path, count } = &plan.destination {
                let path = format!("{path}{}", sent % count);
                self.append(&mut batch, plan, clock.to_us(due(sent)), number);
                sent += 1;
                if let Some(readers) = self.streams().get_mut(&path) {
                    readers.retain_mut(|reader| reader.write_all(&batch).is_ok());
                }
                continue;
            }
            while batch.len() < BATCH_BYTES && (batch.is_empty() || due(sent) <= Instant::now()) {
                self.append(&mut batch, plan, clock.to_us(due(sent)), number);
                sent += 1;
            }
            match &plan.destination {
                Destination::Stream(path) => {
                    if let Some(readers) = self.streams().get_mut(path) {
                        readers.retain_mut(|reader| reader.write_all(&batch).is_ok());
                    }
                }
                Destination::Post { address, .. } | Destination::Posts { address, .. } => {
                    let posted = post
                        .as_mut()
                        .is_some_and(|stream| stream.write_all(&batch).is_ok());
                    if !posted {
                        post = connect_for_posts(*address).ok();
                    }
                }
                Destination::Streams { .. } => {}
            }
        }
    }

    /// One event more.
    fn append(&self, batch: &mut Vec<u8>, plan: &Plan, at_us: u64, number: &mut u64) {
        let stamp = Stamp {
            at_us,
            number: *number,
        };
        append(batch, &plan.destination, stamp, plan.size);
        *number += 1;
        self.published.fetch_add(1, Relaxed);
    }
}

fn append(batch: &mut Vec<u8>, destination: &Destination, stamp: Stamp, size: usize) {
    let json = stamp.to_json(size);
    let post = |address: &SocketAddr, path: &str| {
        let length = json.len();
        format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{json}")
    };
    let bytes = match destination {
        Destination::Stream(_) | Destination::Streams { .. } => {
            format!("id: {}\ndata: {json}\n\n", stamp.number)
        }
        Destination::Post { address, path } => post(address, path),
        Destination::Posts {
            address,
            path,
            count,
        } => post(address, &format!("{path}{}", stamp.number % count)),
    };
    batch.extend(bytes.as_bytes());
}

/// A connection whose answers are read and dropped; a lost event shows in its number.
fn connect_for_posts(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let mut answers = stream.try_clone()?;
    thread::spawn(move || {
        let mut chunk = [0; 16 * 1024];
        while answers.read(&mut chunk).is_ok_and(|length| length > 0) {}
    });
    Ok(stream)
}
