//! What the service manager is told.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::{Folder, Process, eventually};

/// A service manager's notification socket.
struct Manager {
    heard: Arc<Mutex<Vec<String>>>,
}

impl Manager {
    fn listen(path: &Path) -> Manager {
        let socket = UnixDatagram::bind(path).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let list = heard.clone();
        std::thread::spawn(move || {
            let mut message = [0; 4096];
            while let Ok(length) = socket.recv(&mut message) {
                let text = String::from_utf8_lossy(&message[..length]).into_owned();
                list.lock().unwrap().push(text);
            }
        });
        Manager { heard }
    }

    fn count(&self, word: &str) -> usize {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|said| said.contains(word)).count()
    }
}

fn start(folder: &Folder, watchdog: Option<&str>) -> (Manager, Process) {
    let path = folder.0.path().join("notify");
    let manager = Manager::listen(&path);
    let mut environment = vec![("NOTIFY_SOCKET", path.to_str().unwrap())];
    environment.extend(watchdog.map(|time| ("WATCHDOG_USEC", time)));
    let process = Process::start(&folder.config(), &environment);
    (manager, process)
}

#[tokio::test]
async fn the_manager_hears_ready_reloading_and_stopping() {
    let folder = Folder::with_rollout("percent = 1");
    let (manager, process) = start(&folder, None);
    eventually("READY", async || manager.count("READY=1") == 1).await;
    folder.write(&folder.text("percent = 2"));
    process.signal("HUP");
    eventually("RELOADING", async || manager.count("RELOADING=1") >= 1).await;
    eventually("READY again", async || manager.count("READY=1") >= 2).await;
    process.signal("INT");
    assert_eq!(process.end().await.code, Some(0));
    eventually("STOPPING", async || manager.count("STOPPING=1") == 1).await;
    assert_eq!(manager.count("WATCHDOG=1"), 0, "nobody asked for it");
}

#[tokio::test]
async fn watchdog_is_fed_by_a_running_process_not_a_hung_one() {
    let folder = Folder::with_rollout("percent = 1");
    let (manager, process) = start(&folder, Some("100000"));
    eventually("signs of life", async || manager.count("WATCHDOG=1") >= 5).await;
    process.signal("STOP");
    // What was on its way has arrived when nothing new comes for four beats.
    let quiet = async {
        loop {
            let before = manager.count("WATCHDOG=1");
            tokio::time::sleep(Duration::from_millis(200)).await;
            if manager.count("WATCHDOG=1") == before {
                return before;
            }
        }
    };
    let before = crate::harness::within("silence", quiet).await;
    process.signal("CONT");
    eventually("signs of life again", async || {
        manager.count("WATCHDOG=1") > before
    })
    .await;
}
