//! Whole files: what loads, what is refused and with which words.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

mod certificates;
mod edge;
mod example;
mod socketio;
mod union;

const SMALLEST: &str = r#"
[upstream.app]
servers = ["http://127.0.0.1:5000"]

[[route]]
path = "/api/progress_stream/{task_id}"
upstream = "app"
source = {kind = "sse", final = ["task_completed", "task_cancelled", "task_error"]}

[[route]]
path = "/{*path}"
upstream = "app"
"#;

/// Judges in an environment of two variables, two files, and certificates.
pub(super) fn judge(text: &str) -> Result<Loaded, Vec<Problem>> {
    let env = |name: &str| match name {
        "PERCENT" => Some("12.5".to_owned()),
        "TOKEN" => Some("from-the-environment".to_owned()),
        _ => None,
    };
    let read = |path: &Path| match path.to_str() {
        Some("/run/secrets/token") => Ok("from-a-file\n".to_owned()),
        Some("/run/kill") => Ok("true\n".to_owned()),
        Some(path) if path.starts_with("/etc/crossfade/") => certificates::file(path),
        _ => Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
    };
    parse(text, "proxy.toml", &env, &read)
}

fn told(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect()
}

fn accepted(text: &str) -> Loaded {
    judge(text).unwrap_or_else(|problems| panic!("{}", told(&problems)))
}

fn value<'l>(loaded: &'l Loaded, key: &str) -> &'l ConfigValue {
    let found = loaded.values.iter().find(|value| value.key == key);
    found.unwrap_or_else(|| panic!("{key}"))
}

#[test]
fn the_smallest_file_loads_with_the_documented_defaults() {
    let loaded = accepted(SMALLEST);
    assert_eq!(told(&loaded.warnings), "");
    let Config {
        server,
        websocket,
        admin,
        upstreams,
        routes,
        ..
    } = &loaded.config;
    assert_eq!(server.listen, [Listen::Tcp(([127, 0, 0, 1], 8080).into())]);
    assert_eq!(server.prefix, "/_crossfade");
    assert_eq!(server.drain_timeout, Duration::from_secs(25));
    assert_eq!(server.limits.header_bytes, 32 << 10);
    assert_eq!(server.limits.memory, 256 << 20);
    assert_eq!(
        websocket.queue,
        Queue {
            messages: 256,
            bytes: 1 << 20
        }
    );
    assert_eq!(admin.listen, Listen::Tcp(([127, 0, 0, 1], 9900).into()));
    assert_eq!(
        upstreams["app"].servers,
        [Authority {
            address: "127.0.0.1:5000".to_owned(),
            is_https: false,
        }]
    );
    let [bridged, rest] = &routes[..] else {
        panic!("two routes")
    };
    assert_eq!(&*bridged.name, "/api/progress_stream/{task_id}");
    assert_eq!(bridged.share, Share::User);
    assert_eq!(bridged.replay.age, Duration::from_secs(60));
    let Some(Source::Sse(sse)) = &bridged.source else {
        panic!("sse")
    };
    assert_eq!(
        sse.final_events,
        ["task_completed", "task_cancelled", "task_error"]
    );
    assert_eq!((rest.index, &rest.source), (1, &None));
}

/// A case is a file `NAME.toml` beside its expected `NAME.out`; `UPDATE_CASES=1` writes the latter.
#[test]
fn every_case_is_told_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/cases");
    let mut cases: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("cases")
        .map(|entry| entry.expect("a case").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    let mut wrong = String::new();
    for case in cases {
        let text = fs::read_to_string(&case).expect("a case");
        let told = match judge(&text) {
            Ok(loaded) => format!("{}accepted\n", told(&loaded.warnings)),
            Err(problems) => format!("{}refused\n", told(&problems)),
        };
        for secret in ["canary", "from-the-environment", "from-a-file"] {
            assert!(!told.contains(secret), "{}:\n{told}", case.display());
        }
        let expected = case.with_extension("out");
        if std::env::var_os("UPDATE_CASES").is_some() {
            fs::write(&expected, &told).expect("written");
        }
        if fs::read_to_string(&expected).ok().as_ref() != Some(&told) {
            wrong += &format!("{}:\n{told}\n", expected.display());
        }
    }
    assert!(
        wrong.is_empty(),
        "reported otherwise than expected:\n{wrong}"
    );
}

