use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::{RefreshOn, Replay, Share, Slow, Source, Sse, Upstream};

fn route(path: &str) -> Route {
    Route {
        name: path.into(),
        index: 0,
        path: path.into(),
        host: None,
        methods: Vec::new(),
        upstream: Arc::new(Upstream {
            name: "app".into(),
            servers: Vec::new(),
            host: None,
            connect_timeout: Duration::from_secs(3),
            response_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            http2: false,
            tls: crate::config::Trust::default(),
            keepalive: 512,
            balance: Default::default(),
            health: None,
            budget: Default::default(),
            connection_auth: Default::default(),
        }),
        source: None,
        share: Share::User,
        accept: Vec::new(),
        vary: Vec::new(),
        ignore_query: Vec::new(),
        auth: Vec::new(),
        encoded: Vec::new(),
        require: None,
        cors: None,
        rate_limit: None,
        rollout: None,
        replay: Replay {
            events: 1000,
            age: Duration::from_secs(60),
            bytes: 4 << 20,
        },
        slow: Slow::Close,
        deliver: None,
        calls: None,
        filter: Vec::new(),
        refresh_on: Vec::new(),
        read: Default::default(),
        fields: Default::default(),
    }
}

fn bridged(path: &str) -> Route {
    Route {
        source: Some(Source::Sse(Sse {
            idle_timeout: Duration::from_secs(60),
            events: Default::default(),
            final_events: Vec::new(),
            join: crate::config::Join::Auto,
        })),
        ..route(path)
    }
}

fn table(routes: Vec<Route>) -> RouteTable {
    let routes: Vec<Arc<Route>> = routes
        .into_iter()
        .enumerate()
        .map(|(index, route)| Arc::new(Route { index, ..route }))
        .collect();
    RouteTable::new(&routes)
}

/// The index of the route that a GET reaches.
fn found(table: &RouteTable, host: &str, path: &str) -> Option<usize> {
    Some(table.find(host, &Method::GET, path)?.route.index)
}

#[test]
fn a_catch_all_matches_nothing_at_all_too() {
    let table = table(vec![route("/{*path}"), route("/files/{*rest}")]);
    assert_eq!(found(&table, "a", "/"), Some(0));
    assert_eq!(found(&table, "a", "/files/"), Some(1));
    assert_eq!(found(&table, "a", "/files/a/b"), Some(1));
    assert_eq!(found(&table, "a", "/files"), Some(0));
    let rest = table.find("a", &Method::GET, "/files/a/b").unwrap().params;
    assert_eq!(rest, [("rest".to_owned(), "a/b".to_owned())]);
}

#[test]
fn specificity_decides_and_never_file_order() {
    let table = table(vec![
        route("/{*path}"),
        route("/a/{*rest}"),
        route("/a/{id}"),
        route("/a/b"),
        route("/{x}/b"),
    ]);
    assert_eq!(found(&table, "h", "/a/b"), Some(3));
    assert_eq!(found(&table, "h", "/a/c"), Some(2));
    assert_eq!(found(&table, "h", "/a/"), Some(1));
    assert_eq!(found(&table, "h", "/a/c/d"), Some(1));
    assert_eq!(found(&table, "h", "/z/b"), Some(4));
    assert_eq!(found(&table, "h", "/z/c"), Some(0));
    assert_eq!(found(&table, "h", "/z//b"), Some(0));
}

#[test]
fn a_segment_is_never_empty() {
    let table = table(vec![route("/a/{id}/c")]);
    assert_eq!(found(&table, "h", "/a//c"), None);
    assert_eq!(found(&table, "h", "/a/b"), None);
    assert_eq!(found(&table, "h", "/a/b/c/"), None);
    assert_eq!(found(&table, "h", "*"), None);
}

#[test]
fn exact_host_before_one_label_before_none() {
    let with_host = |host: &str| Route {
        host: Some(host.into()),
        ..route("/x")
    };
    let table = table(vec![
        route("/x"),
        with_host("*.example.com"),
        with_host("app.example.com"),
    ]);
    assert_eq!(found(&table, "app.example.com", "/x"), Some(2));
    assert_eq!(found(&table, "b.example.com", "/x"), Some(1));
    assert_eq!(found(&table, "a.b.example.com", "/x"), Some(0));
    assert_eq!(found(&table, "example.com", "/x"), Some(0));
    assert_eq!(found(&table, ".example.com", "/x"), Some(0));
}

#[test]
fn route_that_does_not_fit_yields_to_the_next_best_shape() {
    let posts = Route {
        methods: vec![Method::POST],
        ..route("/a/b")
    };
    let elsewhere = Route {
        host: Some("other".into()),
        ..route("/a/{id}")
    };
    let table = table(vec![posts, elsewhere, route("/{*path}")]);
    assert_eq!(found(&table, "h", "/a/b"), Some(2));
    assert_eq!(found(&table, "other", "/a/b"), Some(1));
    let post = table.find("h", &Method::POST, "/a/b").unwrap();
    assert_eq!(post.route.index, 0);
}

