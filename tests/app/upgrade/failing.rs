//! A new process that is none, or goes wrong: the old one serves on, and says why.

use super::world::{Dynasty, script};
use crate::harness::{
    Backend, Peer,
    admin::{get, metric},
    eventually,
    process::{BINARY, signal},
};

async fn still_serves(dynasty: &Dynasty) {
    let address = dynasty.public.strip_prefix("http://").unwrap();
    let mut client = Peer::connect(address.parse().unwrap()).await;
    assert_eq!(client.ask("GET /any", "", "").await.text(), "ok");
    assert_eq!(get(&dynasty.admin, "/readyz").await.status, 200);
}

const EVERYTHING: &str = "[[route]]\npath = \"/{*path}\"\nupstream = \"app\"\n";

/// Says its name, then does this instead of running.
fn impostor(dynasty: &Dynasty, deed: &str) -> String {
    let text = format!("[ \"$1\" = --version ] && exec {BINARY} --version\n{deed}");
    script(dynasty.folder.path(), "impostor", &text)
}

#[tokio::test(flavor = "multi_thread")]
async fn unready_binary_leaves_the_old_process_serving() {
    let backend = Backend::ok().await;
    let mut dynasty = Dynasty::start(&backend, "", EVERYTHING);
    for (deed, words) in [
        ("echo out of luck >&2; exit 3", "out of luck"),
        ("echo garbage >&0; echo noise >&2; sleep 9", "noise"),
        ("exec 0<&-; echo deaf >&2; exit 0", "deaf"),
        ("kill -9 $$", "ended before it was ready"),
    ] {
        let binary = impostor(&dynasty, deed);
        let said = dynasty.fail_to_upgrade(&["--binary", &binary]).await;
        assert!(said.contains(words), "{deed}: {said}");
        assert!(said.contains("the old process serves on"), "{said}");
        still_serves(&dynasty).await;
    }
    let failed = "crossfade_upgrades_total{result=\"failed\"}";
    assert_eq!(metric(&dynasty.admin, failed).await, 4.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_crossfade_is_not_started_as_one() {
    let backend = Backend::ok().await;
    let mut dynasty = Dynasty::start(&backend, "", EVERYTHING);
    for (binary, words) in [
        ("/bin/false", "is no crossfade"),
        ("/nowhere/crossfade", "cannot be used"),
        ("/tmp", "is no executable file"),
    ] {
        let said = dynasty.fail_to_upgrade(&["--binary", binary]).await;
        assert!(said.contains(words), "{binary}: {said}");
    }
    let open = impostor(&dynasty, "");
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let said = dynasty.fail_to_upgrade(&["--binary", &open]).await;
    assert!(said.contains("may write"), "{said}");
    still_serves(&dynasty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_has_to_name_the_process_that_it_means() {
    let backend = Backend::ok().await;
    let dynasty = Dynasty::start(&backend, "", EVERYTHING);
    let shown = get(&dynasty.admin, "/v1/upgrade").await;
    assert_eq!(shown.json["pid"], dynasty.pid(), "{}", shown.text);
    for (wish, status) in [("", 400), ("{}", 422), ("{\"pid\":1}", 409)] {
        let answer = crate::harness::admin::post(&dynasty.admin, "/v1/upgrade", wish).await;
        assert_eq!(answer.status, status, "{wish}: {}", answer.text);
    }
    assert_eq!(
        get(&dynasty.admin, "/v1/upgrade").await.json["pid"],
        dynasty.pid()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_became_invalid_stops_the_upgrade() {
    let backend = Backend::ok().await;
    let mut dynasty = Dynasty::start(&backend, "", EVERYTHING);
    let good = std::fs::read_to_string(dynasty.config()).unwrap();
    std::fs::write(
        dynasty.config(),
        good.clone() + "\n[server.limits]\nfoo = 1\n",
    )
    .unwrap();
    let said = dynasty.fail_to_upgrade(&[]).await;
    assert!(said.contains("server.limits.foo"), "{said}");
    still_serves(&dynasty).await;
    std::fs::write(dynasty.config(), good).unwrap();
    dynasty.upgrade().await;
    still_serves(&dynasty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drained_process_is_not_upgraded_and_leaving_aborts_one() {
    let backend = Backend::ok().await;
    let mut dynasty = Dynasty::start(&backend, "drain_timeout = \"2s\"", EVERYTHING);
    crate::harness::admin::post(&dynasty.admin, "/v1/drain", "").await;
    let said = dynasty.fail_to_upgrade(&[]).await;
    assert!(said.contains("a drain is under way"), "{said}");
    crate::harness::admin::ask(&dynasty.admin, "DELETE", "/v1/drain", &[], "").await;

    let started = dynasty.folder.path().join("started");
    let deed = format!(
        "echo $$ > {0}.new && mv {0}.new {0}; exec sleep 60",
        started.display()
    );
    let binary = impostor(&dynasty, &deed);
    let pid = dynasty.pid();
    let arguments = ["--binary", &*binary];
    let (outcome, newcomer) = tokio::join!(dynasty.try_upgrade(&arguments), async {
        crate::harness::eventually("the new process", async || started.exists()).await;
        crate::harness::process::signal(pid, "TERM");
        std::fs::read_to_string(&started).unwrap()
    });
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert_eq!(dynasty.first_ends().await, Some(0));
    let newcomer = format!("/proc/{}/comm", newcomer.trim());
    let is_gone = || std::fs::read_to_string(&newcomer).is_ok_and(|name| name == "sleep\n");
    crate::harness::eventually("the new process's end", async || !is_gone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_file_that_others_may_write_is_not_upgraded_to() {
    use std::os::unix::fs::PermissionsExt;

    let backend = Backend::ok().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("crossfade");
    std::fs::copy(BINARY, &file).unwrap();
    let mut dynasty = Dynasty::start(&backend, "", EVERYTHING);
    let file = file.display().to_string();
    let outcome = dynasty.try_upgrade(&["--binary", &file]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o777)).unwrap();
    for arguments in [&[][..], &["--binary", &file]] {
        let said = dynasty.fail_to_upgrade(arguments).await;
        assert!(said.contains("may write"), "{arguments:?}: {said}");
        still_serves(&dynasty).await;
    }
}

/// The old process is stopped, so that the new one waits for its sockets when the signal comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_to_a_new_process_leaves_the_old_one_serving() {
    let backend = Backend::ok().await;
    let mut dynasty = Dynasty::start(&backend, "", EVERYTHING);
    let started = dynasty.folder.path().join("started");
    let go = dynasty.folder.path().join("go");
    let deed = format!(
        "echo $$ > {0}.new && mv {0}.new {0}\nwhile [ ! -e {1} ]; do sleep 0.02; done\nexec {BINARY} \"$@\"",
        started.display(),
        go.display()
    );
    let binary = impostor(&dynasty, &deed);
    let old = dynasty.pid();
    let arguments = ["--binary", &*binary];
    let (outcome, ()) = tokio::join!(dynasty.try_upgrade(&arguments), async {
        eventually("the new process", async || started.exists()).await;
        signal(old, "STOP");
        std::fs::write(&go, "").unwrap();
        let new = std::fs::read_to_string(&started).unwrap();
        let new = new.trim().parse().unwrap();
        eventually("its handler of signals", async || handles_term(new)).await;
        signal(new, "TERM");
        eventually("its end", async || !handles_term(new)).await;
        signal(old, "CONT");
    });
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let said = outcome.stderr;
    assert!(said.contains("a signal ended the new process"), "{said}");
    assert!(said.contains("the old process serves on"), "{said}");
    still_serves(&dynasty).await;
    dynasty.upgrade().await;
    still_serves(&dynasty).await;
}

/// Whether a process is there that has a handler for SIGTERM.
fn handles_term(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Of a process that has ended and was not waited for the mask stays.
    let is_over = status.lines().any(|line| line.starts_with("State:\tZ"));
    !is_over && caught.is_some_and(|mask| mask & 1 << 14 != 0)
}