/// `route.3.path` → `route.N.path`, `rollout.web.percent` → `rollout.NAME.percent`.
pub(super) fn generic(key: &str) -> String {
    let named = ["auth", "cors", "rate_limit", "rollout", "upstream", "route"];
    let mut parts: Vec<_> = key.split('.').collect();
    if let [table, name, ..] = &mut parts[..]
        && named.contains(table)
    {
        *name = if *table == "route" { "N" } else { "NAME" };
    }
    if let ["socketio", rest @ ..] = &mut parts[..] {
        let numbered = rest.iter_mut().filter(|part| part.parse::<usize>().is_ok());
        numbered.for_each(|part| *part = "N");
    }
    parts.join(".")
}

#[test]
fn values_say_where_they_come_from() {
    let loaded = accepted(
        "[server]\nsecret = \"canary\"\nworkers = 4\n\
         [admin]\ntoken = \"${file:/run/secrets/token}\" # old: none\n\
         # token = \"canary\"\n\
         [upstream.app]\nservers = [\"http://${TOKEN}\"]\n\
         [rollout.web]\npercent = \"${PERCENT}\"\nkill = \"${file:/run/kill}\"\n\
         [[route]]\npath = \"/{*path}\"\nupstream = \"app\"\nsource = \"sse\"\nrollout = \"web\"\n",
    );
    let told = |key: &str| {
        let ConfigValue { value, source, .. } = value(&loaded, key);
        format!("{value} {source}")
    };
    assert_eq!(told("server.workers"), "4 file:3:11");
    assert_eq!(told("server.secret"), "\"***\" file:2:10");
    assert_eq!(
        told("admin.token"),
        "\"***\" secret-file:/run/secrets/token"
    );
    assert_eq!(
        told("upstream.app.servers"),
        "[\"http://from-the-environment\"] env:TOKEN"
    );
    assert_eq!(told("rollout.web.percent"), "12.5 env:PERCENT");
    assert_eq!(told("rollout.web.kill"), "true secret-file:/run/kill");
    assert_eq!(told("rollout.web.drain"), "\"30s\" default");
    assert_eq!(
        told(
            "server.connections_per_ip"
                .replace("server", "server.limits")
                .as_str()
        ),
        "null default"
    );
    assert_eq!(told("route.0.source.idle_timeout"), "\"60s\" default");

    let rollout = &loaded.config.rollouts["web"];
    assert_eq!((rollout.percent, rollout.kill), (12_500, true));
    let token = loaded.config.admin.token.as_ref().expect("a token");
    assert_eq!(token.0, "from-a-file");

    assert!(!loaded.text.contains("canary"), "{}", loaded.text);
    assert!(
        loaded.text.contains("secret = \"***\"\nworkers = 4"),
        "{}",
        loaded.text
    );
    assert!(
        loaded
            .text
            .contains("token = \"${file:/run/secrets/token}\""),
        "{}",
        loaded.text
    );
    assert!(
        loaded.text.contains("# token = \"***\"\n[upstream"),
        "{}",
        loaded.text
    );
    let shown = format!("{:?}", loaded.config);
    assert!(
        !shown.contains("canary") && !shown.contains("from-a-file"),
        "{shown}"
    );
}

#[test]
fn systemd_may_name_the_state_directory() {
    let env = |name: &str| (name == "STATE_DIRECTORY").then(|| "/var/lib/a:/var/lib/b".to_owned());
    let read = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let loaded = |text: &str| parse(text, "proxy.toml", &env, &read).expect("valid");
    let given = loaded(SMALLEST);
    assert_eq!(given.config.server.state_dir, Some("/var/lib/a".into()));
    assert_eq!(
        value(&given, "server.state_dir").source,
        "env:STATE_DIRECTORY"
    );
    let own = loaded(&format!("server.state_dir = \"/own\"\n{SMALLEST}"));
    assert_eq!(own.config.server.state_dir, Some("/own".into()));
}

