//! The real binary before a backend, replaced by itself again and again.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::harness::{
    Backend, Peer, Process,
    admin::get,
    eventually,
    process::{self, BINARY, signal},
};

/// The first process, and whoever took over since. All are ended with this.
pub struct Dynasty {
    pub folder: TempDir,
    pub public: String,
    pub admin: String,
    first: Process,
    /// Those after the first.
    heirs: Vec<u32>,
}

/// What `crossfade upgrade` came to.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Dynasty {
    /// `server` is what belongs into `[server]`, `routes` the rest. No access log.
    pub fn start(backend: &Backend, server: &str, routes: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let upstream = format!("[upstream.app]\nservers = [\"http://{}\"]", backend.address);
        let any = "listen = \"127.0.0.1:0\"";
        let text = format!(
            "[server]\n{any}\n{server}\n[admin]\n{any}\n[log]\naccess = false\n{upstream}\n{routes}\n"
        );
        std::fs::write(folder.path().join("proxy.toml"), text).unwrap();
        Dynasty::start_in(folder, &[])
    }

    /// With the `proxy.toml` of this folder, and these variables.
    pub fn start_in(folder: TempDir, environment: &[(&str, &str)]) -> Self {
        let mut command = process::command(&folder.path().join("proxy.toml"));
        command.envs(environment.iter().copied());
        Dynasty::start_by(command, folder)
    }

    /// As a service manager starts it that has bound a socket.
    pub fn start_activated(folder: TempDir, socket: OwnedFd) -> Self {
        let command = activate(folder.path(), socket);
        Dynasty::start_by(command, folder)
    }

    fn start_by(mut command: Command, folder: TempDir) -> Self {
        let first = Process::spawn(&mut command);
        Dynasty {
            folder,
            public: first.public.clone(),
            admin: first.admin.clone(),
            first,
            heirs: Vec::new(),
        }
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("proxy.toml")
    }

    /// `crossfade upgrade` with these arguments.
    pub async fn try_upgrade(&mut self, arguments: &[&str]) -> Outcome {
        let mut command = tokio::process::Command::new(BINARY);
        command
            .args(["upgrade", "--json", "--admin", &self.admin])
            .args(arguments)
            .env_remove("CROSSFADE_ADMIN_TOKEN");
        let output = command.output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let outcome = Outcome {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        if outcome.code == Some(0) {
            let answer: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
            self.heirs.push(answer["pid"].as_u64().unwrap() as u32);
        }
        outcome
    }

    /// One that has to succeed; the heir says the same addresses. What the command said.
    pub async fn upgrade(&mut self) -> serde_json::Value {
        let outcome = self.try_upgrade(&[]).await;
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        let said = self.first.next_ready();
        assert_eq!(said, (self.public.clone(), self.admin.clone()));
        serde_json::from_str(&outcome.stdout).unwrap()
    }

    /// An upgrade that has to fail; what the command wrote to stderr.
    pub async fn fail_to_upgrade(&mut self, arguments: &[&str]) -> String {
        let outcome = self.try_upgrade(arguments).await;
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        outcome.stderr
    }

    /// The process that serves.
    pub fn pid(&self) -> u32 {
        self.heirs.last().copied().unwrap_or(self.first.pid())
    }

    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Ready lines that heirs have said beyond those asked for.
    pub fn reads_ready(&mut self) -> (String, String) {
        self.first.next_ready()
    }

    /// Waits for the first process's end; its exit code.
    pub async fn first_ends(&mut self) -> Option<i32> {
        let first = std::sync::Mutex::new(&mut self.first);
        eventually("the first process's end", async || {
            first.lock().unwrap().has_ended().is_some()
        })
        .await;
        self.first.has_ended().unwrap()
    }

    pub async fn is_ready(&self) {
        eventually("readiness", async || {
            get(&self.admin, "/readyz").await.status == 200
        })
        .await;
    }
}

impl Drop for Dynasty {
    fn drop(&mut self) {
        for heir in &self.heirs {
            signal(*heir, "KILL");
        }
    }
}

/// `crossfade run` in this folder with one socket, the way that systemd gives it: as descriptor 3.
pub fn activate(folder: &Path, socket: OwnedFd) -> Command {
    let config = folder.join("proxy.toml").display().to_string();
    let start = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" run --config \"$1\" 3<&0 </dev/null";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", start, BINARY, &config]).stdin(socket);
    command
}

/// An executable script.
pub fn script(folder: &Path, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    // By another process: while this one has it open, a child that is being forked would have it too, and then it is busy.
    let mut tee = Command::new("tee");
    tee.arg(&path).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut tee = tee.spawn().unwrap();
    let whole = format!("#!/bin/sh\n{text}\n");
    let mut input = tee.stdin.take().unwrap();
    input.write_all(whole.as_bytes()).unwrap();
    drop(input);
    assert!(tee.wait().unwrap().success());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// Clients that ask again as soon as they have their answer, over the old process and the new.
pub struct Askers {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: JoinSet<()>,
}

impl Askers {
    /// One client for each `is_kept`: whether its connection is kept, or each request has a new one.
    pub fn start(dynasty: &Dynasty, kept: &[bool]) -> Self {
        let address = dynasty.public.strip_prefix("http://").unwrap();
        let address = address.parse().unwrap();
        let (over, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut clients = JoinSet::new();
        for is_kept in kept.iter().copied() {
            let (over, answered) = (over.clone(), answered.clone());
            clients.spawn(async move {
                let mut client = Peer::connect(address).await;
                while !over.load(Ordering::Relaxed) {
                    let answer = client.ask("GET /any", "", "").await;
                    assert_eq!(answer.text(), "ok");
                    answered.fetch_add(1, Ordering::Relaxed);
                    if !is_kept || answer.field("connection") == Some("close") {
                        client = Peer::connect(address).await;
                    }
                }
            });
        }
        Askers {
            over,
            answered,
            clients,
        }
    }

    /// Upgrades, and waits for more than so many answers since before.
    pub async fn upgrade(&self, dynasty: &mut Dynasty, answers: usize) {
        let before = self.answered.load(Ordering::Relaxed);
        dynasty.upgrade().await;
        eventually("answers", async || {
            self.answered.load(Ordering::Relaxed) > before + answers
        })
        .await;
    }

    /// Ends them; every one of their requests had its answer.
    pub async fn end(mut self) {
        self.over.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.expect("no request failed");
        }
    }
}
