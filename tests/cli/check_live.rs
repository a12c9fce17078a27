//! `crossfade check --live`: whether what runs is what the file takes it for.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::harness::{Folder, JSON as SUBPROTOCOL, Socket, folder::listeners};

const JSON: &str = "application/json";
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"a",
"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

/// A backend that answers each path in its own way, and lives as long as the test process.
fn backend(answer: fn(&str, &str) -> String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || serve(stream, answer));
        }
    });
    address
}

fn serve(mut stream: TcpStream, answer: fn(&str, &str) -> String) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap();
    // Whoever asked may be gone.
    let _ = stream.write_all(answer(path, &head).as_bytes());
}

fn says(status: u16, content_type: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nConnection: close\r\n{more}Content-Length: {length}\r\n\r\n{body}"
    )
}

fn date(ahead: u64) -> String {
    let date = SystemTime::now() + Duration::from_secs(ahead);
    format!("Date: {}\r\n", httpdate::fmt_http_date(date))
}

fn check(folder: &Folder, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_crossfade"))
        .arg("check")
        .arg(folder.config())
        .args(more)
        .output()
        .unwrap()
}

fn file(app: &str, more: &str) -> String {
    format!(
        r#"[upstream.app]
servers = ["http://{app}"]
health = {{path = "/healthz", interval = "5s"}}
{more}
[[route]]
path = "/{{*rest}}"
upstream = "app"
"#
    )
}

