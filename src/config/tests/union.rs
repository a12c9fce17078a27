//! One mistake, one problem, whatever else is wrong: several mistakes in one file are reported as each of them alone.

use std::collections::BTreeMap;

use super::{generic, judge};

const BASE: &str = r#"
[upstream.app]
servers = ["http://127.0.0.1:5000"]

[[route]]
path = "/{*path}"
upstream = "app"
"#;

/// Mistakes that don't touch each other, and how many problems each is: tables with an empty line between them. A route
/// that names no upstream has that of [`BASE`].
const MISTAKES: &[(usize, &str)] = &[
    (1, "[server]\nworkers = 'many'"),
    (1, "[server]\nlisten = 'nowhere'"),
    (1, "[server]\nprefix = 'x'"),
    (1, "[server]\nsecret = '${NONE}'"),
    (1, "[server]\nproxy_protocol = 'perhaps'"),
    (1, "[server.limits]\nmemory = 'much'"),
    (2, "[server.tls]\ncert = '/none.pem'\nkey = '/none.key'"),
    (1, "[admin]\nlisten = '0.0.0.0:9900'"),
    (1, "[websocket]\nqueue = {messages = 0}"),
    (1, "[websocket]\ncors = 'missing'"),
    (1, "[log]\nlevel = 'loud'"),
    (1, "[sever]\nlisten = '127.0.0.1:1'"),
    (1, "[upstream.bare]"),
    (
        1,
        "[upstream.plain]\nservers = ['ftp://x']\ntls = {server_name = 'x'}",
    ),
    (
        1,
        "[upstream.odd]\nservers = ['http://x']\nbalance = 'hash'",
    ),
    (
        1,
        "[rollout.web]\npercent = 200\n\n[[route]]\npath = '/r1'\nsource = 'sse'\nrollout = 'web'\nreplay = {age = '5m'}",
    ),
    (1, "[rollout.idle]\npercent = 20"),
    (
        1,
        "[cors.star]\norigins = ['*']\ncredentials = true\n\n[[route]]\npath = '/c1'\ncors = 'star'",
    ),
    (
        1,
        "[rate_limit.slow]\nrequests = 'often'\n\n[[route]]\npath = '/l1'\nrate_limit = 'slow'",
    ),
    (
        2,
        "[auth.none]\nkind = 'wtj'\nsecret = '${TOKEN}-long-enough-to-be-a-secret'\nissuer = 'x'\naudience = 'y'\nleeway = '1h'\n\n[[route]]\npath = '/a1'\nauth = 'none'",
    ),
    (
        1,
        "[auth.asks]\nkind = 'forward'\nupstream = 'ap'\npath = '/me'\nuser = 'id'\ncsrf = {header = 'X-CSRF', cookie = 'csrf'}\n\n[[route]]\npath = '/a2'\nauth = 'asks'",
    ),
    (
        1,
        "[auth.empty]\nkind = 'api_key'\nkeys = []\n\n[[route]]\npath = '/a3'\nauth = 'empty'",
    ),
    (
        1,
        "[auth.gone]\nkind = 'api_key'\nfile = 'none.keys'\n\n[[route]]\npath = '/a4'\nauth = 'gone'",
    ),
    (
        1,
        "[[route]]\npath = '/t/{a}'\n\n[[route]]\npath = '/t/{b}'",
    ),
    (
        1,
        "[[route]]\npath = '/n1'\nname = 'same'\n\n[[route]]\npath = '/n2'\nname = 'same'",
    ),
    (
        2,
        "[[route]]\npath = '/u1/{a}'\nupstream = 'ap'\n\n[[route]]\npath = '/u1/{b}'",
    ),
    (
        1,
        "[[route]]\npath = '/h1'\nhost = 'a b'\n\n[[route]]\npath = '/h1'",
    ),
    (
        1,
        "[[route]]\npath = '/m1'\nmethods = ['post']\n\n[[route]]\npath = '/m1'",
    ),
    (
        1,
        "[[route]]\npath = '/m2'\nmethods = ['get', 'POST']\nsource = 'sse'",
    ),
    (
        2,
        "[[route]]\npath = 'p'\nsource = {kind = 'poll', emit = 'changes'}\ndeliver = {mode = 'latest'}",
    ),
    (1, "[[route]]\npath = '/_crossfade/x'"),
    (2, "[[route]]\nsource = 'sse'\nrefresh_on = ['POST /x']"),
    (
        2,
        "[[route]]\npath = '/k1'\nsource = {kind = 'pol', every = 'soon'}",
    ),
    (
        1,
        "[[route]]\npath = '/k2'\nsource = {kind = 'poll', every = 'soon', min = '2s', max = '5s'}",
    ),
    (
        1,
        "[[route]]\npath = '/k3'\nsource = {kind = 'poll', emit = 'change', key = '/id'}",
    ),
    (
        1,
        "[[route]]\npath = '/k4'\nsource = {kind = 'poll', method = 'PSOT', body = 'x'}",
    ),
    (
        1,
        "[[route]]\npath = '/s1'\nsource = 'sse'\nshare = {claims = ['t']}",
    ),
    (1, "[[route]]\npath = '/q1'\nrequire = {roles = ['a']}"),
    (1, "[[route]]\npath = '/f1'\nfilter = ['x']"),
    (1, "[[route]]\npath = '/d1'\npath = '/d2'"),
    (1, "[[route]]\npath = '/v1'\nunheard = 1"),
];

/// A file that makes these mistakes.
fn file(mistakes: &[&str]) -> String {
    let mut tables = BTreeMap::<&str, String>::new();
    let mut routes = String::new();
    for table in mistakes.iter().flat_map(|mistake| mistake.split("\n\n")) {
        let (header, lines) = table.split_once('\n').unwrap_or((table, ""));
        match header {
            "[[route]]" if lines.contains("upstream =") => routes += &format!("{table}\n"),
            "[[route]]" => routes += &format!("{table}\nupstream = 'app'\n"),
            header => *tables.entry(header).or_default() += &format!("{lines}\n"),
        }
    }
    let tables: String = (tables.iter())
        .map(|(header, lines)| format!("{header}\n{lines}\n"))
        .collect();
    format!("{BASE}\n{routes}\n{tables}")
}

/// The reports about a file, without the places, which differ in another file.
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
    let all: Vec<&str> = MISTAKES.iter().map(|(_, tables)| *tables).collect();
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
