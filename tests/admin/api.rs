//! The admin API from its letter: who may come in, what each path answers, how it says no.

use serde_json::json;

use crate::harness::{
    Folder,
    admin::{Answer, ask, get, post},
    folder::{ROUTES, listeners},
};

fn keys(value: &serde_json::Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.json["status"], status);
    assert_eq!(answer.json["code"], code, "{answer:?}");
    assert_eq!(answer.json["type"], format!("urn:crossfade:{code}"));
    assert_eq!(answer.json["side"], "edge");
    assert!(answer.json["title"].is_string() && answer.json["detail"].is_string());
    assert_eq!(answer.json["request_id"], answer.header("x-request-id"));
}

#[tokio::test]
async fn three_paths_are_open_and_the_rest_needs_token_and_host() {
    let text = listeners("").replace(
        "[admin]",
        "[admin]\ntoken = \"0123456789abcdef\"\nhosts = [\"ops.example.com\"]",
    );
    let folder = Folder::with(&format!(
        "{text}{}",
        ROUTES.replace("rollout = \"web\"", "")
    ));
    let house = folder.start().await;
    let admin = &house.admin;

    for path in ["/livez", "/readyz", "/metrics"] {
        let answer = ask(admin, "GET", path, &["Host: evil.test"], "").await;
        assert_eq!(answer.status, 200, "{path}");
    }
    assert_eq!(get(admin, "/livez").await.text, "ok");

    let token = "Authorization: Bearer 0123456789abcdef";
    for path in [
        "/v1/health",
        "/v1/config",
        "/v1/rollouts",
        "/v1/sessions",
        "/v1/topics",
        "/v1/explain?path=/",
        "/v1/openapi.json",
        "/nowhere",
        "/",
    ] {
        let foreign = ask(admin, "GET", path, &[token, "Host: evil.test"], "").await;
        assert_problem(&foreign, 421, "misdirected");
        let anonymous = get(admin, path).await;
        assert_problem(&anonymous, 401, "unauthorized");
        assert!(anonymous.header("www-authenticate").starts_with("Bearer"));
        let wrong = ask(
            admin,
            "GET",
            path,
            &["Authorization: Bearer 0123456789abcdee"],
            "",
        )
        .await;
        assert_problem(&wrong, 401, "unauthorized");
        let page = ask(admin, "GET", path, &[token, "Origin: http://evil.test"], "").await;
        assert_problem(&page, 403, "forbidden");
    }
    for host in [
        "Host: ops.example.com:1",
        "Host: LOCALHOST",
        "Host: [::1]:9900",
    ] {
        let answer = ask(admin, "GET", "/v1/rollouts", &[token, host], "").await;
        assert_eq!(answer.status, 200, "{host}");
    }
}

#[tokio::test]
async fn nothing_with_an_effect_is_a_get() {
    let folder = Folder::with_rollout("percent = 25");
    let house = folder.start().await;
    for (method, path, allowed) in [
        ("GET", "/v1/rollouts/web/kill", "POST"),
        ("GET", "/v1/rollouts/web/resume", "POST"),
        ("GET", "/v1/sessions/close", "POST"),
        ("GET", "/v1/sessions/notify", "POST"),
        ("GET", "/v1/drain", "POST, DELETE"),
        ("GET", "/v1/config/reload", "POST"),
        ("GET", "/v1/config/undo", "POST"),
        ("POST", "/v1/config", "GET, HEAD, PUT"),
        ("DELETE", "/v1/rollouts", "GET, HEAD"),
        ("PUT", "/v1/rollouts/web", "GET, HEAD, PATCH"),
        ("POST", "/livez", "GET, HEAD"),
    ] {
        let answer = ask(&house.admin, method, path, &[], "").await;
        assert_problem(&answer, 405, "method_not_allowed");
        assert_eq!(answer.header("allow"), allowed, "{method} {path}");
    }
    for path in ["/", "/v1/maintenance", "/v1/rollouts/other"] {
        assert_problem(&get(&house.admin, path).await, 404, "not_found");
    }
    let rollouts = get(&house.admin, "/v1/rollouts").await.json;
    assert_eq!(rollouts["rollouts"][0]["generation"], 1);
}

