//! The load generator: one process on one core that plays the legacy backend and all the WebSocket clients.
//!
//! `load` prints `{"backend":"127.0.0.1:PORT"}` and then answers each line of JSON on stdin (a [`work::Work`]) with one
//! line of JSON on stdout. `load bare ADDR PATH` is the floor that the servers are compared with: see [`bare`].
#![forbid(unsafe_code)]

mod asker;
mod backend;
mod bare;
mod channel;
mod fleet;
mod frame;
mod histogram;
mod http;
mod long_poll;
mod meter;
mod poller;
mod process;
mod publisher;
mod stamp;
mod work;

use std::io::{self, BufRead, Write};

use serde_json::json;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => answer_commands(),
        ["bare", upstream, path] => bare::serve(upstream, path),
        _ => Err(io::Error::other(
            "usage: load | load bare UPSTREAM_ADDRESS PATH",
        )),
    }
}

fn answer_commands() -> io::Result<()> {
    let clock = stamp::Clock::start();
    let backend = backend::Backend::start(clock)?;
    let mut stdout = io::stdout().lock();
    writeln!(
        stdout,
        "{}",
        json!({"backend": backend.address().to_string()})
    )?;
    stdout.flush()?;
    for line in io::stdin().lock().lines() {
        let answer = serde_json::from_str::<work::Work>(&line?)
            .map_err(io::Error::other)
            .and_then(|work| work.run(&backend, clock))
            .unwrap_or_else(|error| json!({"error": error.to_string()}));
        writeln!(stdout, "{answer}")?;
        stdout.flush()?;
    }
    Ok(())
}
