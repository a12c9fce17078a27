//! `crossfade run` as a process of its own, and what it writes.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::harness::eventually;

/// A running process; it is killed when this is dropped.
pub struct Process {
    child: Child,
    /// The public and the admin address, as the ready line has them.
    pub public: String,
    pub admin: String,
    stderr: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts, and waits for the ready line.
    pub fn start(config: &Path, environment: &[(&str, &str)]) -> Process {
        let mut child = command(config)
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stderr.take().unwrap();
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let collected = stderr.clone();
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut piece) {
                collected.lock().unwrap().extend(&piece[..count]);
            }
        });
        let (public, admin) = ready(&mut child);
        Process {
            child,
            public,
            admin,
            stderr,
            reader: Some(reader),
        }
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> Vec<u8> {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits for a line that holds all of these.
    pub async fn line(&self, parts: &[&str]) -> String {
        let find = || {
            let text = String::from_utf8_lossy(&self.stderr()).into_owned();
            let mut lines = text.lines().map(str::to_owned);
            lines.find(|line| parts.iter().all(|part| line.contains(part)))
        };
        eventually(&format!("a line with {parts:?}"), async || find().is_some()).await;
        find().unwrap()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end; the exit code, and all of stderr.
    pub async fn end(mut self) -> (Option<i32>, Vec<u8>) {
        let mut code = None;
        let child = Mutex::new(&mut self.child);
        eventually("the process's end", async || {
            child.lock().unwrap().try_wait().unwrap().is_some()
        })
        .await;
        if let Ok(status) = self.child.wait() {
            code = status.code();
        }
        self.reader.take().unwrap().join().unwrap();
        (code, self.stderr())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `crossfade run`, its stdout for the ready line.
pub fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossfade"));
    command.args(["run", "--config"]).arg(config);
    command.stdout(Stdio::piped());
    command
}

/// Waits for the ready line; the public and the admin address.
pub fn ready(child: &mut Child) -> (String, String) {
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.as_mut().unwrap());
    out.read_line(&mut line).unwrap();
    let addresses = line.trim_end().strip_prefix("ready public=");
    let (public, admin) = addresses
        .and_then(|addresses| addresses.split_once(" admin="))
        .unwrap_or_else(|| panic!("no ready line: {line:?}"));
    (public.to_owned(), admin.to_owned())
}
