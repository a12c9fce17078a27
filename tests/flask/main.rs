//! Stories of the caption-progress application: a real Flask server that knows nothing of crossfade, and crossfade before it.
//! They need a Python with the example's packages: `CROSSFADE_FLASK_VENV` names its virtual environment (`make test` makes one).

mod client;
mod world;

use client::{JSON, Received, Socket};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use world::{Person, World};

#[tokio::test]
async fn a_task_is_followed_to_its_end() {
    let Some(world) = World::start("a_task_is_followed_to_its_end").await else {
        return;
    };
    let alice = world.login("alice").await;
    let task = world.start_task(&alice, 6, 1.5).await;

    let mut socket = Socket::open(
        &world,
        &format!("/api/progress_stream/{task}"),
        &alice,
        Some(JSON),
    )
    .await;
    assert_eq!(socket.next("welcome").await["v"], 1);
    let ok = socket.next("ok").await;
    assert_eq!(ok["id"], 0);

    let mut events = Vec::new();
    let end = loop {
        let frame = socket.frame().await;
        match frame["t"].as_str() {
            Some("ev") => events.push(frame),
            Some("end") => break frame,
            _ => assert_eq!(frame["t"], "state", "{frame}"),
        }
    };
    let (last, before) = events.split_last().expect("events");
    assert_eq!(last["e"], "task_completed");
    assert_eq!(last["id"], "7", "six steps after the first event");
    assert_eq!(last["d"]["progress_percent"], 100);
    assert!(
        before
            .iter()
            .all(|event| event["e"] == "progress_update" && event["d"]["task_id"] == task)
    );
    assert!(consecutive(&events), "{events:?}");
    assert_eq!((&end["ch"], &end["final"]), (&ok["ch"], &json!(true)));
    assert_eq!(socket.closed().await, 1000);
}

#[tokio::test]
async fn the_one_changed_line_is_enough() {
    let Some(world) = World::start("the_one_changed_line_is_enough").await else {
        return;
    };
    let alice = world.login("alice").await;
    let task = world.start_task(&alice, 4, 1.0).await;

    let mut plain = Socket::open(
        &world,
        &format!("/api/progress_stream/{task}"),
        &alice,
        None,
    )
    .await;
    let mut wrapped = Socket::open(
        &world,
        &format!("/api/progress_stream/{task}?cf_wrap=1"),
        &alice,
        None,
    )
    .await;
    let mut documents = Vec::new();
    while let Received::Text(document) = plain.receive().await {
        documents.push(document);
    }
    assert_eq!(documents.last().expect("documents")["state"], "completed");
    let mut names = Vec::new();
    let code = loop {
        match wrapped.receive().await {
            Received::Text(message) => {
                names.push(message["e"].as_str().expect("a name").to_owned())
            }
            Received::Closed(code) => break code,
        }
    };
    assert_eq!(names.last().expect("names"), "task_completed");
    assert_eq!(code, 1000);
}

#[tokio::test]
async fn a_client_that_comes_back_misses_nothing() {
    let Some(world) = World::start("a_client_that_comes_back_misses_nothing").await else {
        return;
    };
    let alice = world.login("alice").await;
    let task = world.start_task(&alice, 12, 3.0).await;
    let path = format!("/api/progress_stream/{task}");

    let mut first = Socket::multiplexed(&world, &alice).await;
    first.send(json!({"t": "sub", "id": 1, "path": path})).await;
    first.next("ok").await;
    let mut events = vec![first.next("ev").await, first.next("ev").await];
    drop(first);

    // A while without anybody: the sidecar goes on reading.
    let status = format!("/api/tasks/{task}");
    while world.call(Method::GET, &status, &alice, None).await.json()["progress_percent"].as_u64()
        < Some(70)
    {}

    let mut second = Socket::multiplexed(&world, &alice).await;
    second
        .send(json!({"t": "sub", "id": 1, "path": path, "after": events[1]["o"]}))
        .await;
    assert_eq!(second.next("ok").await["recovered"], true);
    loop {
        events.push(second.next("ev").await);
        if events
            .last()
            .is_some_and(|event| event["e"] == "task_completed")
        {
            break;
        }
    }
    assert!(consecutive(&events), "{events:?}");
    assert_eq!(second.next("end").await["final"], true);
}

