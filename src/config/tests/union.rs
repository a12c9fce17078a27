//! One mistake, one problem, whatever else is wrong: several mistakes in one file are told as each of them is told alone.

use std::collections::BTreeMap;

use super::{generic, judge};

const BASE: &str = r#"
[upstream.app]
servers = ["http://127.0.0.1:5000"]

[[route]]
path = "/{*path}"
upstream = "app"
"#;

/// A header and what stands below it.
type Tables = [(&'static str, &'static str)];

/// Mistakes that don't touch each other, and how many problems each is.
const MISTAKES: &[(usize, &Tables)] = &[
    (1, &[("[server]", "workers = \"many\"")]),
    (1, &[("[server]", "listen = \"nowhere\"")]),
    (1, &[("[server]", "prefix = \"x\"")]),
    (1, &[("[server]", "secret = \"${NONE}\"")]),
    (1, &[("[server]", "proxy_protocol = \"perhaps\"")]),
    (1, &[("[server.limits]", "memory = \"much\"")]),
    (
        2,
        &[("[server.tls]", "cert = \"/none.pem\"\nkey = \"/none.key\"")],
    ),
    (1, &[("[admin]", "listen = \"0.0.0.0:9900\"")]),
    (1, &[("[websocket]", "queue = {messages = 0}")]),
    (1, &[("[websocket]", "cors = \"missing\"")]),
    (1, &[("[log]", "level = \"loud\"")]),
    (1, &[("[sever]", "listen = \"127.0.0.1:1\"")]),
    (1, &[("[upstream.bare]", "")]),
    (
        1,
        &[(
            "[upstream.plain]",
            "servers = [\"ftp://x\"]\ntls = {server_name = \"x\"}",
        )],
    ),
    (
        1,
        &[(
            "[upstream.odd]",
            "servers = [\"http://x\"]\nbalance = \"hash\"",
        )],
    ),
    (
        1,
        &[
            ("[rollout.web]", "percent = 200"),
            (
                "[[route]]",
                "path = \"/r1\"\nupstream = \"app\"\nsource = \"sse\"\nrollout = \"web\"\nreplay = {age = \"5m\"}",
            ),
        ],
    ),
    (1, &[("[rollout.idle]", "percent = 20")]),
    (
        1,
        &[
            ("[cors.star]", "origins = [\"*\"]\ncredentials = true"),
            (
                "[[route]]",
                "path = \"/c1\"\nupstream = \"app\"\ncors = \"star\"",
            ),
        ],
    ),
    (
        1,
        &[
            ("[rate_limit.slow]", "requests = \"often\""),
            (
                "[[route]]",
                "path = \"/l1\"\nupstream = \"app\"\nrate_limit = \"slow\"",
            ),
        ],
    ),
    (
        2,
        &[
            (
                "[auth.none]",
                "kind = \"wtj\"\nsecret = \"${TOKEN}-long-enough-to-be-a-secret\"\nissuer = \"x\"\naudience = \"y\"\nleeway = \"1h\"",
            ),
            (
                "[[route]]",
                "path = \"/a1\"\nupstream = \"app\"\nauth = \"none\"",
            ),
        ],
    ),
    (
        1,
        &[
            (
                "[auth.asks]",
                "kind = \"forward\"\nupstream = \"ap\"\npath = \"/me\"\nuser = \"id\"\ncsrf = {header = \"X-CSRF\", cookie = \"csrf\"}",
            ),
            (
                "[[route]]",
                "path = \"/a2\"\nupstream = \"app\"\nauth = \"asks\"",
            ),
        ],
    ),
    (
        1,
        &[
            ("[auth.empty]", "kind = \"api_key\"\nkeys = []"),
            (
                "[[route]]",
                "path = \"/a3\"\nupstream = \"app\"\nauth = \"empty\"",
            ),
        ],
    ),
    (
        1,
        &[
            ("[auth.gone]", "kind = \"api_key\"\nfile = \"none.keys\""),
            (
                "[[route]]",
                "path = \"/a4\"\nupstream = \"app\"\nauth = \"gone\"",
            ),
        ],
    ),
    (
        1,
        &[
            ("[[route]]", "path = \"/t/{a}\"\nupstream = \"app\""),
            ("[[route]]", "path = \"/t/{b}\"\nupstream = \"app\""),
        ],
    ),
    (
        1,
        &[
            (
                "[[route]]",
                "path = \"/n1\"\nupstream = \"app\"\nname = \"same\"",
            ),
            (
                "[[route]]",
                "path = \"/n2\"\nupstream = \"app\"\nname = \"same\"",
            ),
        ],
    ),
    (
        2,
        &[
            ("[[route]]", "path = \"/u1/{a}\"\nupstream = \"ap\""),
            ("[[route]]", "path = \"/u1/{b}\"\nupstream = \"app\""),
        ],
    ),
    (
        1,
        &[
            (
                "[[route]]",
                "path = \"/h1\"\nhost = \"a b\"\nupstream = \"app\"",
            ),
            ("[[route]]", "path = \"/h1\"\nupstream = \"app\""),
        ],
    ),
    (
        1,
        &[
            (
                "[[route]]",
                "path = \"/m1\"\nmethods = [\"post\"]\nupstream = \"app\"",
            ),
            ("[[route]]", "path = \"/m1\"\nupstream = \"app\""),
        ],
    ),
    (
        1,
        &[(
            "[[route]]",
            "path = \"/m2\"\nmethods = [\"get\", \"POST\"]\nupstream = \"app\"\nsource = \"sse\"",
        )],
    ),
    (
        2,
        &[(
            "[[route]]",
            "path = \"p\"\nupstream = \"app\"\nsource = {kind = \"poll\", emit = \"changes\"}\ndeliver = {mode = \"latest\"}",
        )],
    ),
    (
        1,
        &[("[[route]]", "path = \"/_crossfade/x\"\nupstream = \"app\"")],
    ),
    (
        2,
        &[(
            "[[route]]",
            "upstream = \"app\"\nsource = \"sse\"\nrefresh_on = [\"POST /x\"]",
        )],
    ),
    (
        2,
        &[(
            "[[route]]",
            "path = \"/k1\"\nupstream = \"app\"\nsource = {kind = \"pol\", every = \"soon\"}",
        )],
    ),
    (
        1,
        &[(
            "[[route]]",
            "path = \"/k2\"\nupstream = \"app\"\nsource = {kind = \"poll\", every = \"soon\", min = \"2s\", max = \"5s\"}",
        )],
    ),
    (
        1,
        &[(
            "[[route]]",
            "path = \"/k3\"\nupstream = \"app\"\nsource = {kind = \"poll\", emit = \"change\", key = \"/id\"}",
        )],
    ),
    (
        1,
        &[(
            "[[route]]",
            "path = \"/k4\"\nupstream = \"app\"\nsource = {kind = \"poll\", method = \"PSOT\", body = \"x\"}",
        )],
    ),
    (
        1,
        &[(
            "[[route]]",
            "path = \"/s1\"\nupstream = \"app\"\nsource = \"sse\"\nshare = {claims = [\"t\"]}",
        )],
    ),
    (
        1,
        &[(
            "[[route]]",
            "path = \"/q1\"\nupstream = \"app\"\nrequire = {roles = [\"a\"]}",
        )],
    ),
    (
        1,
        &[(
            "[[route]]",
            "path = \"/f1\"\nupstream = \"app\"\nfilter = [\"x\"]",
        )],
    ),
    (
        1,
        &[(
            "[[route]]",
            "path = \"/d1\"\npath = \"/d2\"\nupstream = \"app\"",
        )],
    ),
    (
        1,
        &[(
            "[[route]]",
            "path = \"/v1\"\nupstream = \"app\"\nunheard = 1",
        )],
    ),
];

