//! Whole files: what loads, what is refused and with which words.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

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

const EXAMPLE: &str = include_str!("../../proxy.toml.example");

/// A world with two variables and two files.
pub(super) fn judge(text: &str) -> Result<Loaded, Vec<Problem>> {
    let env = |name: &str| match name {
        "PERCENT" => Some("12.5".to_owned()),
        "TOKEN" => Some("from-the-environment".to_owned()),
        _ => None,
    };
    let read = |path: &Path| match path.to_str() {
        Some("/run/secrets/token") => Ok("from-a-file\n".to_owned()),
        Some("/run/kill") => Ok("true\n".to_owned()),
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

fn value<'l>(loaded: &'l Loaded, key: &str) -> &'l Value {
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
        [Authority("127.0.0.1:5000".to_owned())]
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

#[test]
fn the_example_loads_without_a_word() {
    assert_eq!(told(&accepted(EXAMPLE).warnings), "");
}
