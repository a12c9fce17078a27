use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::{RefreshOn, Replay, Share, Slow, Source, Sse, Upstream, most_specific};

mod lookalikes;

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
        wrap: None,
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

    /// What `check` judges bindings by is the router's own choice.
    #[test]
    fn route_that_is_chosen_by_hand_is_the_trees(
        written in prop::collection::vec(
            (
                prop::collection::vec(prop_oneof!["a", "b", Just("{x}".into())], 1..3),
                any::<bool>(),
                prop_oneof![Just(None), Just(Some("h")), Just(Some("*.h")), Just(Some("x.h"))],
                prop_oneof![Just(vec![]), Just(vec![Method::GET]), Just(vec![Method::POST])],
            ),
            1..12,
        ),
        path in prop::collection::vec(prop_oneof!["a", "b", "c", Just("".into())], 1..5),
        host in prop_oneof!["h", "x\\.h", "y\\.h", "\\*\\.h", "z"],
        method in prop_oneof![Just(Method::GET), Just(Method::HEAD), Just(Method::POST)],
    ) {
        let routes = written.into_iter().map(|(parts, has_rest, host, methods)| {
            let rest = if has_rest { "/{*rest}" } else { "" };
            let host = host.map(str::to_owned);
            Arc::new(Route { host, methods, ..route(&format!("/{}{rest}", parts.join("/"))) })
        });
        let routes: Vec<_> = routes.collect();
        let path = format!("/{}", path.join("/"));
        let found = RouteTable::new(&routes).find(&host, &method, &path);
        let chosen = most_specific(&routes, &host, &method, &path);
        let place = |route: Option<&Arc<Route>>| route.map(Arc::as_ptr);
        prop_assert_eq!(place(found.as_ref().map(|found| &found.route)), place(chosen));
    }
}
