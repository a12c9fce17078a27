//! Paths that a backend may read as another path.

use super::*;
use crate::config::{Auth, AuthKind, Require};
use crate::http::path::canonical;

fn guarded(path: &str, role: &str) -> Route {
    Route {
        auth: vec![Arc::new(Auth {
            name: "keys".into(),
            kind: AuthKind::ApiKey(Vec::new()),
            from: Vec::new(),
            csrf: None,
            identity: Default::default(),
        })],
        require: Some(Require {
            roles: vec![role.to_owned()],
            claims: Vec::new(),
        }),
        ..route(path)
    }
}

fn table() -> RouteTable {
    let routes = [
        guarded("/admin/{*rest}", "admin"),
        route("/admin/login"),
        guarded("/api/{id}", "user"),
        guarded("/api/Matters/{id}/secret", "admin"),
        route("/{*path}"),
    ];
    let routes: Vec<_> = routes.into_iter().map(Arc::new).collect();
    RouteTable::new(&routes)
}

/// As the request path does it: refused for its form, for a reading, or by the route that it names and those that it may
/// mean.
fn fate_in(table: &RouteTable, raw: &str) -> String {
    let Ok(path) = canonical(raw) else {
        return "refused".to_owned();
    };
    let found = table.find("a", &Method::GET, &path).unwrap();
    match table.read_otherwise("a", &Method::GET, &path, &found.route) {
        Err(_) => "refused".to_owned(),
        Ok(others) => {
            let all = [&found.route].into_iter().chain(&others);
            let all: Vec<_> = all.map(|route| route.path.as_str()).collect();
            all.join(" ")
        }
    }
}

fn fate(raw: &str) -> String {
    fate_in(&table(), raw)
}

#[test]
fn no_spelling_goes_around_a_guard() {
    for raw in [
        "/ADMIN/secret",
        "/Admin/secret",
        "//admin/secret",
        "/admin//secret",
        "///admin///secret/",
        "/%41dmin/secret",
        "/admin%2fsecret",
        "/admin%2Fsecret",
        "/admin%5csecret",
        "/admin;x=1/secret",
        "/admin;/secret",
        "/;x/admin/secret",
        "/admin%3bx/secret",
        "/%2561dmin/secret",
        "/%252fadmin/secret",
        "/admin%252fsecret",
        "/x/%252e%252e/admin/secret",
        "/x%252f..%252fadmin%252fsecret",
        "/admin/../admin/secret",
        "/./admin/secret",
        "/x/..;/admin/secret",
        "/%2e/admin/secret",
        "/%2fadmin/secret",
        "//%61dmin/secret",
        "/admin\\secret",
        "/API/5",
        "/api/5/",
        "/api/5;x",
        "/api/matters/7/secret",
        "/api/MATTERS/7/SECRET/",
        "//a.example/admin/secret",
        "///a.example/ADMIN/secret",
        "//x/api/5",
        "/admin%c0%afsecret",
        "/%c0%afadmin/secret",
        "/x/%c0%ae%c0%ae/admin/secret",
        "/%e0%80%afadmin/secret",
        "/admin%f8%80%80%80%afsecret",
        "/%2525252561dmin/secret",
        "/admin%253bx/secret",
        "/api%255c5",
        "/;x%2fy/admin/secret",
        "/admin/x%2f%252e%252e%2fsecret",
        "/%25u0061dmin/secret",
        "/x%3f/%252e%252e/%252e%252e/admin/secret",
        "/api%2f5%3fx",
    ] {
        let fate = fate(raw);
        let is_guarded = fate.starts_with("/admin/{") || fate.starts_with("/api/");
        assert!(fate == "refused" || is_guarded, "{raw}: {fate}");
    }
}

#[test]
fn what_is_open_stays_open_and_what_is_plain_is_not_held_up() {
    for (raw, route) in [
        ("/", "/{*path}"),
        ("/static/App.JS", "/{*path}"),
        ("/static//a;b/", "/{*path}"),
        ("//static/a", "/{*path}"),
        ("//admin", "/{*path}"),
        ("/a%20b", "/{*path}"),
        ("/admin/login", "/admin/login"),
        ("/admin/secret", "/admin/{*rest}"),
        ("/admin/Secret/", "/admin/{*rest}"),
        ("/api/AbC", "/api/{id}"),
        ("/api/a%20b", "/api/{id}"),
    ] {
        assert_eq!(fate(raw), route, "{raw}");
    }
}

/// Each is read otherwise in one step of a backend alone.
#[test]
fn a_reading_of_one_step_is_seen_alone() {
    let table = RouteTable::new(&[
        Arc::new(guarded("/x/{id}", "admin")),
        Arc::new(guarded("/Q/{*rest}", "admin")),
        Arc::new(route("/q/open")),
        Arc::new(route("/{*path}")),
    ]);
    for raw in [
        // The backslash stays one, the slash does not.
        "/x%2fa%5Cb",
        // The last segment's parameters alone.
        "/x/a;b",
        // In its own case.
        "/Q%2fopen",
        "/x/a%3fb/c",
    ] {
        let fate = fate_in(&table, raw);
        assert!(fate == "refused" || fate == "/x/{id}", "{raw}: {fate}");
    }
}