#[test]
fn what_runs_as_the_file_says_is_valid() {
    let app = backend(|path, head| {
        assert!(!head.to_lowercase().contains("cookie"), "{head}");
        match path {
            "/me" => says(401, JSON, "", "{}"),
            "/keys" => says(200, JSON, &date(0), KEYS),
            _ => says(200, JSON, &date(0), "{}"),
        }
    });
    let more = format!(
        r#"
[auth.session]
kind = "forward"
upstream = "app"
path = "/me"
user = "user"
[auth.token]
kind = "jwt"
issuer = "i"
audience = "a"
jwks_url = "http://{app}/keys"
[cors.default]
origins = ["https://app.example.com"]
"#
    );
    let folder = Folder::with(&file(&app, &more));
    let checked = check(&folder, &["--live"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let out = String::from_utf8(checked.stdout).unwrap();
    assert!(out.ends_with(": valid, and all of it answers\n"), "{out}");
    let errors = String::from_utf8(checked.stderr).unwrap();
    assert!(!errors.contains("path"), "{errors}");
}

#[test]
fn first_events_are_reported_with_what_join_makes_of_them() {
    const STREAM: &str = "text/event-stream";
    let app = backend(|path, _| match path {
        "/ids" => says(200, STREAM, "", "id: 1\ndata: a\n\nid: 2\ndata: b\n\n"),
        "/plain" => says(200, STREAM, "", "data: a\n\n"),
        "/quiet" => says(200, STREAM, "", ""),
        "/page" => says(200, "text/html", "", "<p>"),
        "/own" | "/of/{id}" => panic!("{path} is not for every client"),
        _ => says(200, JSON, &date(0), "{}"),
    });
    let route = |path: &str, share: &str| {
        format!(
            "[[route]]\npath = \"{path}\"\nupstream = \"app\"\nsource = \"sse\"\nshare = \"{share}\"\n"
        )
    };
    let public =
        ["/ids", "/plain", "/quiet", "/page", "/of/{id}"].map(|path| route(path, "public"));
    let folder = Folder::with(&file(&app, &(public.concat() + &route("/own", "user"))));
    let checked = check(&folder, &["--live"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let told = String::from_utf8(checked.stderr).unwrap();
    for expected in [
        "route.0.source: /ids sends 2 events at the beginning, with ids: `join = \"auto\"` gives newcomers a request",
        "route.1.source: /plain sends 1 events at the beginning, without ids: `join = \"auto\"` gives newcomers what the topic holds",
        "route.2.source: /quiet sends 0 events at the beginning: `join = \"auto\"` gives newcomers what comes from now on",
        "route.3.source: /page: nothing is known of the stream's beginning: it answers 200 and no event stream",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    assert!(!told.contains("/own") && !told.contains("/of/"), "{told}");
}

#[test]
fn a_public_source_is_asked_without_credentials() {
    const STREAM: &str = "text/event-stream";
    let app = backend(|path, head| {
        let lower = head.to_lowercase();
        assert!(!lower.contains("cookie") && !lower.contains("authorization"));
        match path {
            "/stream" => says(401, STREAM, "", ""),
            "/list" => says(403, JSON, "", "{}"),
            "/guarded" => says(401, JSON, "", "{}"),
            "/wired" => says(
                200,
                JSON,
                "Vary: Cookie\r\nCache-Control: no-store\r\n",
                "[]",
            ),
            "/accepted" => says(200, JSON, "Vary: Cookie\r\n", "[]"),
            "/login" => says(303, JSON, "Location: /form\r\n", ""),
            "/gone" => says(404, JSON, "", ""),
            "/busy" => says(500, STREAM, "", ""),
            "/html" => says(200, "text/html", "", "<p>"),
            "/post" if head.starts_with("POST ") => says(200, JSON, "", "[]"),
            "/healthz" | "/" => says(200, JSON, &date(0), "{}"),
            _ => says(418, JSON, "", ""),
        }
    });
    let route = |path: &str, source: &str, more: &str| {
        format!("[[route]]\npath = \"{path}\"\nupstream = \"app\"\nsource = {source}\n{more}\n")
    };
    let (sse, poll, public) = ("\"sse\"", "\"poll\"", "share = \"public\"");
    let auth = "[auth.key]\nkind = \"api_key\"\nfile = \"keys\"\n";
    let accepting = "share = {public = true, accept = [\"vary\"]}";
    let routes = [
        route("/stream", sse, public),
        route("/list", poll, public),
        route("/guarded", poll, "share = \"public\"\nauth = \"key\""),
        route("/wired", poll, public),
        route("/accepted", poll, accepting),
        route("/login", poll, public),
        route("/gone", poll, public),
        route("/busy", sse, public),
        route("/html", poll, public),
        route(
            "/post",
            "{kind = \"poll\", method = \"POST\", body = \"{}\"}",
            public,
        ),
        route("/own", poll, ""),
    ];
    let text = file(&app, &(routes.concat() + auth));
    let folder = Folder::with(&text);
    std::fs::write(folder.0.path().join("keys"), "").unwrap();
    let checked = check(&folder, &["--live"]);
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    let told = String::from_utf8(checked.stderr).unwrap();
    let user = "write `share = \"user\"` in this route";
    let accept = "`share = {public = true, accept = [\"no-store\", \"vary\"]}`";
    for (place, said, fix) in [
        ("error: route.0.share: /stream", "answers 401", user),
        ("error: route.1.share: /list", "answers 403", user),
        (
            "error: route.2.share: /guarded",
            "`forbidden`",
            "`share = \"authenticated\"`",
        ),
        ("error: route.3.share: /wired", "by `no-store`", accept),
        ("error: route.5.share: /login", "answers 303", user),
        ("warning: route.6.source: /gone", "answers 404", ""),
        ("warning: route.7.source: /busy", "answers 500", ""),
        ("warning: route.8.source: /html", "no JSON document", ""),
    ] {
        let is_it = |line: &&str| line.contains(place) && line.contains(said);
        let line = told.lines().find(is_it);
        let line = line.unwrap_or_else(|| panic!("{place} {said}\n{told}"));
        assert!(line.contains(fix), "{line}");
    }
    for fine in ["/accepted", "/post", "/own"] {
        assert!(!told.contains(fine), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_one_parameter_splits_are_told_of() {
    let app = backend(|_, _| says(200, JSON, &date(0), "[]"));
    let route = |path: &str| {
        format!(
            "[[route]]\nname = \"{path}\"\npath = \"/api/{path}\"\nupstream = \"app\"\n\
             source = {{kind = \"poll\", every = \"10m\"}}\nshare = \"public\"\n"
        )
    };
    let routes = ["list", "pages", "one"].map(route).concat();
    let folder = Folder::with(&format!("{}{}", listeners(""), file(&app, &routes)));
    let house = folder.start().await;
    let mut kept = Vec::new();
    for n in 1..=3 {
        for path in [
            format!("list?a=b&_={n}"),
            // Two parameters differ.
            format!("pages?page={n}&_={n}"),
            "one?_=1".to_owned(),
        ] {
            let origin = format!("origin: {}", house.public[0]);
            let path = format!("/api/{path}");
            let opened = Socket::open(&house.public[0], &path, &[&origin, SUBPROTOCOL]).await;
            let mut socket = opened.unwrap_or_else(|answer| panic!("{}", answer.status()));
            socket.frame("snap").await;
            kept.push(socket);
        }
    }
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crossfade"));
        command.args(arguments).env("CROSSFADE_ADMIN", &house.admin);
        let ended = command.output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        [ended.stdout, ended.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let [listed, _] = run(&["topics", "list"]);
    let hints: Vec<_> = listed
        .lines()
        .filter(|line| line.starts_with("hint"))
        .collect();
    assert_eq!(
        hints,
        [
            "hint: 3 topics of list differ in the parameter `_` only: where it changes nothing of the answer, \
          write `ignore_query = [\"_\"]` in that route"
        ]
    );
    let config = folder.config();
    let [_, told] = run(&["check", config.to_str().unwrap(), "--live"]);
    let told: Vec<_> = told
        .lines()
        .filter(|line| line.contains("differ"))
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let expected =
        "warning: route.0.ignore_query: 3 topics of this route differ in the parameter `_` only";
    assert!(told[0].contains(expected), "{told:?}");
}

#[test]
fn what_runs_otherwise_is_told_at_the_key_that_it_belongs_to() {
    let app = backend(|path, _| match path {
        "/healthz" => says(500, JSON, &date(45), ""),
        "/open" => says(200, JSON, "", r#"{"user":"secret-name"}"#),
        "/page" => says(200, "text/html", "", "<form>"),
        "/login" => says(302, "text/html", "Location: /form\r\n", ""),
        "/none" => says(200, JSON, "", r#"{"user":null}"#),
        "/broken" => says(500, JSON, "", ""),
        "/keys/page" => says(200, "text/html", "", "<html>"),
        "/keys/empty" => says(200, JSON, "", r#"{"keys":[]}"#),
        "/keys/gone" => says(410, JSON, "", ""),
        "/" => says(200, JSON, "Access-Control-Allow-Origin: *\r\n", ""),
        "/plain" => says(200, JSON, "", ""),
        _ => says(404, JSON, "", ""),
    });
    let mut more = String::from("[upstream.away]\nservers = [\"http://127.0.0.1:9\"]\n");
    for path in ["open", "page", "login", "none", "broken", "lost"] {
        more.push_str(&format!(
            "[auth.{path}]\nkind = \"forward\"\nupstream = \"app\"\npath = \"/{path}\"\nuser = \"user\"\n"
        ));
    }
    more.push_str(
        "[auth.away]\nkind = \"forward\"\nupstream = \"away\"\npath = \"/me\"\nuser = \"user\"\n",
    );
    for path in ["page", "empty", "gone"] {
        more.push_str(&format!(
            "[auth.k{path}]\nkind = \"jwt\"\nissuer = \"i\"\naudience = \"a\"\njwks_url = \"http://{app}/keys/{path}\"\n"
        ));
    }
    more.push_str(
        r#"[cors.default]
origins = ["https://*.example.com"]
[cors.own]
origins = ["https://app.example.com"]
mode = "passthrough"
[[route]]
path = "/plain"
upstream = "app"
cors = "own"
"#,
    );
    let folder = Folder::with(&file(&app, &more));
    let checked = check(&folder, &["--live"]);
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    let told = String::from_utf8(checked.stderr).unwrap();
    assert!(!told.contains("secret-name"), "{told}");
    let config = folder.config();
    for (place, said) in [
        (
            "2:11: error: upstream.app.servers: ",
            "s ahead of this machine's",
        ),
        (
            "3:18: error: upstream.app.health.path: ",
            "answers 500 there",
        ),
        (
            "5:11: error: upstream.away.servers: ",
            "http://127.0.0.1:9 cannot be reached: ",
        ),
        (
            " error: auth.open.path: ",
            "names a user to a request without credentials",
        ),
        (" warning: auth.page.path: ", "HTML page"),
        (" warning: auth.login.path: ", "answers 302"),
        (" warning: auth.none.path: ", "no user at `user`"),
        (" error: auth.broken.path: ", "it answered 500"),
        (" error: auth.lost.path: ", "it answered 404"),
        (" error: auth.away.path: ", "cannot be asked: "),
        (" error: auth.kpage.jwks_url: ", "but a page"),
        (" error: auth.kempty.jwks_url: ", "it holds no keys"),
        (" error: auth.kgone.jwks_url: ", "it answers 410"),
        (
            " warning: cors.default.origins: ",
            "access-control-allow-origin of its own",
        ),
        (
            " warning: cors.own.origins: ",
            "allows nothing to https://app.example.com",
        ),
    ] {
        let is_it = |line: &&str| line.contains(place) && line.contains(said);
        let line = told.lines().find(is_it);
        let line = line.unwrap_or_else(|| panic!("{place}{said}\n{told}"));
        assert!(
            line.starts_with(&format!("{}:", config.display())),
            "{line}"
        );
        assert!(line.contains("; "), "no mend: {line}");
        assert!(!line.contains(":1:1:"), "no place: {line}");
    }

    let json = check(&folder, &["--live", "--json"]);
    assert_eq!(json.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(report["ok"], false);
    let lines = told.lines().count();
    assert_eq!(
        report["problems"].as_array().unwrap().len(),
        lines,
        "{told}"
    );
    assert_eq!(
        check(&folder, &[]).status.code(),
        Some(0),
        "the file is valid"
    );
}