/// A file that makes these mistakes.
fn file(mistakes: &[&Tables]) -> String {
    let mut tables = BTreeMap::<&str, String>::new();
    let mut routes = String::new();
    for (header, lines) in mistakes.iter().flat_map(|mistake| mistake.iter()) {
        match *header {
            "[[route]]" => routes += &format!("\n[[route]]\n{lines}\n"),
            header => *tables.entry(header).or_default() += &format!("{lines}\n"),
        }
    }
    let tables: String = (tables.iter())
        .map(|(header, lines)| format!("{header}\n{lines}\n"))
        .collect();
    format!("{BASE}{routes}\n{tables}")
}

/// What is told of a file, without the places, which are others in another file.
fn told(file: &str) -> Vec<String> {
    let mut problems = match judge(file) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    let digits = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "#");
    let mut told: Vec<_> = problems
        .drain(..)
        .map(|problem| format!("{} {}", generic(&problem.key), digits(&problem.message)))
        .map(|line| line.replace("##", "#"))
        .collect();
    told.sort();
    told
}

#[test]
fn a_mistake_alone_is_told_without_others() {
    for (count, mistake) in MISTAKES {
        let told = told(&file(&[mistake]));
        assert_eq!(told.len(), *count, "{mistake:?}: {told:#?}");
    }
}

#[test]
fn mistakes_are_told_together_as_each_alone() {
    let all: Vec<&Tables> = MISTAKES.iter().map(|(_, tables)| *tables).collect();
    let alone: Vec<_> = all.iter().map(|one| told(&file(&[one]))).collect();
    for (at, one) in all.iter().enumerate() {
        for (and, other) in all.iter().enumerate().skip(at + 1) {
            let mut union = [&alone[at][..], &alone[and]].concat();
            union.sort();
            assert_eq!(told(&file(&[one, other])), union, "{one:?} {other:?}");
        }
    }
    let mut union = alone.concat();
    union.sort();
    assert_eq!(told(&file(&all)), union);
}