#[test]
fn an_encoded_path_of_one_policy_passes() {
    for (raw, expected) in [
        ("/admin/a%2Fb", "/admin/{*rest}"),
        ("/admin/a%252Fb%25", "/admin/{*rest}"),
        ("/admin/x;jsessionid=1", "/admin/{*rest}"),
        ("/admin/%c0%bd.txt", "/admin/{*rest}"),
        ("/api/5;v=1", "/api/{id}"),
        ("/api/a%2fb", "/api/{id}"),
        ("/static/a%2fb;c%25", "/{*path}"),
        ("/%c0%bd.txt", "/{*path}"),
        ("/x/%c0%ae%c0%ae/y", "/{*path}"),
    ] {
        assert_eq!(fate(raw), expected, "{raw}");
    }
}

#[test]
fn an_allowed_encoding_meets_the_policies_of_all_readings() {
    let table = RouteTable::new(&[
        Arc::new(Route {
            encoded: vec!["%2F", "%25"],
            ..guarded("/projects/{id}", "user")
        }),
        Arc::new(guarded("/projects/{id}/keys", "admin")),
        Arc::new(guarded("/projects/{id}/hooks/{*rest}", "owner")),
        Arc::new(route("/{*path}")),
    ]);
    for (raw, expected) in [
        ("/projects/7", "/projects/{id}"),
        ("/projects/a%2Fb", "/projects/{id}"),
        ("/projects/a%2Fkeys", "/projects/{id} /projects/{id}/keys"),
        ("/projects/a%252Fkeys", "/projects/{id} /projects/{id}/keys"),
        (
            "/projects/a%252Fhooks%2F",
            "/projects/{id} /projects/{id}/hooks/{*rest}",
        ),
        // Not listed, beside what is or alone; and no encoding at all.
        ("/projects/a%2Fkeys;x", "refused"),
        ("/projects/a%5Ckeys", "refused"),
        ("/projects/a%C0%AFkeys", "refused"),
        ("/projects/a%2F%C0%AFkeys", "refused"),
        ("/projects%2Fa%2Fkeys", "refused"),
        ("/projects/a%2F..%2Fkeys", "refused"),
        ("/Projects/a/keys", "refused"),
    ] {
        assert_eq!(fate_in(&table, raw), expected, "{raw}");
    }
}

#[test]
fn a_refused_path_names_its_other_reading() {
    let table = table();
    let detail = |path: &str| {
        let found = table.find("a", &Method::GET, path).unwrap();
        let read = table.read_otherwise("a", &Method::GET, path, &found.route);
        read.unwrap_err().detail().into_owned()
    };
    let what = "the path could be read in more than one way: a backend may take it for";
    let guarded = "which other policies guard; send the path that is meant";
    assert_eq!(
        detail("//admin/secret"),
        format!("{what} `/admin/secret`, {guarded}")
    );
    assert_eq!(
        detail("/login%2F..%2Fadmin/secret;id=hidden"),
        format!(
            "{what} `/admin/secret;***`, {guarded}, or list its encodings in `encoded` of the route"
        )
    );
}

#[test]
fn a_path_refused_for_its_case_is_not_named_as_the_remedy() {
    let open = route("/{*path}");
    let guarded = guarded("/api/userProfile", "admin");
    let table = RouteTable::new(&[Arc::new(open), Arc::new(guarded)]);
    for path in ["/api/userprofile", "/API/UserProfile"] {
        let found = table.find("a", &Method::GET, path).unwrap();
        let read = table.read_otherwise("a", &Method::GET, path, &found.route);
        let detail = read.unwrap_err().detail().into_owned();
        assert!(detail.contains("a backend that ignores case"), "{detail}");
        assert!(!detail.contains('`'), "{detail}");
    }
}

#[test]
fn no_advice_is_given_that_overlong_utf8_would_not_follow() {
    let table = table();
    let path = "/x/..%C0%AF..%2Fadmin/secret";
    let found = table.find("a", &Method::GET, path).unwrap();
    let read = table.read_otherwise("a", &Method::GET, path, &found.route);
    let detail = read.unwrap_err().detail().into_owned();
    assert!(!detail.contains("encoded"), "{detail}");
}

#[test]
fn a_path_that_is_none_names_what_it_may_mean() {
    for (path, reading) in [
        ("/x/../admin", "/admin"),
        ("/x/%2e%2e/admin", "/admin"),
        ("/a\\b", "/a/b"),
        ("/a/..;x/b", "/b"),
        ("/a/../b;id=hidden", "/b;***"),
    ] {
        let detail = path_detail(RequestViolation::Path, path);
        let end = format!("a backend may take it for `{reading}`; send the path that is meant");
        assert!(detail.ends_with(&end), "{path}: {detail}");
    }
    let long = format!("/../{}", "a".repeat(600));
    for path in ["/a%00", &long] {
        assert_eq!(
            path_detail(RequestViolation::Path, path),
            RequestViolation::Path.detail()
        );
    }
}

#[test]
fn a_path_of_too_many_readings_is_refused() {
    let deep = format!("/{}61dmin/secret", "%25".to_owned() + &"25".repeat(200));
    assert_eq!(fate(&deep), "refused");
    let long = format!("/api/{}%2F", "A".repeat(20_000));
    assert_eq!(fate(&long), "/api/{id}");
}

proptest! {
    #[test]
    fn whatever_is_sent_has_an_answer(raw in "/[ -~]{0,30}") {
        fate(&raw);
    }
}