#[test]
fn nesting_without_end_is_refused_and_no_more() {
    for text in [
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{a=".repeat(100_000)),
        format!("{} = 1", vec!["a"; 100_000].join(".")),
        format!("[{}]", vec!["a"; 100_000].join(".")),
        "[[a]]\n".repeat(20_000),
        "x = ]\n".repeat(20_000),
    ] {
        assert!(judge(&text).is_err());
    }
}

#[test]
fn a_restart_is_needed_for_few_keys() {
    let with = |head: &str| accepted(&format!("{head}\n{SMALLEST}")).config;
    let old = with("");
    let new = with(
        "[server]\nlisten = [\"127.0.0.1:1\"]\nprefix = \"/x\"\nworkers = 1\nstate_dir = \"/s\"\n\
         drain_timeout = \"1s\"\n[admin]\nlisten = \"127.0.0.1:2\"\ntoken = \"t\"\n",
    );
    assert_eq!(old.restart_keys_changed(&old), [""; 0]);
    let keys = [
        "server.listen",
        "server.prefix",
        "server.workers",
        "server.state_dir",
        "admin.listen",
    ];
    assert_eq!(old.restart_keys_changed(&new), keys);
}

#[test]
fn what_is_read_stays_the_same_under_another_pace() {
    let reads = |source: &str, rest: &str| {
        let text = format!(
            "[upstream.app]\nservers = [\"http://a\"]\n[[route]]\npath = \"/a\"\nupstream = \"app\"\n\
             source = {{kind = \"poll\", {source}}}\n{rest}"
        );
        accepted(&text).config.routes[0].reads()
    };
    let plain = reads("every = \"1s\"", "");
    assert_eq!(
        plain,
        reads(
            "every = \"2s\", jitter = 0, max_body = \"1MiB\"",
            "slow = \"gap\""
        )
    );
    assert_eq!(
        plain,
        reads(
            "mass_delete_guard = 100",
            "replay = {events = 5}\ncalls = [\"POST\"]"
        )
    );
    for (source, rest) in [
        ("emit = \"changes\"", ""),
        ("ignore = [\"/at\"]", ""),
        ("method = \"POST\"", ""),
        ("method = \"POST\", body = {a = 1}", ""),
        ("", "share = \"public\""),
        ("", "vary = [\"accept-language\"]"),
    ] {
        assert_ne!(plain, reads(source, rest), "{source} {rest}");
    }
}

#[test]
fn routes_with_the_same_path_are_told_apart_by_name() {
    let names = |routes: &[Arc<Route>]| -> Vec<String> {
        routes.iter().map(|route| route.name.to_string()).collect()
    };
    let route = |rest: &str| format!("[[route]]\npath = \"/a\"\nupstream = \"app\"\n{rest}\n");
    let upstream = "[upstream.app]\nservers = [\"http://a\"]\n".to_owned();
    let loaded = accepted(
        &(upstream
            + &route("")
            + &route("methods = [\"PUT\", \"POST\"]")
            + &route("host = \"b.test\"")
            + &route("host = \"c.test\"\nmethods = [\"PUT\"]\nname = \"mine\"")),
    );
    assert_eq!(
        names(&loaded.config.routes),
        ["/a", "PUT,POST /a", "b.test/a", "mine"]
    );
}

#[test]
fn a_report_is_what_check_prints_as_json() {
    let refused = report(&judge("x = 1\n"));
    assert_eq!(refused["ok"], false);
    let [_, unknown] = &refused["problems"].as_array().expect("a list")[..] else {
        panic!("{refused}")
    };
    assert_eq!(unknown["severity"], "error");
    assert_eq!(
        (&unknown["line"], &unknown["column"]),
        (&1.into(), &1.into())
    );
    let keys: Vec<_> = unknown.as_object().expect("an object").keys().collect();
    assert_eq!(
        keys,
        [
            "severity", "file", "line", "column", "key", "message", "hint"
        ]
    );
    assert_eq!(
        report(&judge(SMALLEST)),
        serde_json::json!({"ok": true, "problems": []})
    );
}

#[test]
fn columns_count_characters() {
    let Err(problems) = judge("\u{feff}# ü\r\n[server]\r\nprefix = \"/ü\"\r\n\"ü\" = 1\r\n")
    else {
        panic!("refused")
    };
    let places: Vec<_> = problems
        .iter()
        .map(|p| (p.line, p.column, p.key.as_str()))
        .collect();
    assert_eq!(places, [(3, 10, "server.prefix"), (4, 1, "server.ü")]);
}