#[tokio::test]
async fn a_task_is_cancelled_over_the_socket() {
    let Some(world) = World::start("a_task_is_cancelled_over_the_socket").await else {
        return;
    };
    let alice = world.login("alice").await;
    let task = world.start_task(&alice, 10, 600.0).await;
    let cancel = format!("/api/tasks/{task}/cancel");

    let mut socket = Socket::multiplexed(&world, &alice).await;
    socket
        .send(json!({"t": "sub", "id": 1, "path": format!("/api/tasks/{task}")}))
        .await;
    let polled = socket.next("ok").await["ch"].clone();
    assert_eq!(socket.next("snap").await["d"]["state"], "running");
    socket
        .send(json!({"t": "sub", "id": 2, "path": format!("/api/progress_stream/{task}")}))
        .await;
    let followed = socket.next("ok").await["ch"].clone();
    assert_eq!(socket.next("ev").await["d"]["state"], "running");

    // The application's own rule reaches the client as its own answer.
    socket
        .send(json!({"t": "req", "id": 3, "method": "POST", "path": cancel}))
        .await;
    assert_eq!(socket.next("res").await["status"], 403);

    socket.send(json!({"t": "req", "id": 4, "method": "POST", "path": cancel, "headers": {"x-csrftoken": alice.csrf()}})).await;
    // The answer and the events that it causes come over different upstream connections, so in any order.
    let (mut answered, mut told, mut ended, mut noticed) = (false, false, false, false);
    while !(answered && told && ended && noticed) {
        let frame = socket.frame().await;
        match frame["t"].as_str() {
            Some("res") => {
                assert_eq!(
                    (&frame["id"], &frame["status"], &frame["d"]["state"]),
                    (&json!(4), &json!(200), &json!("cancelled"))
                );
                answered = true;
            }
            Some("ev") if frame["ch"] == followed => {
                assert_eq!(frame["e"], "task_cancelled");
                told = true;
            }
            Some("ev") if frame["ch"] == polled => {
                assert_eq!(frame["d"]["state"], "cancelled");
                noticed = true;
            }
            Some("end") => {
                assert!(told, "the final event comes first");
                assert_eq!((&frame["ch"], &frame["final"]), (&followed, &json!(true)));
                ended = true;
            }
            _ => assert!(frame["t"] == "state" || frame["t"] == "ping", "{frame}"),
        }
    }
}

#[tokio::test]
async fn another_users_task_is_refused() {
    let Some(world) = World::start("another_users_task_is_refused").await else {
        return;
    };
    let (alice, bob, ada) = (
        world.login("alice").await,
        world.login("bob").await,
        world.login("ada").await,
    );
    let task = world.start_task(&alice, 10, 600.0).await;
    let (stream, document) = (
        format!("/api/progress_stream/{task}"),
        format!("/api/tasks/{task}"),
    );

    // The owner's stream and document are open: what the sidecar holds for alice is not given to bob.
    let mut owner = Socket::multiplexed(&world, &alice).await;
    for path in [&stream, &document] {
        owner.send(json!({"t": "sub", "id": 1, "path": path})).await;
        owner.next("ok").await;
        let first = owner.frame().await;
        assert!(first["t"] == "ev" || first["t"] == "snap", "{first}");
    }

    for path in [&stream, &document] {
        let refused = refusal(&world, &bob, path).await;
        assert_eq!(
            (&refused["code"], &refused["status"]),
            (&json!("forbidden"), &json!(403))
        );
        assert_eq!(
            refusal(&world, &Person::default(), path).await["code"],
            "unauthorized"
        );
        assert_eq!(
            Socket::open(&world, path, &bob, None).await.closed().await,
            4003
        );
        let mut single = Socket::open(&world, path, &bob, Some(JSON)).await;
        single.next("welcome").await;
        assert_eq!(single.next("err").await["code"], "forbidden");
        assert_eq!(single.closed().await, 4003);
    }
    assert_eq!(
        refusal(&world, &alice, "/api/tasks/999999").await["code"],
        "not_found"
    );

    let mut socket = Socket::multiplexed(&world, &bob).await;
    let cancel = json!({"t": "req", "id": 1, "method": "POST", "path": format!("{document}/cancel"), "headers": {"x-csrftoken": bob.csrf()}});
    socket.send(cancel).await;
    assert_eq!(socket.next("res").await["status"], 403);

    // An administrator may look.
    let mut socket = Socket::multiplexed(&world, &ada).await;
    socket
        .send(json!({"t": "sub", "id": 1, "path": stream}))
        .await;
    socket.next("ok").await;
    assert_eq!(socket.next("ev").await["d"]["owner"], "alice");
}

#[tokio::test]
async fn a_foreign_page_cannot_use_the_cookie() {
    let Some(world) = World::start("a_foreign_page_cannot_use_the_cookie").await else {
        return;
    };
    let alice = world.login("alice").await;
    let task = world.start_task(&alice, 2, 600.0).await;
    for (path, protocol) in [
        (format!("/api/progress_stream/{task}"), None),
        ("/_crossfade/ws".to_owned(), Some(JSON)),
    ] {
        let refused =
            Socket::open_from(&world, &path, &alice, protocol, "https://evil.example").await;
        assert_eq!(refused.err(), Some(StatusCode::FORBIDDEN));
    }
}