#[tokio::test]
async fn the_dial_over_the_api() {
    let folder = Folder::with_rollout("percent = 25");
    let house = folder.start().await;
    let admin = &house.admin;

    let list = get(admin, "/v1/rollouts").await;
    let rollout = &list.json["rollouts"][0];
    assert_eq!(
        keys(rollout),
        [
            "name",
            "percent",
            "effective_percent",
            "state",
            "source",
            "by",
            "salt",
            "routes",
            "namespaces",
            "sessions",
            "durable",
            "generation",
            "changed_at",
        ]
    );
    assert_eq!(
        rollout["changed_at"].as_str().unwrap().len(),
        "2026-11-21T05:00:00Z".len()
    );
    let mut rest = rollout.clone();
    rest.as_object_mut().unwrap().remove("changed_at");
    assert_eq!(
        rest,
        json!({
            "name": "web", "percent": 25, "effective_percent": 25, "state": "running", "source": "config",
            "by": "user", "salt": "web", "routes": ["feed"], "namespaces": [], "sessions": 0, "durable": true, "generation": 1,
        })
    );

    let set = ask(
        admin,
        "PATCH",
        "/v1/rollouts/web",
        &[],
        r#"{"percent":12.345}"#,
    )
    .await;
    assert_eq!((set.status, set.header("etag")), (200, "\"2\""));
    assert_eq!(set.json["percent"], 12.345);
    assert_eq!(set.json["source"], "admin");

    let killed = post(admin, "/v1/rollouts/web/kill", r#"{"reason":"twice"}"#).await;
    assert_eq!(killed.status, 200);
    assert_eq!(killed.json["state"], "killed");
    assert_eq!(killed.json["effective_percent"], 0);
    assert_eq!(killed.json["percent"], 12.345);
    let again = post(admin, "/v1/rollouts/web/kill", "").await;
    assert_eq!((again.status, &again.json), (200, &killed.json));

    let patched = r#"{"percent":50,"paused":true}"#;
    let patched = ask(admin, "PATCH", "/v1/rollouts/web", &[], patched).await;
    assert_eq!(patched.status, 200);
    assert_eq!(patched.json["state"], "killed");
    let resumed = post(admin, "/v1/rollouts/web/resume", "").await;
    assert_eq!(resumed.json["state"], "running");
    assert_eq!(resumed.json["effective_percent"], 50);

    let history = get(admin, "/v1/rollouts/web/history").await.json;
    let entries = history["entries"].as_array().unwrap();
    assert!(
        entries
            .iter()
            .all(|e| keys(e) == ["at", "by", "action", "from", "to", "why"])
    );
    let actions: Vec<&str> = entries
        .iter()
        .map(|e| e["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["start", "set", "kill", "set", "pause", "resume"]);
    assert_eq!(entries[2]["why"], "twice");
}

#[tokio::test]
async fn what_a_change_may_not_say() {
    let folder = Folder::with_rollout("percent = 25");
    let house = folder.start().await;
    let patch = |body: &'static str| ask(&house.admin, "PATCH", "/v1/rollouts/web", &[], body);
    for body in [
        r#"{"percent":101}"#,
        r#"{"percent":-1}"#,
        r#"{"percent":1.2345}"#,
        r#"{"percent":"50"}"#,
        r#"{"percent":50,"percentage":50}"#,
        r#"{"paused":"yes"}"#,
        r#"{"salt":"x"}"#,
        "{}",
        "[]",
        "50",
    ] {
        assert_problem(&patch(body).await, 422, "invalid");
    }
    for body in ["", "{", "percent=50"] {
        assert_problem(&patch(body).await, 400, "bad_request");
    }
    for (path, body) in [
        ("/v1/rollouts/web/kill", r#"{"why":"x"}"#),
        ("/v1/rollouts/web/resume", r#"{"percent":1}"#),
        ("/v1/drain", r#"{"window":"soon"}"#),
        ("/v1/drain", r#"{"windows":"1s"}"#),
        ("/v1/sessions/close", "{}"),
        ("/v1/sessions/close", r#"{"all":true,"user":"u"}"#),
        ("/v1/sessions/close", r#"{"all":false}"#),
        ("/v1/sessions/close", r#"{"all":true,"code":1006}"#),
        ("/v1/sessions/notify", r#"{"level":"info"}"#),
        ("/v1/sessions/notify", r#"{"msg":"x","level":"loud"}"#),
        ("/v1/sessions/notify", r#"{"msg":"x","to":"y"}"#),
    ] {
        let answer = post(&house.admin, path, body).await;
        assert_problem(&answer, 422, "invalid");
    }
    for path in [
        "/v1/sessions?limit=0",
        "/v1/sessions?limit=many",
        "/v1/sessions?page=2",
        "/v1/explain",
        "/v1/explain?path=x",
        "/v1/explain?path=/&who=me",
    ] {
        assert_problem(&get(&house.admin, path).await, 422, "invalid");
    }
    let rollouts = get(&house.admin, "/v1/rollouts").await.json;
    assert_eq!(rollouts["rollouts"][0]["generation"], 1);
    assert_eq!(get(&house.admin, "/readyz").await.status, 200);
}

#[tokio::test]
async fn of_two_writers_the_second_is_told_so() {
    let folder = Folder::with_rollout("percent = 25");
    let house = folder.start().await;
    let admin = &house.admin;
    let path = "/v1/rollouts/web";
    let seen = get(admin, path).await;
    assert_eq!(seen.header("etag"), "\"1\"");
    let mine = ask(
        admin,
        "PATCH",
        path,
        &["If-Match: \"1\""],
        r#"{"percent":30}"#,
    )
    .await;
    assert_eq!(mine.status, 200);
    let yours = ask(
        admin,
        "PATCH",
        path,
        &["If-Match: \"1\""],
        r#"{"percent":40}"#,
    )
    .await;
    assert_problem(&yours, 412, "precondition_failed");
    assert_eq!(yours.header("etag"), "\"2\"");
    for tag in ["If-Match: \"x\"", "If-Match: W/\"2\""] {
        let odd = ask(admin, "POST", "/v1/rollouts/web/kill", &[tag], "").await;
        assert_problem(&odd, 412, "precondition_failed");
    }
    let any = ask(admin, "PATCH", path, &["If-Match: *"], r#"{"percent":40}"#).await;
    assert_eq!(any.json["percent"], 40);
}

#[tokio::test]
async fn the_configuration_over_the_api() {
    let folder = Folder::with_rollout("percent = 25");
    let house = folder.start().await;
    let admin = &house.admin;
    let canary = "canary-canary-canary-canary-canary";
    let secret = folder
        .read()
        .replace("[server]", &format!("[server]\nsecret = \"{canary}\""));

    let blind = ask(admin, "PUT", "/v1/config", &[], &secret).await;
    assert_problem(&blind, 428, "precondition_required");
    let stale = ask(admin, "PUT", "/v1/config", &["If-Match: \"7\""], &secret).await;
    assert_problem(&stale, 412, "precondition_failed");
    let broken = "[server]\nbogus = 1\n";
    let broken = ask(admin, "PUT", "/v1/config", &["If-Match: \"1\""], broken).await;
    assert_problem(&broken, 422, "invalid_config");
    let problem = &broken.json["problems"][0];
    assert_eq!(
        keys(problem),
        [
            "severity", "file", "line", "column", "key", "message", "hint"
        ]
    );
    assert!(!folder.read().contains("bogus"));

    let moved = secret.replace("[server]", "[server]\nprefix = \"/elsewhere\"");
    let restart = ask(admin, "PUT", "/v1/config", &["If-Match: \"1\""], &moved).await;
    assert_problem(&restart, 409, "restart_required");
    assert_eq!(restart.json["keys"], json!(["server.prefix"]));
    assert!(!folder.read().contains("elsewhere"));

    let put = ask(admin, "PUT", "/v1/config", &["If-Match: \"1\""], &secret).await;
    assert_eq!((put.status, put.header("etag")), (200, "\"2\""));
    assert_eq!(
        put.json,
        json!({
            "generation": 2, "changed": true, "routes": {"added": [], "removed": [], "changed": []}, "closed": 0,
        })
    );
    assert_eq!(folder.read(), secret);

    let shown = get(admin, "/v1/config").await;
    assert_eq!(shown.header("etag"), "\"2\"");
    assert_eq!(
        keys(&shown.json),
        ["generation", "file", "loaded_at", "toml", "values"]
    );
    assert!(!shown.text.contains("canary"), "{}", shown.text);
    let values = shown.json["values"].as_array().unwrap();
    let percent = values
        .iter()
        .find(|v| v["key"] == "rollout.web.percent")
        .unwrap();
    assert_eq!(keys(percent), ["key", "value", "source"]);
    assert_eq!(percent["value"], 25);
    assert!(percent["source"].as_str().unwrap().starts_with("file:"));

    let undone = post(admin, "/v1/config/undo", "").await;
    assert_eq!(
        (undone.status, &undone.json["generation"]),
        (200, &json!(3))
    );
    assert!(!folder.read().contains("canary"));
    let nothing = post(admin, "/v1/config/undo", "").await;
    assert_problem(&nothing, 409, "nothing_to_undo");

    for path in ["/v1/config/reload", "/v1/config/undo"] {
        let odd = post(admin, path, r#"{"dry_run":true}"#).await;
        assert_problem(&odd, 422, "invalid");
    }
    let same = post(admin, "/v1/config/reload", "{}").await;
    assert_eq!(same.json["changed"], false);
    assert_eq!(same.json["generation"], 3);
    let history = get(admin, "/v1/config/history").await.json;
    let entries = history["entries"].as_array().unwrap();
    let told: Vec<_> = entries
        .iter()
        .map(|e| {
            (
                e["generation"].as_u64().unwrap(),
                e["trigger"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(told, [(1, "start"), (2, "api"), (3, "undo")]);
    assert_eq!(entries[0]["sha256"], entries[2]["sha256"]);
    assert_ne!(entries[0]["sha256"], entries[1]["sha256"]);
}

#[tokio::test]
async fn no_writer_of_the_configuration_overwrites_another_one() {
    let folder = Folder::with_rollout("percent = 0");
    let house = folder.start().await;
    let admin = &house.admin;
    let tries = 8;
    // Each writer adds one to what it read, and tries until it was not overtaken.
    let writer = async || {
        for _ in 0..tries {
            loop {
                let seen = get(admin, "/v1/config").await;
                let toml = seen.json["toml"].as_str().unwrap();
                let (head, rest) = toml.split_once("percent = ").unwrap();
                let (number, tail) = rest.split_once('\n').unwrap();
                let next = number.parse::<u32>().unwrap() + 1;
                let text = format!("{head}percent = {next}\n{tail}");
                let tag = format!("If-Match: {}", seen.header("etag"));
                match ask(admin, "PUT", "/v1/config", &[&tag], &text).await.status {
                    200 => break,
                    412 => {}
                    other => panic!("{other}"),
                }
            }
        }
    };
    tokio::join!(writer(), writer(), writer(), writer());
    assert!(
        folder
            .read()
            .contains(&format!("percent = {}\n", 4 * tries))
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_read_only() {
    let folder = Folder::with_rollout("percent = 25");
    let house = folder.start().await;
    // Nobody, not even root, can put a file where a folder with content is.
    let text = folder.read();
    let away = folder.0.path().join("away");
    std::fs::rename(folder.config(), &away).unwrap();
    std::fs::create_dir(folder.config()).unwrap();
    std::fs::write(folder.config().join("x"), "").unwrap();
    let other = text.replace("percent = 25", "percent = 26");
    let put = ask(&house.admin, "PUT", "/v1/config", &["If-Match: *"], &other).await;
    assert_problem(&put, 409, "read_only");
    let put = ask(
        &house.admin,
        "PUT",
        "/v1/config",
        &["If-Match: \"1\""],
        &other,
    )
    .await;
    assert_problem(&put, 409, "read_only");
    assert_eq!(get(&house.admin, "/v1/config").await.json["generation"], 1);
    let rollouts = get(&house.admin, "/v1/rollouts").await.json;
    assert_eq!(rollouts["rollouts"][0]["percent"], 25);
}

#[tokio::test]
async fn a_file_keeps_its_owner_and_its_mode() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

    let folder = Folder::with_rollout("percent = 25");
    std::fs::set_permissions(folder.config(), PermissionsExt::from_mode(0o640)).unwrap();
    // Only root gives files away; any other user's stays its own.
    let _ = chown(folder.config(), Some(12345), Some(54321));
    let owner = |file: std::fs::Metadata| (file.uid(), file.gid(), file.mode());
    let before = owner(std::fs::metadata(folder.config()).unwrap());
    let house = folder.start().await;
    let other = folder.read().replace("percent = 25", "percent = 26");
    let put = ask(&house.admin, "PUT", "/v1/config", &["If-Match: *"], &other).await;
    assert_eq!(put.status, 200, "{}", put.text);
    let after = owner(std::fs::metadata(folder.config()).unwrap());
    assert_eq!(after, before);
}

#[tokio::test]
async fn drained_means_not_ready_until_it_is_cancelled() {
    let folder = Folder::with_rollout("percent = 25");
    let house = folder.start().await;
    let admin = &house.admin;
    let drained = post(admin, "/v1/drain", r#"{"window":"1s"}"#).await;
    assert_eq!(
        (drained.status, &drained.json),
        (202, &json!({ "sessions": 0 }))
    );
    let ready = get(admin, "/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json, json!({ "ready": false, "why": "draining" }));
    assert_eq!(get(admin, "/livez").await.status, 200);
    assert_eq!(ask(admin, "DELETE", "/v1/drain", &[], "").await.status, 200);
    assert_eq!(get(admin, "/readyz").await.status, 200);
}

#[tokio::test]
async fn explain_tells_what_would_happen_and_why() {
    let folder = Folder::with_rollout("percent = 25\nalways = [\"vip\"]\nheader = \"x-try\"");
    let house = folder.start().await;
    let explain = async |query: &str| {
        get(&house.admin, &format!("/v1/explain?{query}"))
            .await
            .json
    };

    let alice = explain("path=/feed?x=1&user=alice").await;
    assert_eq!(alice["route"], "feed");
    assert_eq!(alice["action"], "bridge");
    assert_eq!(alice["canonical_path"], "/feed");
    assert_eq!(
        keys(&alice["policies"]),
        ["cors", "auth", "require", "rate_limit", "share"]
    );
    assert_eq!(
        alice["rollout"],
        json!({
            "name": "web", "unit": "alice", "bucket": 2624, "percent": 25, "transport": "websocket",
            "reason": "bucket",
        })
    );
    assert_eq!(
        keys(&alice),
        [
            "route",
            "action",
            "canonical_path",
            "params",
            "policies",
            "verdict",
            "rollout"
        ]
    );
    assert_eq!(keys(&alice["verdict"]), ["status", "code", "why"]);
    assert_eq!(
        explain("path=/feed&user=bob").await["rollout"]["transport"],
        "legacy"
    );
    assert_eq!(
        explain("path=/feed&user=vip").await["rollout"]["reason"],
        "always"
    );
    let tester = explain("path=/feed&user=bob&header=X-Try:%20websocket").await;
    assert_eq!(tester["rollout"]["reason"], "header");
    let rest = explain("path=/a%2562c").await;
    assert_eq!(
        (rest["action"].as_str(), &rest["rollout"]),
        (Some("passthrough"), &json!(null))
    );
    assert_eq!(
        explain("path=/feed&method=POST").await["action"],
        "passthrough"
    );
    let foreign = explain("path=/feed&websocket=true&origin=http://evil.test").await;
    let verdict = &foreign["verdict"];
    assert_eq!(verdict["status"], 403);
    assert_eq!(verdict["code"], "forbidden");
    let why = verdict["why"].as_str().unwrap();
    assert!(why.starts_with("origin: this origin is not allowed here"));

    post(&house.admin, "/v1/rollouts/web/kill", "").await;
    let killed = explain("path=/feed&user=vip").await;
    assert_eq!(killed["rollout"]["reason"], "killed");
    assert_eq!(killed["rollout"]["percent"], 0);
}

#[tokio::test]
async fn health_says_down_when_no_backend_can_be_reached() {
    let backend = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = backend.local_addr().unwrap().to_string();
    let folder = Folder::with_rollout("percent = 25");
    folder.write(&folder.read().replace("127.0.0.1:9", &address));
    let house = folder.start().await;
    let up = get(&house.admin, "/v1/health").await;
    assert_eq!(up.status, 200);
    assert_eq!(up.json["status"], "ok");
    assert_eq!(keys(&up.json), ["status", "edge", "upstreams", "sources"]);
    assert_eq!(
        keys(&up.json["edge"]),
        ["ready", "version", "uptime_s", "sessions"]
    );
    let servers = json!([{ "url": format!("http://{address}"), "healthy": true }]);
    assert_eq!(
        up.json["upstreams"],
        json!([{ "name": "app", "status": "ok", "servers": servers }])
    );
    drop(backend);
    let down = get(&house.admin, "/v1/health").await;
    assert_eq!(
        (down.status, down.json["status"].as_str()),
        (503, Some("down"))
    );
}

#[tokio::test]
async fn a_kill_is_answered_at_once_beside_300_idle_callers() {
    use tokio::io::AsyncWriteExt;

    let folder = Folder::with_rollout("percent = 25");
    let house = folder.start().await;
    let address = house.admin.strip_prefix("http://").unwrap();
    let mut idle = Vec::new();
    for number in 0..300 {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let part = [
            "",
            "POST ",
            "POST /v1/rollouts/web/kill HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
        ];
        // One that was closed meanwhile may say so.
        let _ = stream.write_all(part[number % 3].as_bytes()).await;
        idle.push(stream);
    }
    let began = std::time::Instant::now();
    let killed = post(&house.admin, "/v1/rollouts/web/kill", "").await;
    let took = began.elapsed();
    assert_eq!(killed.json["state"], "killed");
    assert!(took < std::time::Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn of_several_generations_one_has_to_be_in_force() {
    let folder = Folder::with_rollout("percent = 25");
    let house = folder.start().await;
    let set = |seen: &'static str, percent: u32| {
        let admin = house.admin.clone();
        async move {
            let body = json!({ "percent": percent }).to_string();
            ask(&admin, "PATCH", "/v1/rollouts/web", &[seen], &body).await
        }
    };
    let changed = set("If-Match: \"7\", \"1\"", 30).await;
    assert_eq!((changed.status, changed.header("etag")), (200, "\"2\""));
    assert_problem(
        &set("If-Match: \"1\", \"3\"", 40).await,
        412,
        "precondition_failed",
    );
    assert_problem(
        &set("If-Match: W/\"2\"", 40).await,
        412,
        "precondition_failed",
    );
    assert_eq!(set("If-Match: *", 50).await.status, 200);
    let reloaded = ask(
        &house.admin,
        "POST",
        "/v1/config/reload",
        &["If-Match: \"9\", \"1\""],
        "",
    )
    .await;
    assert_eq!(reloaded.status, 200);
}

/// What the document says a body may be is what the API takes: each member as null, and what is no object.
#[tokio::test]
async fn the_openapi_document_says_which_bodies_are_taken() {
    let folder = Folder::with_rollout("percent = 25");
    let house = folder.start().await;
    let document = get(&house.admin, "/v1/openapi.json").await.json;
    let mut tried = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if schema.is_null() {
                continue;
            }
            let path = path.replace("{name}", "web");
            let method = method.to_uppercase();
            let send = async |body: &str| ask(&house.admin, &method, &path, &[], body).await;
            for odd in ["[]", "null", "[null]", "7"] {
                assert_problem(&send(odd).await, 422, "invalid");
            }
            assert_problem(&send(r#"{"no such member":1}"#).await, 422, "invalid");
            for (name, member) in schema["properties"].as_object().unwrap() {
                let mut body = json!({});
                for needed in schema["required"].as_array().into_iter().flatten() {
                    body[needed.as_str().unwrap()] = match needed.as_str().unwrap() {
                        "pid" => json!(1),
                        _ => json!("text"),
                    };
                }
                body[name] = json!(null);
                let answer = send(&body.to_string()).await;
                let is_refused = answer.text.contains("invalid type: null");
                let takes_null = match (&member["type"], &member["enum"]) {
                    (serde_json::Value::Null, serde_json::Value::Null) => true,
                    (types, words) => [types, words]
                        .iter()
                        .filter_map(|list| list.as_array())
                        .flatten()
                        .any(|word| word.is_null() || word == "null"),
                };
                assert_eq!(
                    is_refused, !takes_null,
                    "{method} {path} {name}: {answer:?}"
                );
                let documented = &operation["responses"][answer.status.to_string()];
                assert!(!documented.is_null(), "{method} {path}: {answer:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 10, "{tried}");
}
