//! A public route whose backend does not answer for all: told once, with advice that works.

use serde_json::Value;

use crate::harness::{Backend, Folder, JSON, Message, Peer, Process, Socket, eventually, reply};

const ALARM: &str = "not for all of its clients";

/// Streams and documents for clients that show a cookie, and some that look private to all.
async fn answer(request: Message, mut peer: Peer) -> Option<Peer> {
    let is_known = request.field("cookie").is_some();
    let wires = match request.target() {
        path if path.starts_with("/wired") => "Set-Cookie: a=b\r\nCache-Control: private\r\n",
        _ if is_known => "",
        path if path.starts_with("/login") => {
            return reply(peer, "302 Found", "Location: /form\r\n", "").await;
        }
        _ => return reply(peer, "401 Unauthorized", "", "").await,
    };
    if request.field("accept") == Some("text/event-stream") {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
        peer.send(format!("{head}{wires}\r\ndata: [1]\n\n")).await;
        peer.rest().await;
        return None;
    }
    let fields = format!("Content-Type: application/json\r\n{wires}");
    reply(peer, "200 OK", &fields, "[1]").await
}

const PATHS: [&str; 6] = [
    "/feed",
    "/list",
    "/wired/feed",
    "/wired/list",
    "/login/feed",
    "/login/list",
];

fn text(backend: &Backend) -> String {
    let route = |path: &str| {
        let source = match path.ends_with("feed") {
            true => "{kind = \"sse\", join = \"window\"}",
            false => "{kind = \"poll\", every = \"50ms\"}",
        };
        format!(
            "[[route]]\nname = \"{path}\"\npath = \"{path}\"\nupstream = \"app\"\n\
             source = {source}\nshare = \"public\"\n"
        )
    };
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [log]\nformat = \"json\"\naccess = false\n[upstream.app]\nservers = [\"http://{}\"]\n{}",
        backend.address,
        PATHS.map(route).concat()
    )
}

async fn open(process: &Process, path: &str, more: &[&str]) -> Socket {
    let origin = format!("origin: {}", process.public);
    let fields = [&[origin.as_str(), "cookie: s=alice"], more].concat();
    let opened = Socket::open(&process.public, path, &fields).await;
    opened.unwrap_or_else(|answer| panic!("{path}: {}", answer.status()))
}

/// Of each alarm in the log its route, reason and fix.
fn alarms(process: &Process) -> Vec<[String; 3]> {
    let log = String::from_utf8(process.stderr()).unwrap();
    let lines = log.lines().filter(|line| line.contains(ALARM));
    let field = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .map(|line: Value| ["route", "reason", "fix"].map(|name| field(&line, name)))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_route_that_is_none_is_told_once_with_a_fix() {
    let backend = Backend::start(answer).await;
    let folder = Folder::with(&text(&backend));
    let process = Process::start(&folder.config(), &[]);
    for _ in 0..4 {
        for path in PATHS {
            let code = match path {
                "/feed" | "/list" => 4003,
                "/login/feed" | "/login/list" => 4001,
                _ => 4100,
            };
            for more in [&[][..], &[JSON]] {
                let mut socket = open(&process, path, more).await;
                assert_eq!(socket.closed().await, code, "{path}");
            }
        }
    }
    eventually("six alarms", async || alarms(&process).len() >= PATHS.len()).await;
    let mut told = alarms(&process);
    told.sort();
    let expected = [
        ("/feed", "401"),
        ("/list", "401"),
        ("/login/feed", "302"),
        ("/login/list", "302"),
        ("/wired/feed", "set-cookie"),
        ("/wired/list", "set-cookie"),
    ];
    let named: Vec<_> = told
        .iter()
        .map(|[route, reason, _]| (&**route, &**reason))
        .collect();
    assert_eq!(named, expected);
    // To the letter.
    let mut changed = folder.read();
    for [route, _, fix] in &told {
        let share = fix
            .split('`')
            .find(|part| part.starts_with("share = "))
            .expect(fix);
        let (before, after) = changed.split_once(&format!("path = \"{route}\"")).unwrap();
        let after = after.replacen("share = \"public\"", share, 1);
        changed = format!("{before}path = \"{route}\"{after}");
    }
    folder.write(&changed);
    process
        .line(&["configuration in force", "\"generation\":2"])
        .await;
    for path in PATHS {
        let mut socket = open(&process, path, &[]).await;
        assert_eq!(socket.text().await.as_deref(), Ok("[1]"), "{path}");
    }
    assert_eq!(alarms(&process).len(), PATHS.len());
}
