//! `crossfade` as a process of its own, what it writes, and its commands.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Backend, cpu_seconds, eventually};

pub const BINARY: &str = env!("CARGO_BIN_EXE_crossfade");

/// A running process; it is killed when this is dropped.
pub struct Process {
    child: Child,
    /// The ready line, and its addresses.
    pub ready: String,
    pub public: String,
    pub admin: String,
    stdout: BufReader<ChildStdout>,
    stderr: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    /// Where its configuration is, if that is its own.
    _folder: Option<TempDir>,
}

/// How a process ended.
pub struct End {
    pub code: Option<i32>,
    /// All of it.
    pub stderr: Vec<u8>,
    /// Since it was waited for.
    pub took: Duration,
}

impl Process {
    /// Starts, and waits for the ready line.
    pub fn start(config: &Path, environment: &[(&str, &str)]) -> Process {
        let mut command = command(config);
        command.envs(environment.iter().copied());
        Process::spawn(&mut command)
    }

    /// In front of one backend, on a configuration of its own: `server` is what belongs into `[server]`, `routes` the
    /// rest. `shell` runs before it, in the same process.
    pub fn before(backend: &Backend, shell: &str, server: &str, routes: &str) -> Process {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("proxy.toml");
        let any = "listen = \"127.0.0.1:0\"";
        let address = backend.address;
        let text = format!(
            "[server]\n{any}\n{server}\n[admin]\n{any}\n[log]\nlevel = \"error\"\naccess = false\n\
             [upstream.app]\nservers = [\"http://{address}\"]\n{routes}\n"
        );
        std::fs::write(&file, text).unwrap();
        let run = format!("{shell}\nexec \"$0\" run --config \"$1\"");
        let mut command = Command::new("sh");
        command.args(["-c", &run, BINARY]).arg(&file);
        let mut process = Process::spawn(&mut command);
        process._folder = Some(folder);
        process
    }

    /// Starts what runs crossfade in the end.
    pub fn spawn(command: &mut Command) -> Process {
        let mut process = Process::unread(command);
        let mut pipe = process.child.stderr.take().unwrap();
        let collected = process.stderr.clone();
        process.reader = Some(std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut piece) {
                collected.lock().unwrap().extend(&piece[..count]);
            }
        }));
        process
    }

    /// The same, and leaves unread what it writes to stderr.
    pub fn unread(command: &mut Command) -> Process {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (ready, public, admin) = addresses(&mut stdout);
        Process {
            child,
            ready,
            public,
            admin,
            stdout,
            stderr: Arc::default(),
            reader: None,
            _folder: None,
        }
    }

    /// The ready line's addresses of the next process that inherited its stdout.
    pub fn next_ready(&mut self) -> (String, String) {
        let (_, public, admin) = addresses(&mut self.stdout);
        (public, admin)
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        let (_, authority) = self.public.split_once("://").expect("a TCP listener");
        authority.parse().unwrap()
    }

    /// `crossfade` with these arguments, against its admin API.
    pub fn run(&self, arguments: &[&str]) -> Output {
        run(&[arguments, &["--admin", &self.admin]].concat())
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

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Seconds of a core that it has used.
    pub fn cpu(&self) -> f64 {
        cpu_seconds(&self.pid().to_string())
    }

    /// A line of its `/proc/…/status`, in bytes.
    pub fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kilobytes = line.split_whitespace().nth(1).unwrap();
        kilobytes.parse::<u64>().unwrap() * 1024
    }

    /// Its exit code, where it has ended by itself.
    pub fn has_ended(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().unwrap().map(|status| status.code())
    }

    /// Waits for its end.
    pub async fn end(mut self) -> End {
        let since = Instant::now();
        let child = Mutex::new(&mut self.child);
        eventually("the process's end", async || {
            child.lock().unwrap().try_wait().unwrap().is_some()
        })
        .await;
        let took = since.elapsed();
        let code = self.child.wait().unwrap().code();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        End {
            code,
            stderr: self.stderr(),
            took,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `crossfade run`.
pub fn command(config: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["run", "--config"]).arg(config);
    command
}

/// `crossfade` with these arguments, to its end.
pub fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_remove("CROSSFADE_ADMIN_TOKEN");
    command.output().unwrap()
}

/// Sends a signal by name, to a process that may have ended.
pub fn signal(pid: u32, name: &str) {
    let mut kill = Command::new("kill");
    kill.args(["-s", name, &pid.to_string()]);
    let _ = kill.stderr(Stdio::null()).status();
}

/// The ready line, and the public and the admin address in it.
fn addresses(from: &mut impl BufRead) -> (String, String, String) {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    let rest = line.trim_end().strip_prefix("ready public=");
    let (public, admin) = rest
        .and_then(|rest| rest.split_once(" admin="))
        .unwrap_or_else(|| panic!("no ready line: {line:?}"));
    let (public, admin) = (public.to_owned(), admin.to_owned());
    (line, public, admin)
}
