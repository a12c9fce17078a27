//! The real binary: ready line, signals, commands, exit codes.

use std::process::{Command, Output};
use std::time::Duration;

use crate::harness::{
    Folder, Process,
    admin::{get, metric},
    eventually,
    folder::{ROUTES, listeners},
    process::{BINARY, End, run},
    within,
};

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn the_ready_line_names_every_address() {
    let folder = Folder::with_rollout("percent = 1");
    let socket = folder.0.path().join("public.sock");
    let two = format!("listen = [\"127.0.0.1:0\", \"unix:{}\"]", socket.display());
    folder.write(&folder.read().replacen("listen = \"127.0.0.1:0\"", &two, 1));
    let running = Process::start(&folder.config(), &[]);
    let line = running.ready.strip_suffix('\n').unwrap();
    let rest = line.strip_prefix("ready public=http://127.0.0.1:").unwrap();
    let (public, admin) = rest.split_once(" admin=http://127.0.0.1:").unwrap();
    let (port, unix) = public.split_once(',').unwrap();
    assert_ne!(port.parse::<u16>().unwrap(), 0);
    assert_eq!(unix, format!("unix:{}", socket.display()));
    assert_ne!(admin.parse::<u16>().unwrap(), 0);
}

#[tokio::test]
async fn sighup_reloads_and_a_broken_file_changes_nothing() {
    let folder = Folder::with_rollout("percent = 1");
    let running = Process::start(&folder.config(), &[]);
    let generation = async || metric(&running.admin, "crossfade_config_generation").await;
    assert_eq!(generation().await, 1.0);
    folder.write("[server");
    running.signal("HUP");
    eventually("a refused reload", async || {
        metric(
            &running.admin,
            "crossfade_reloads_total{result=\"invalid\"}",
        )
        .await
            >= 1.0
    })
    .await;
    assert_eq!(generation().await, 1.0);
    folder.write(&folder.text("percent = 2"));
    running.signal("HUP");
    eventually("generation 2", async || generation().await == 2.0).await;
    assert_eq!(get(&running.admin, "/readyz").await.status, 200);
}

#[tokio::test]
async fn sigterm_leaves_in_order_with_readiness_first() {
    let folder = Folder::with_rollout("percent = 1");
    folder.write(
        &folder
            .read()
            .replace("[server]", "[server]\ndrain_timeout = \"5s\""),
    );
    let running = Process::start(&folder.config(), &[]);
    running.signal("TERM");
    eventually("not ready", async || {
        get(&running.admin, "/readyz").await.status == 503
    })
    .await;
    let End { code, took, .. } = running.end().await;
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn a_second_sigterm_or_an_interrupt_ends_it_at_once() {
    for signals in [&["TERM", "TERM"][..], &["TERM", "INT"], &["INT"]] {
        let folder = Folder::with_rollout("percent = 1");
        let running = Process::start(&folder.config(), &[]);
        for (n, signal) in signals.iter().enumerate() {
            if n > 0 {
                let unready = || async { get(&running.admin, "/readyz").await.status == 503 };
                eventually("not ready", unready).await;
            }
            running.signal(signal);
        }
        let End { code, took, .. } = running.end().await;
        assert_eq!(code, Some(0), "{signals:?}");
        assert!(took < Duration::from_secs(2), "{signals:?} {took:?}");
    }
}

#[tokio::test]
async fn systemd_is_told_of_ready_reloading_and_stopping() {
    let folder = Folder::with_rollout("percent = 1");
    let path = folder.0.path().join("notify.sock");
    let socket = tokio::net::UnixDatagram::bind(&path).unwrap();
    let told = async || {
        let mut text = vec![0; 4096];
        let length = within("a notification", socket.recv(&mut text)).await;
        text.truncate(length.unwrap());
        String::from_utf8(text).unwrap()
    };
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap())];
    let running = Process::start(&folder.config(), &environment);
    assert_eq!(told().await.trim(), "READY=1");
    folder.write(&folder.text("percent = 2"));
    running.signal("HUP");
    let reloading = told().await;
    let (first, second) = reloading.trim().split_once('\n').unwrap();
    assert_eq!(first, "RELOADING=1");
    let instant = second.strip_prefix("MONOTONIC_USEC=").unwrap();
    assert!(instant.parse::<u64>().unwrap() > 0);
    assert_eq!(told().await.trim(), "READY=1");
    running.signal("INT");
    let mut last = told().await;
    // The watch may have seen the same change as the signal.
    while last.trim() != "STOPPING=1" {
        last = told().await;
    }
}

