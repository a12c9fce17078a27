use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::config;
use crate::policy::auth::error::AuthError;
use crate::policy::auth::identity::{Identity, Unfit};

const FILE: &str = r#"
[server]
listen = "127.0.0.1:0"

[upstream.app]
servers = ["http://127.0.0.1:1"]

[auth.login]
kind = "jwt"
issuer = false
audience = false
secret = "a secret that is longer than thirty-two bytes"

[auth.header]
kind = "jwt"
issuer = false
audience = false
secret = "a secret that is longer than thirty-two bytes"
from = ["header"]

[rate_limit.ip]
requests = "1/s"

[rate_limit.user]
requests = "1/s"
by = "user"

[rate_limit.route]
requests = "1/s"
by = "route"

[[route]]
path = "/open"
upstream = "app"

[[route]]
path = "/ip"
upstream = "app"
auth = "login"
rate_limit = "ip"

[[route]]
path = "/user"
upstream = "app"
auth = "login"
rate_limit = "user"

[[route]]
path = "/route"
upstream = "app"
auth = "header"
rate_limit = "route"

[[route]]
path = "/editors"
upstream = "app"
auth = "login"
require = {roles = ["editor"]}

[[route]]
path = "/shared"
upstream = "app"
source = "sse"
auth = "login"
share = {claims = ["tenantId"]}
"#;

struct World {
    routes: Vec<Arc<Route>>,
    alice: Identity,
}

impl World {
    fn new() -> World {
        let no_file = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        let loaded = config::parse(FILE, "proxy.toml", &|_| None, &no_file).unwrap();
        World {
            routes: loaded.config.routes.clone(),
            alice: alice(),
        }
    }

    fn route(&self, path: &str) -> &Arc<Route> {
        let mut routes = self.routes.iter();
        routes.find(|route| route.path == path).unwrap()
    }

    fn view(&self, ask: Ask, path: &str) -> View<'_> {
        View {
            ask,
            place: Policies::of_route(self.route(path)),
            carrier: Carrier::default(),
            known: Known::Nothing,
            progress: CheckProgress::default(),
        }
    }

    fn admitted(&self) -> Known<'_> {
        Known::Admitted {
            identity: &self.alice,
            csrf: true,
        }
    }
}

fn alice() -> Identity {
    Identity {
        auth: "login".into(),
        user: "alice".into(),
        tenant: None,
        roles: vec!["user".into()],
        claims: json!({"sub": "alice"}).as_object().unwrap().clone(),
        expires: None,
        leeway: 0,
        token_id: None,
        issued: None,
        credential: [0; 32],
    }
}

/// Runs every step with success, and authentication with this result: the steps, and how it ends.
fn walk<'a>(mut view: View<'a>, known: Known<'a>) -> (Vec<Step>, String) {
    let mut steps = Vec::new();
    loop {
        let step = match check(&view) {
            PolicyDecision::Run(Step::Identity) => {
                view.known = known;
                Step::Identity
            }
            PolicyDecision::Run(step) | PolicyDecision::Count { step, .. } => step,
            end => return (steps, format!("{end:?}")),
        };
        view.progress.note(step);
        steps.push(step);
    }
}

const ASKS: [Ask; 9] = [
    Ask::Request,
    Ask::Tunnel,
    Ask::Session { json: false },
    Ask::Session { json: true },
    Ask::Hello,
    Ask::Sub,
    Ask::Req,
    Ask::Reading { csrf: true },
    Ask::Reading { csrf: false },
];

#[test]
fn each_ask_takes_its_steps_in_the_one_order() {
    use Step::*;
    let world = World::new();
    let others = [world.route("/open").clone()];
    let session = vec![
        Origin,
        Form,
        Handshakes,
        AddressConnections,
        Identity,
        Readings,
        UserRate,
        UserConnections,
        Rollout,
    ];
    let expected = [
        vec![Origin, Form, Identity, Csrf, Readings, UserRate],
        vec![
            Origin,
            Form,
            AddressConnections,
            Identity,
            Readings,
            UserRate,
            UserConnections,
        ],
        session.clone(),
        session,
        vec![Identity, UserConnections, Rollout],
        vec![
            Form,
            ConnectionRate,
            Route,
            Identity,
            Readings,
            UserRate,
            UserConnections,
            Rollout,
        ],
        vec![
            Form,
            Route,
            Identity,
            Csrf,
            Readings,
            UserRate,
            UserConnections,
            Rollout,
        ],
        vec![Identity, Csrf],
        vec![Identity],
    ];
    for (ask, expected) in ASKS.into_iter().zip(expected) {
        let mut view = world.view(ask, "/user");
        view.place.others = &others;
        let own = world.route("/ip").rate_limit.as_deref();
        view.carrier.rate_limit = own.filter(|_| matches!(ask, Ask::Sub | Ask::Req));
        let walked = walk(view, world.admitted());
        assert_eq!(walked, (expected, "Allow".into()), "{ask:?}");
        assert!(walked.0.is_sorted(), "{ask:?}");
    }
}

#[test]
fn limits_by_place_come_before_authentication() {
    let world = World::new();
    for path in ["/ip", "/route"] {
        for ask in ASKS {
            let (steps, end) = walk(world.view(ask, path), world.admitted());
            let at = |wanted| steps.iter().position(|step| *step == wanted);
            let counts = !matches!(ask, Ask::Hello | Ask::Reading { .. });
            assert_eq!(at(Step::PlaceRate).is_some(), counts, "{path} {ask:?}");
            assert!(at(Step::PlaceRate) < at(Step::Identity), "{path} {ask:?}");
            assert_eq!((at(Step::UserRate), &*end), (None, "Allow"));
        }
    }
}