#[tokio::test]
async fn the_dashboard_is_for_administrators() {
    let Some(world) = World::start("the_dashboard_is_for_administrators").await else {
        return;
    };
    let (ada, bob) = (world.login("ada").await, world.login("bob").await);
    assert_eq!(
        refusal(&world, &bob, "/admin/stream").await["code"],
        "forbidden"
    );

    let mut socket = Socket::multiplexed(&world, &ada).await;
    socket
        .send(json!({"t": "sub", "id": 1, "path": "/admin/stream"}))
        .await;
    socket.next("ok").await;
    world.start_task(&bob, 2, 600.0).await;
    let mut seen = Vec::new();
    while !["system_metrics_update", "job_update"]
        .iter()
        .all(|name| seen.iter().any(|e| e == name))
    {
        seen.push(socket.next("ev").await["e"].clone());
    }
}

#[tokio::test]
async fn all_viewers_share_the_maintenance_stream() {
    let Some(world) = World::start("all_viewers_share_the_maintenance_stream").await else {
        return;
    };
    let (ada, alice) = (world.login("ada").await, world.login("alice").await);
    let mut viewers = Vec::new();
    for person in [&Person::default(), &alice, &ada] {
        let mut socket = Socket::multiplexed(&world, person).await;
        socket
            .send(json!({"t": "sub", "id": 1, "path": "/maintenance/stream"}))
            .await;
        socket.next("ok").await;
        // Each sees what the stream began with, as it would on a connection of its own; the head that answers a `sub`
        // may be there well before it.
        assert_eq!(socket.next("ev").await["d"]["active"], false);
        viewers.push(socket);
    }

    let topics = world.admin("/v1/topics").await;
    assert_eq!(
        (&topics["total"], &topics["topics"][0]["subscribers"]),
        (&json!(1), &json!(3)),
        "{topics}"
    );

    let notice = json!({"active": true, "message": "Back at 18:00"});
    assert_eq!(
        world
            .call(Method::POST, "/admin/maintenance", &ada, Some(&notice))
            .await
            .status,
        200
    );
    for viewer in &mut viewers {
        let event = viewer.next("ev").await;
        assert_eq!(
            (&event["e"], &event["d"]),
            (&json!("maintenance_status"), &notice)
        );
    }
}

#[tokio::test]
async fn the_old_page_works_as_before() {
    let Some(world) = World::start("the_old_page_works_as_before").await else {
        return;
    };
    let alice = world.login("alice").await;
    let page = world.call(Method::GET, "/", &alice, None).await;
    assert!(
        page.content_type.starts_with("text/html")
            && page.body.windows(5).any(|part| part == b"alice")
    );

    let task = world.start_task(&alice, 3, 0.3).await;
    let stream = world
        .call(
            Method::GET,
            &format!("/api/progress_stream/{task}"),
            &alice,
            None,
        )
        .await;
    assert_eq!(stream.content_type, "text/event-stream; charset=utf-8");
    let text = String::from_utf8(stream.body.to_vec()).expect("text");
    assert!(text.contains("event: task_completed\n"), "{text}");

    // The position with which a rollback hands a client to the old page: it has everything, so it is told to stay away.
    let path = format!("/api/progress_stream/{task}?cf_last_event_id=4");
    assert_eq!(
        world.call(Method::GET, &path, &alice, None).await.status,
        204
    );

    assert_eq!(
        world
            .call(Method::POST, "/logout", &alice, Some(&json!({})))
            .await
            .status,
        200
    );
    assert_eq!(
        world
            .call(
                Method::GET,
                &format!("/api/tasks/{task}"),
                &Person::default(),
                None
            )
            .await
            .status,
        401
    );
}

/// The `err` that a subscription gets.
async fn refusal(world: &World, person: &Person, path: &str) -> Value {
    let mut socket = Socket::multiplexed(world, person).await;
    socket
        .send(json!({"t": "sub", "id": 1, "path": path}))
        .await;
    socket.next("err").await
}

/// Whether positions rise, and the application's own ids rise by one each.
fn consecutive(events: &[Value]) -> bool {
    let id = |event: &Value| event["id"].as_str().and_then(|id| id.parse::<u64>().ok());
    let offset = |event: &Value| {
        event["o"]
            .as_str()
            .and_then(|o| o.rsplit_once('-')?.1.parse::<u64>().ok())
    };
    events.windows(2).all(|pair| {
        id(&pair[1]) == id(&pair[0]).map(|id| id + 1) && offset(&pair[1]) > offset(&pair[0])
    })
}