#[tokio::test]
async fn the_log_turns_while_it_runs() {
    let folder = Folder::with_rollout("percent = 1");
    let running = Process::start(&folder.config(), &[]);
    let quiet = "percent = 2\n[log]\nlevel = \"error\"";
    folder.write(&folder.text(quiet));
    let json = "percent = 3\n[log]\nformat = \"json\"";
    let generation = async || metric(&running.admin, "crossfade_config_generation").await;
    eventually("generation 2", async || generation().await == 2.0).await;
    folder.write(&folder.text(json));
    eventually("generation 3", async || generation().await == 3.0).await;
    running.signal("INT");
    let log = String::from_utf8(running.end().await.stderr).unwrap();
    let (text, json): (Vec<&str>, Vec<&str>) = log.lines().partition(|l| !l.starts_with('{'));
    assert!(text.iter().any(|l| l.contains("generation=1")), "{log}");
    assert!(!log.contains("generation=2"), "{log}");
    assert!(json.iter().any(|l| l.contains("\"generation\":3")), "{log}");
}

#[test]
fn an_invalid_file_or_a_taken_address_is_told_and_ends_it() {
    let folder = Folder::with("[server]\nbogus = 1\n");
    let config = folder.config();
    let config = config.to_str().unwrap();
    let refused = run(&["run", "--config", config]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(stdout(&refused), "");
    assert!(
        stderr(&refused).contains(&format!("{config}:2:1: error: server.bogus: ")),
        "{refused:?}"
    );

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("listen = \"{}\"", taken.local_addr().unwrap());
    let text = listeners("").replacen("listen = \"127.0.0.1:0\"", &address, 1);
    folder.write(&format!(
        "{text}{}",
        ROUTES.replace("rollout = \"web\"", "")
    ));
    let refused = run(&["run", "--config", config]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("server.listen: cannot listen on"),
        "{refused:?}"
    );
}

#[test]
fn check_tells_every_problem_in_lines_or_as_json() {
    let folder = Folder::with("[server]\nbogus = 1\nprefixx = 2\n");
    let config = folder.config();
    let config = config.to_str().unwrap();
    let plain = run(&["check", config]);
    assert_eq!(plain.status.code(), Some(1));
    assert_eq!(stdout(&plain), "");
    assert!(stderr(&plain).lines().count() >= 2);
    assert!(
        stderr(&plain)
            .lines()
            .all(|line| line.starts_with(&format!("{config}:")))
    );

    let json = run(&["check", config, "--json"]);
    assert_eq!((json.status.code(), stderr(&json)), (Some(1), ""));
    let report: serde_json::Value = serde_json::from_str(stdout(&json)).unwrap();
    assert_eq!(report["ok"], false);
    assert_eq!(report["problems"][0]["key"], "server.bogus");

    let good = Folder::with_rollout("percent = 1");
    let good = run(&["check", good.config().to_str().unwrap(), "--json"]);
    assert_eq!(good.status.code(), Some(0));
    assert!(stdout(&good).starts_with("{\"ok\":true,"));
    assert_eq!(
        run(&["check", "/nowhere/proxy.toml"]).status.code(),
        Some(1)
    );
}

#[test]
fn the_release_managers_commands() {
    let folder = Folder::with_rollout("percent = 25");
    let running = Process::start(&folder.config(), &[]);
    let status = running.run(&["rollout", "status"]);
    assert_eq!(status.status.code(), Some(0));
    let lines: Vec<&str> = stdout(&status).lines().collect();
    assert!(lines[0].starts_with("NAME") && lines[0].contains("STATE"));
    assert!(
        lines[1].starts_with("web ") && lines[1].contains("25 %") && lines[1].contains("running")
    );

    let set = running.run(&["rollout", "set", "12.5", "--json"]);
    let set: serde_json::Value = serde_json::from_str(stdout(&set)).unwrap();
    assert_eq!(set["percent"], 12.5);
    for wrong in ["101", "-1", "1.2345", "half"] {
        let wrong = running.run(&["rollout", "set", wrong]);
        assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    }
    let killed = running.run(&["rollout", "kill", "--reason", "because"]);
    assert!(stdout(&killed).contains("killed"), "{killed:?}");
    assert!(stdout(&running.run(&["rollout", "resume"])).contains("12.5 %"));
    assert!(stdout(&running.run(&["rollout", "pause"])).contains("paused"));
    let history = running.run(&["rollout", "history"]);
    assert!(stdout(&history).contains("because"));
    let unknown = running.run(&["rollout", "set", "5", "--rollout", "other"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(stderr(&unknown).contains("there is web"), "{unknown:?}");
    let unknown = running.run(&["rollout", "set", "5", "--rollout", "other", "--json"]);
    let problem: serde_json::Value = serde_json::from_str(stdout(&unknown)).unwrap();
    assert_eq!(problem["code"], "not_found");
    let one = running.run(&["rollout", "status", "--rollout", "web", "--json"]);
    let one: serde_json::Value = serde_json::from_str(stdout(&one)).unwrap();
    assert_eq!(one["name"], "web");
}

#[test]
fn rollout_status_of_namespaces_fits_80_columns() {
    let socketio = "percent = 25
[socketio]
rollout = \"web\"
[[socketio.namespace]]
name = \"/admin\"
[[socketio.namespace]]
name = \"/pipeline/{id}\"
";
    let folder = Folder::with_rollout(socketio);
    let running = Process::start(&folder.config(), &[]);
    let status = running.run(&["rollout", "status"]);
    let shown = stdout(&status);
    assert!(
        shown.ends_with("\n\nNAME  NAMESPACES\nweb   /admin, /pipeline/{id}\n"),
        "{shown}"
    );
    running.run(&["rollout", "kill"]);
    let status = running.run(&["rollout", "status"]);
    let killed = stdout(&status);
    assert!(killed.contains(" 0 % (set: 25 %) "), "{killed}");
    assert!(
        shown.lines().all(|line| line.chars().count() <= 80),
        "{shown}"
    );
}

#[test]
fn with_several_rollouts_status_shows_all_and_kill_kills_all() {
    let folder = Folder::with_rollout("percent = 25\n[rollout.console]\npercent = 50");
    let running = Process::start(&folder.config(), &[]);
    let status = running.run(&["rollout", "status"]);
    assert_eq!(stdout(&status).lines().count(), 3);
    for command in ["resume", "pause", "history"] {
        let which = running.run(&["rollout", command]);
        assert_eq!(which.status.code(), Some(2), "{command}");
        assert!(stderr(&which).contains("console, web"), "{which:?}");
    }
    assert_eq!(running.run(&["rollout", "set", "5"]).status.code(), Some(2));
    let killed = running.run(&["rollout", "kill"]);
    assert_eq!(killed.status.code(), Some(0));
    assert_eq!(stdout(&killed).matches("killed").count(), 2);
    let one = running.run(&["rollout", "resume", "--rollout", "console"]);
    assert!(stdout(&one).contains("50 %"));
}

#[test]
fn answers_are_printed_as_they_are_and_a_refusal_exits_1() {
    let folder = Folder::with_rollout("percent = 25");
    let running = Process::start(&folder.config(), &[]);
    for arguments in [
        &["rollout", "status"][..],
        &["config", "show"],
        &["config", "history"],
        &["config", "reload"],
        &["sessions", "list"],
        &["topics", "list"],
        &["explain", "--path", "/feed"],
        &["drain", "--window", "1s"],
        &["drain", "--cancel"],
    ] {
        let human = running.run(arguments);
        assert_eq!(human.status.code(), Some(0), "{arguments:?} {human:?}");
        assert!(!human.stdout.is_empty());
        let json = running.run(&[arguments, &["--json"][..]].concat());
        assert!(
            serde_json::from_str::<serde_json::Value>(stdout(&json))
                .unwrap()
                .is_object(),
            "{json:?}"
        );
    }
    let undo = running.run(&["config", "undo"]);
    assert_eq!(undo.status.code(), Some(1));
    assert_eq!(stdout(&undo), "");
    folder.write("[server]\nbogus = 1\n");
    let reload = running.run(&["config", "reload"]);
    assert_eq!(reload.status.code(), Some(1));
    assert!(
        stderr(&reload).contains(":2:1: error: server.bogus: "),
        "{reload:?}"
    );
    assert_eq!(
        running.run(&["health"]).status.code(),
        Some(1),
        "its backend is down"
    );
}

#[tokio::test]
async fn json_is_the_answers_body_byte_for_byte() {
    let folder = Folder::with_rollout("percent = 25");
    let running = Process::start(&folder.config(), &[]);
    for (arguments, path) in [
        (&["rollout", "status"][..], "/v1/rollouts"),
        (&["config", "show"], "/v1/config"),
        (&["config", "history"], "/v1/config/history"),
        (&["sessions", "list"], "/v1/sessions"),
        (&["explain", "--path", "/feed"], "/v1/explain?path=/feed"),
    ] {
        let printed = running.run(&[arguments, &["--json"][..]].concat());
        let body = get(&running.admin, path).await.text;
        assert!(body.ends_with("}\n"), "{body:?}");
        assert_eq!(stdout(&printed), body);
    }
}

#[test]
fn unreachable_admin_or_missing_token_says_what_to_do() {
    let nobody = run(&["rollout", "status", "--admin", "http://127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(stderr(&nobody).contains("Is crossfade running there?"));
    let odd = run(&["health", "--admin", "ftp://x"]);
    assert_eq!(odd.status.code(), Some(2));

    let folder = Folder::with_rollout("percent = 25");
    let socket = format!(
        "listen = \"unix:{}\"",
        folder.0.path().join("admin.sock").display()
    );
    let text = folder
        .read()
        .replace("[admin]\nlisten = \"127.0.0.1:0\"", "[admin]\nTOKEN");
    let text = text.replace("TOKEN", &format!("token = \"0123456789abcdef\"\n{socket}"));
    folder.write(&text);
    let running = Process::start(&folder.config(), &[]);
    assert!(running.admin.starts_with("unix:"), "{}", running.ready);
    let anonymous = running.run(&["rollout", "status"]);
    assert_eq!(anonymous.status.code(), Some(1));
    assert!(stderr(&anonymous).contains("CROSSFADE_ADMIN_TOKEN"));
    let known = running.run(&["rollout", "status", "--token", "0123456789abcdef"]);
    assert_eq!(known.status.code(), Some(0), "{known:?}");
}

#[test]
fn the_admin_address_is_named_or_that_of_the_folder() {
    let folder = Folder::with_rollout("percent = 1");
    let running = Process::start(&folder.config(), &[]);
    let authority = running.admin.strip_prefix("http://").unwrap();
    let elsewhere = format!("http://{}", authority.replace("127.0.0.1", "localhost"));
    let list = |here: &Folder, admin: Option<&str>, more: &[&str]| {
        let mut command = Command::new(BINARY);
        command.args(["topics", "list"]).args(more);
        command.current_dir(here.0.path());
        match admin {
            Some(admin) => command.env("CROSSFADE_ADMIN", admin),
            None => command.env_remove("CROSSFADE_ADMIN"),
        };
        command.output().unwrap()
    };
    let named = Folder::with(
        &format!("[admin]\nlisten = \"{authority}\"\n{ROUTES}").replace("rollout = \"web\"\n", ""),
    );
    let wrong = "http://127.0.0.1:9";
    for (admin, more) in [
        (None, &[][..]),
        (Some(&*elsewhere), &[]),
        (Some(wrong), &["--admin", &running.admin]),
    ] {
        let listed = list(&named, admin, more);
        assert!(listed.status.success(), "{admin:?} {more:?}: {listed:?}");
    }
    let refused = list(&named, Some(wrong), &[]);
    assert!(stderr(&refused).contains(wrong), "{refused:?}");
}

#[test]
fn explain_judges_a_file_too() {
    let folder = Folder::with_rollout("percent = 25");
    let config = folder.config();
    let arguments = [
        "explain", "--path", "/feed", "--user", "alice", "--json", "--config",
    ];
    let judged = Command::new(BINARY)
        .args(arguments)
        .arg(config)
        .output()
        .unwrap();
    let judged: serde_json::Value = serde_json::from_str(stdout(&judged)).unwrap();
    assert_eq!(judged["rollout"]["bucket"], 2624);
    assert_eq!(judged["rollout"]["transport"], "websocket");
}

#[test]
fn explain_judges_a_namespace_of_a_file() {
    let folder = Folder::with_rollout("percent = 25");
    let rules = "[socketio]\n[[socketio.namespace]]\nname = \"/rooms/{room}\"\n\
                 [[socketio.namespace.on]]\nevent = \"join_task\"\nsubscribe = \"/feed?room={room}&task={task_id}\"\n";
    folder.write(&format!("{}\n{rules}", folder.read()));
    let explain = |arguments: &[&str]| {
        let config = folder.config();
        let judged = Command::new(BINARY)
            .args(["explain", "--user", "alice", "--config"])
            .arg(config)
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(judged.status.code(), Some(0), "{judged:?}");
        stdout(&judged).to_owned()
    };
    let event = ["--namespace", "/rooms/7", "--event", "join_task"];
    let told = explain(&event);
    for line in [
        "param      room = 7",
        "action     subscribe",
        "path       /feed?room=7&task={task_id}",
        "route      feed",
    ] {
        assert!(told.lines().any(|told| told == line), "{line}: {told}");
    }
    let args = ["--args", "[{\"task_id\":\"..\"}]", "--json"];
    let judged = explain(&[&event[..], &args[..]].concat());
    let judged: serde_json::Value = serde_json::from_str(&judged).unwrap();
    assert_eq!(judged["event"]["verdict"]["code"], "bad_frame");
    assert!(explain(&["--namespace", "/x"]).contains("Invalid namespace"));
    for wrong in [
        &["--namespace", "rooms"][..],
        &["--namespace", "/", "--path", "/"],
        &["--path", "/", "--event", "a"],
        &["--namespace", "/", "--event", "a", "--args", "{}"],
    ] {
        let wrong = run(&[&["explain"][..], wrong].concat());
        assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    }
}

#[tokio::test]
async fn the_log_holds_no_secret_and_no_control_byte() {
    let canary = "canary-canary-canary-canary-canary";
    let folder = Folder::with_rollout("percent = 25");
    let text = folder.read();
    let text = text.replace("[server]", &format!("[server]\nsecret = \"{canary}\""));
    let text = text.replace("[admin]", "[admin]\ntoken = \"canary-token-canary\"");
    folder.write(&format!(
        "{text}\n[log]\nlevel = \"trace\"\nformat = \"json\"\n"
    ));
    let running = Process::start(&folder.config(), &[]);
    let reason = "a\u{1b}[31m\r\nb";
    let killed = [
        "rollout",
        "kill",
        "--reason",
        reason,
        "--token",
        "canary-token-canary",
    ];
    assert_eq!(running.run(&killed).status.code(), Some(0));
    running.signal("INT");
    let log = String::from_utf8(running.end().await.stderr).unwrap();
    assert!(log.contains("rollout changed"));
    assert!(!log.contains("canary"), "{log}");
    for line in log.lines() {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(
            serde_json::from_str::<serde_json::Value>(line).is_ok(),
            "{line}"
        );
    }
}

#[test]
fn a_file_that_is_not_there_is_told_as_that() {
    let told = |path: &str| {
        let output = run(&["check", path]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        stderr(&output).to_owned()
    };
    assert_eq!(
        told("nosuch.toml"),
        "nosuch.toml:1:1: error: file: there is no such file; write it (proxy.toml.example has every key), or name another: \
         `crossfade check FILE`, `crossfade run --config FILE`\n"
    );
    assert_eq!(
        told("/"),
        "/:1:1: error: file: is a folder; name the file in it, such as `proxy.toml`\n"
    );
}

#[test]
fn a_command_that_there_is_elsewhere_is_named() {
    let output = run(&["reload"]);
    assert_eq!(output.status.code(), Some(2));
    let told = stderr(&output);
    assert!(
        told.contains("tip: did you mean `crossfade config reload`?"),
        "{told}"
    );
}

#[test]
fn changed_values_are_shown_without_defaults() {
    let folder = Folder::with_rollout("percent = 25");
    let running = Process::start(&folder.config(), &[]);
    let all = running.run(&["config", "show"]);
    assert!(stdout(&all).contains(" default\n"));
    let changed = running.run(&["config", "show", "--changed"]);
    let changed = stdout(&changed);
    assert!(!changed.contains(" default\n"), "{changed}");
    assert!(changed.contains("rollout.web.percent"), "{changed}");
    for line in [stdout(&all), changed].into_iter().flat_map(str::lines) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}
