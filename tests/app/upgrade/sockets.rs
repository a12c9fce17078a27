//! Listeners change hands while requests come.

use std::sync::Arc;

use super::world::{Askers, Dynasty};
use crate::harness::{
    Backend, Peer,
    admin::{ask, get, metric, post},
    eventually,
    process::signal,
    reply, within,
};

const EVERYTHING: &str = "[[route]]\npath = \"/{*path}\"\nupstream = \"app\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_takes_the_place_of_the_old_one() {
    let backend = Backend::ok().await;
    let socket = tempfile::tempdir().unwrap();
    let path = socket.path().join("public.sock");
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\", \"unix:{}\"]\ndrain_timeout = \"2s\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [upstream.app]\nservers = [\"http://{}\"]\n{EVERYTHING}",
        path.display(),
        backend.address
    );
    std::fs::write(folder.path().join("proxy.toml"), text).unwrap();
    let mut dynasty = Dynasty::start_in(folder, &[]);
    dynasty.upgrade().await;
    assert_eq!(dynasty.first_ends().await, Some(0));
    assert!(path.exists(), "the socket file is the new one's");
    within(
        "an answer over the socket",
        tokio::net::UnixStream::connect(&path),
    )
    .await
    .unwrap();
    dynasty.is_ready().await;
    let done = "crossfade_upgrades_total{result=\"done\"}";
    assert_eq!(metric(&dynasty.admin, done).await, 1.0);

    // And by signal: nobody is answered, but somebody else serves.
    dynasty.signal("USR2");
    let addresses = dynasty.reads_ready();
    assert_eq!(addresses, (dynasty.public.clone(), dynasty.admin.clone()));
    let old = dynasty.pid();
    eventually("the second one's end", async || {
        !std::path::Path::new(&format!("/proc/{old}/fd/0")).exists()
    })
    .await;
    let health = get(&dynasty.admin, "/v1/health").await;
    assert_eq!(health.status, 200, "{}", health.text);
    signal_listeners(&dynasty);
}