#[test]
fn a_listed_method_comes_before_none_listed_but_after_the_host() {
    let lists = Route {
        methods: vec![Method::POST],
        ..route("/x")
    };
    let hosted = Route {
        host: Some("h".into()),
        ..route("/x")
    };
    let table = table(vec![route("/x"), lists, hosted]);
    let post = |host| table.find(host, &Method::POST, "/x").unwrap().route.index;
    assert_eq!(post("h"), 2);
    assert_eq!(post("g"), 1);
    assert_eq!(found(&table, "g", "/x"), Some(0));
}

#[test]
fn a_bridged_route_bridges_get_and_head_only() {
    let table = table(vec![bridged("/s/{id}")]);
    let find = |method| table.find("h", &method, "/s/1").unwrap();
    assert!(find(Method::GET).bridged && find(Method::HEAD).bridged);
    assert!(!find(Method::POST).bridged);
    assert_eq!(table.bridged().count(), 1);
}

#[test]
fn head_goes_where_get_goes() {
    let gets = Route {
        methods: vec![Method::GET],
        ..route("/x")
    };
    let table = table(vec![gets]);
    assert!(table.find("h", &Method::HEAD, "/x").is_some());
    assert!(table.find("h", &Method::POST, "/x").is_none());
}

#[test]
fn parameters_have_the_routes_own_names_and_plain_values() {
    let get = Route {
        methods: vec![Method::GET],
        ..route("/a/{id}/{what}")
    };
    let post = Route {
        methods: vec![Method::POST],
        ..route("/a/{task}/{verb}")
    };
    let table = table(vec![get, post]);
    let params = |method| table.find("h", &method, "/a/%C3%A4%2Fb/x").unwrap().params;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(params(Method::GET), [pair("id", "ä/b"), pair("what", "x")]);
    assert_eq!(
        params(Method::POST),
        [pair("task", "ä/b"), pair("verb", "x")]
    );
}

#[test]
fn a_template_in_plain_characters_fits_the_canonical_path() {
    let table = table(vec![route("/größe/{id}")]);
    assert_eq!(found(&table, "h", "/gr%C3%B6%C3%9Fe/1"), Some(0));
}

#[test]
fn write_names_routes_to_refresh_with_shared_parameters() {
    let matters = Route {
        refresh_on: vec![
            RefreshOn {
                method: Method::PATCH,
                path: "/api/{tenant}/matters/{id}".into(),
            },
            RefreshOn {
                method: Method::POST,
                path: "/api/{tenant}/matters".into(),
            },
        ],
        ..bridged("/api/{tenant}/matters")
    };
    let table = table(vec![matters]);
    let patch = table.refreshed_by(&Method::PATCH, "/api/a%20b/matters/7");
    assert_eq!(patch.len(), 1);
    assert_eq!(patch[0].1, [("tenant".to_owned(), "a b".to_owned())]);
    assert_eq!(table.refreshed_by(&Method::POST, "/api/a/matters").len(), 1);
    assert!(
        table
            .refreshed_by(&Method::PUT, "/api/a/matters")
            .is_empty()
    );
    assert!(
        table
            .refreshed_by(&Method::POST, "/api/a/matters/7")
            .is_empty()
    );
}

proptest! {
    /// The tree is only a shortcut: of all shapes that fit, it finds the most specific.
    #[test]
    fn the_tree_finds_the_most_specific_shape_that_fits(
        templates in prop::collection::hash_set(
            prop::collection::vec(prop_oneof!["a", "b", Just("".into()), Just("{x}".into())], 1..4)
                .prop_flat_map(|parts| any::<bool>().prop_map(move |rest| {
                    let tail = if rest { "/{*rest}" } else { "" };
                    format!("/{}{tail}", parts.join("/"))
                })),
            1..12,
        ),
        path in prop::collection::vec(prop_oneof!["a", "b", "c", Just("".into())], 1..6),
    ) {
        let path = format!("/{}", path.join("/"));
        let table = table(templates.iter().map(|template| route(template)).collect());
        // `{*` sorts before `{x`, and both after letters: `~` puts the catch-all last.
        let rank = |template: &str| -> Vec<String> {
            template.replace("{*", "~").split('/').map(str::to_owned).collect()
        };
        let by_hand = templates
            .iter()
            .filter(|template| Shape::parse(template).0.values(&path).is_some())
            .min_by_key(|template| rank(template));
        let found = table.find("h", &Method::GET, &path);
        prop_assert_eq!(found.as_ref().map(|m| m.route.path.as_str()), by_hand.map(String::as_str));
    }
}

mod lookalikes {
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
    fn a_path_that_is_none_names_what_it_may_mean() {
        for (path, reading) in [
            ("/x/../admin", "/admin"),
            ("/x/%2e%2e/admin", "/admin"),
            ("/a\\b", "/a/b"),
            ("/a/..;x/b", "/b"),
            ("/a/../b;id=hidden", "/b;***"),
        ] {
            let detail = path_detail(Fault::Path, path);
            let end = format!("a backend may take it for `{reading}`; send the path that is meant");
            assert!(detail.ends_with(&end), "{path}: {detail}");
        }
        let long = format!("/../{}", "a".repeat(600));
        for path in ["/a%00", &long] {
            assert_eq!(path_detail(Fault::Path, path), Fault::Path.detail());
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
}
