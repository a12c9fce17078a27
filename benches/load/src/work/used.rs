//! Processor time so far, for works whose clients are another program.

use serde::{Deserialize, Serialize};

use crate::process::Tree;

#[derive(Deserialize)]
pub struct Used {
    pid: u32,
}

#[derive(Serialize)]
pub struct Seconds {
    server_s: f64,
    /// The backend's, mostly.
    load_s: f64,
}

impl Used {
    pub fn run(&self) -> Seconds {
        Seconds {
            server_s: Tree::of(self.pid).cpu_seconds(),
            load_s: Tree::of(std::process::id()).cpu_seconds(),
        }
    }
}