/// The last heir is nobody's child that we know of: it says its own number.
fn signal_listeners(dynasty: &Dynasty) {
    let config = dynasty.config().display().to_string();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = process.file_name().to_string_lossy().into_owned();
        let command = std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        if let Ok(pid) = name.parse()
            && command.contains(&config)
        {
            signal(pid, "KILL");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_admin_set_in_memory_goes_over() {
    let backend = Backend::ok().await;
    let routes = "[rollout.web]\npercent = 10\n[[route]]\npath = \"/s\"\nupstream = \"app\"\nsource = \"sse\"\nrollout = \"web\"\n";
    let mut dynasty = Dynasty::start(&backend, "drain_timeout = \"1s\"", routes);
    post(&dynasty.admin, "/v1/rollouts/web/kill", "").await;
    dynasty.upgrade().await;
    let rollout = get(&dynasty.admin, "/v1/rollouts/web").await;
    assert_eq!(rollout.json["state"], "killed", "{}", rollout.text);
    ask(
        &dynasty.admin,
        "PATCH",
        "/v1/rollouts/web",
        &[],
        "{\"percent\":42}",
    )
    .await;
    post(&dynasty.admin, "/v1/rollouts/web/resume", "").await;
    dynasty.upgrade().await;
    let rollout = get(&dynasty.admin, "/v1/rollouts/web").await;
    assert_eq!(rollout.json["percent"], 42, "{}", rollout.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_is_finished_by_the_process_that_took_it() {
    let released = Arc::new(tokio::sync::Notify::new());
    let gate = released.clone();
    let backend = Backend::start(move |_, peer| {
        let gate = gate.clone();
        async move {
            gate.notified().await;
            reply(peer, "200 OK", "", "slow").await
        }
    });
    let backend = backend.await;
    let mut dynasty = Dynasty::start(&backend, "drain_timeout = \"20s\"", EVERYTHING);
    let address = dynasty
        .public
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    let mut client = Peer::connect(address).await;
    client
        .send(crate::harness::request("GET /slow", "", ""))
        .await;
    backend.reached(1).await;
    dynasty.upgrade().await;
    released.notify_one();
    assert_eq!(client.response().await.text(), "slow");
    assert_eq!(dynasty.first_ends().await, Some(0));
}

/// Requests over fresh and kept connections while the binary is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_processes_come_and_go() {
    let backend = Backend::ok().await;
    let mut dynasty = Dynasty::start(&backend, "drain_timeout = \"1s\"", EVERYTHING);
    let askers = Askers::start(&dynasty, &[true, true, false, false]);
    for _ in 0..5 {
        askers.upgrade(&mut dynasty, 50).await;
    }
    askers.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_of_the_service_manager_is_served_and_stays_its_own() {
    let backend = Backend::ok().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("public.sock");
    // As systemd does: bound once, and kept.
    let bound = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let text = format!(
        "[server]\nlisten = \"unix:{}\"\ndrain_timeout = \"1s\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [upstream.app]\nservers = [\"http://{}\"]\n{EVERYTHING}",
        path.display(),
        backend.address
    );
    std::fs::write(folder.path().join("proxy.toml"), text).unwrap();
    let given = bound.try_clone().unwrap();
    let mut dynasty = Dynasty::start_activated(folder, given.into());
    assert_eq!(dynasty.public, format!("unix:{}", path.display()));
    answers(&path).await;
    dynasty.upgrade().await;
    assert_eq!(dynasty.first_ends().await, Some(0));
    answers(&path).await;
    let heir = dynasty.pid();
    dynasty.signal("TERM");
    eventually("the heir's end", async || {
        !std::path::Path::new(&format!("/proc/{heir}/fd/0")).exists()
    })
    .await;
    assert!(path.exists(), "the file is the service manager's");
}

async fn answers(path: &std::path::Path) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
    let request = "GET /any HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("an answer", stream.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_the_configuration_does_not_name_is_refused() {
    let backend = Backend::ok().await;
    let folder = tempfile::tempdir().unwrap();
    let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = bound.local_addr().unwrap();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [upstream.app]\nservers = [\"http://{}\"]\n{EVERYTHING}",
        backend.address
    );
    std::fs::write(folder.path().join("proxy.toml"), text).unwrap();
    let mut command = super::world::activate(folder.path(), bound.into());
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains(&address.to_string()) && said.contains("nothing would answer"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_changed_in_the_file_change_with_the_upgrade() {
    let backend = Backend::ok().await;
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let file = folder.path().join("proxy.toml");
    let write = |unix: &std::path::Path| {
        let text = format!(
            "[server]\nlisten = [\"127.0.0.1:0\", \"unix:{}\"]\ndrain_timeout = \"1s\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [upstream.app]\nservers = [\"http://{}\"]\n{EVERYTHING}",
            unix.display(),
            backend.address
        );
        std::fs::write(&file, text).unwrap();
    };
    write(&one);
    let mut dynasty = Dynasty::start_in(folder, &[]);
    answers(&one).await;
    write(&two);
    let outcome = dynasty.try_upgrade(&[]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let (public, _) = dynasty.reads_ready();
    let tcp = dynasty.public.split(',').next().unwrap();
    assert_eq!(public, format!("{tcp},unix:{}", two.display()));
    answers(&two).await;
    assert_eq!(dynasty.first_ends().await, Some(0));
    assert!(!one.exists(), "nobody listens there any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn service_manager_hears_of_the_new_process_first() {
    let backend = Backend::ok().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = tokio::net::UnixDatagram::bind(&path).unwrap();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndrain_timeout = \"1s\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [upstream.app]\nservers = [\"http://{}\"]\n{EVERYTHING}",
        backend.address
    );
    std::fs::write(folder.path().join("proxy.toml"), text).unwrap();
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap())];
    let mut dynasty = Dynasty::start_in(folder, &environment);
    dynasty.upgrade().await;
    assert_eq!(dynasty.first_ends().await, Some(0));
    let heard = async || {
        let mut buffer = [0; 256];
        let count = within("a word", manager.recv(&mut buffer)).await.unwrap();
        String::from_utf8_lossy(&buffer[..count]).trim().to_owned()
    };
    assert_eq!(heard().await, "READY=1");
    assert_eq!(heard().await, format!("MAINPID={}", dynasty.pid()));
    assert_eq!(heard().await, "READY=1");
    dynasty.signal("TERM");
    assert_eq!(
        heard().await,
        "STOPPING=1",
        "nothing comes from the old one in between"
    );
}