#[test]
fn an_open_place_asks_no_authority() {
    let world = World::new();
    for ask in ASKS {
        let (steps, end) = walk(world.view(ask, "/open"), Known::Nothing);
        assert!(!steps.contains(&Step::Identity), "{ask:?}");
        assert_eq!(end, "Allow", "{ask:?}");
    }
}

#[test]
fn a_denied_client_gets_no_further() {
    let world = World::new();
    for denied in [
        AuthError::Missing,
        AuthError::Expired,
        AuthError::Revoked,
        AuthError::Unavailable(Duration::from_secs(1)),
    ] {
        for ask in ASKS {
            let (steps, end) = walk(world.view(ask, "/route"), Known::Denied(&denied));
            assert_eq!(steps.last(), Some(&Step::Identity), "{ask:?} {denied:?}");
            assert_eq!(end, format!("Deny(Denied({denied:?}))"), "{ask:?}");
        }
    }
}

#[test]
fn a_guess_counts_once_where_users_are_counted() {
    let world = World::new();
    let guess = AuthError::Invalid("bad".into());
    for ask in ASKS {
        let mut view = world.view(ask, "/user");
        view.known = Known::Denied(&guess);
        view.progress.note(Step::AddressConnections);
        let counted = check(&view);
        let has_no_user = matches!(
            &counted,
            PolicyDecision::Count { step: Step::UserRate, limit, user: None } if limit.name == "user"
        );
        assert!(has_no_user, "{ask:?} {counted:?}");
        view.progress.note(Step::UserRate);
        let end = check(&view);
        assert!(
            matches!(end, PolicyDecision::Deny(Reason::Denied(_))),
            "{ask:?}"
        );
    }
}

#[test]
fn a_hello_is_awaited_only_where_one_may_come() {
    let world = World::new();
    let missing = Known::Denied(&AuthError::Missing);
    for ask in ASKS {
        for path in ["/ip", "/user", "/route"] {
            let (steps, end) = walk(world.view(ask, path), missing);
            let is_awaited = ask == Ask::Session { json: true } && path != "/route";
            assert_eq!(end == "AwaitHello", is_awaited, "{ask:?} {path}");
            // Nothing is known yet that a user's connections or a rollout could go by.
            assert!(!steps.contains(&Step::UserConnections), "{ask:?} {path}");
            assert!(!(is_awaited && steps.contains(&Step::Rollout)), "{path}");
            let counts = is_awaited && path == "/user";
            assert_eq!(steps.contains(&Step::UserRate), counts, "{ask:?} {path}");
        }
    }
}

#[test]
fn a_websocket_needs_what_its_topic_will_want() {
    let world = World::new();
    for ask in ASKS {
        let (_, end) = walk(world.view(ask, "/editors"), world.admitted());
        assert_eq!(end, "Deny(Unfit(Role))", "{ask:?}");
        let (_, end) = walk(world.view(ask, "/shared"), world.admitted());
        let is_plain = matches!(ask, Ask::Request | Ask::Reading { .. });
        let unfit = PolicyDecision::Deny(Reason::Unfit(Unfit::Share("tenantId".into())));
        let expected = match is_plain {
            true => "Allow".to_owned(),
            false => format!("{unfit:?}"),
        };
        assert_eq!(end, expected, "{ask:?}");
    }
}

#[test]
fn a_subscription_counts_once_under_equal_limits() {
    let world = World::new();
    let cases = [
        ("/ip", "/ip", false, false),
        ("/ip", "/user", false, true),
        // Where the connection has no `auth`, only the route counts by user.
        ("/user", "/user", false, true),
        ("/user", "/user", true, false),
        ("/route", "/route", true, true),
    ];
    for (own, path, asks, counts) in cases {
        let mut view = world.view(Ask::Sub, path);
        view.carrier.rate_limit = world.route(own).rate_limit.as_deref();
        view.carrier.asks = asks;
        let (steps, _) = walk(view, world.admitted());
        assert!(steps.contains(&Step::ConnectionRate), "{own} {path}");
        let of_place = |step: &Step| matches!(step, Step::PlaceRate | Step::UserRate);
        assert_eq!(steps.iter().any(of_place), counts, "{own} {path} {asks}");
        view.carrier.is_single = true;
        let (steps, _) = walk(view, world.admitted());
        let counted = |step: &Step| *step == Step::ConnectionRate || of_place(step);
        assert!(!steps.iter().any(counted), "{own} {path}");
    }
}

#[test]
fn what_waited_for_an_authority_counts_nothing_again() {
    let world = World::new();
    for ask in ASKS {
        let mut view = world.view(ask, "/ip");
        while !matches!(check(&view), PolicyDecision::Run(Step::Identity)) {
            match check(&view) {
                PolicyDecision::Run(step) | PolicyDecision::Count { step, .. } => {
                    view.progress.note(step)
                }
                end => panic!("{ask:?}: {end:?}"),
            }
        }
        view.known = world.admitted();
        let (steps, end) = walk(view, world.admitted());
        let is_new = |step: &Step| *step > Step::Identity;
        assert!(steps.iter().all(is_new), "{ask:?} {steps:?}");
        assert_eq!(end, "Allow", "{ask:?}");
    }
}
