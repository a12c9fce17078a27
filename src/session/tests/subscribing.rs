//! `sub`, `unsub`, and what can be wrong with them.

use std::time::Duration;

use super::FILE;
use super::support::{World, event, first_document};
use crate::error::Code;
use crate::event::End;
use crate::hub::Scope;
use crate::session::accepted::example;

fn refused(code: Code) -> End {
    End {
        code,
        status: code.status(),
        retry_ms: None,
        is_final: false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_answered_at_its_first_head_and_then_live() {
    let mut world = World::new(FILE);
    let mut client = world.join().await;
    let (feed, ok) = client
        .subscribe(&mut world, "/stream?b=2", |feed| feed.opened())
        .await;
    assert_eq!(feed.target().url, "/stream?b=2");
    assert_eq!((&ok["id"], &ok["recovered"]), (&1.into(), &false.into()));
    feed.events(vec![
        event("tick", "1", r#"{"n": 1}"#),
        event("", "", "plain"),
    ]);
    let ch = ok["ch"].as_u64().expect("a number");
    let epoch = ok["at"].as_str().and_then(|at| at.split('-').next());
    let epoch = epoch.expect("an epoch");
    assert_eq!(
        client.read_text().await,
        format!(r#"{{"t":"ev","ch":{ch},"o":"{epoch}-1","id":"1","e":"tick","d":{{"n": 1}}}}"#)
    );
    assert_eq!(
        client.read_text().await,
        format!(r#"{{"t":"ev","ch":{ch},"o":"{epoch}-2","x":"plain"}}"#)
    );
    let listed = world.shared.sessions.list().await;
    let sub = &listed[0].subscriptions[0];
    assert_eq!((&*sub.route, &*sub.path), ("stream", "/stream?b=2"));
    assert_eq!(sub.at.offset, 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_answered_after_a_second_and_said_to_be_stale() {
    let mut world = World::new(FILE);
    let mut client = world.join().await;
    let began = tokio::time::Instant::now();
    let (feed, ok) = client.subscribe(&mut world, "/stream", |_| {}).await;
    assert_eq!(began.elapsed().as_secs(), 1);
    let state = client.read().await;
    assert_eq!((&state["t"], &state["ch"]), (&"state".into(), &ok["ch"]));
    assert_eq!(state["live"], false);
    feed.opened();
    let state = client.read().await;
    assert_eq!(
        (&state["t"], &state["live"]),
        (&"state".into(), &true.into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_polled_route_sends_its_document_first() {
    let mut world = World::new(FILE);
    let mut client = world.join().await;
    let (_feed, ok) = client
        .subscribe(&mut world, "/list", |feed| first_document(feed, "[1]"))
        .await;
    let snap = client.read().await;
    assert_eq!(snap["t"], "snap");
    assert_eq!((&snap["ch"], &snap["d"][0]), (&ok["ch"], &1.into()));
    let mut late = world.join().await;
    late.send(r#"{"t":"sub","id":5,"path":"/list"}"#).await;
    let ok = late.read().await;
    assert_eq!((&ok["t"], &ok["at"]), (&"ok".into(), &snap["o"]));
    assert_eq!(late.read().await, snap);
}

#[tokio::test(start_paused = true)]
async fn what_the_backend_refuses_is_the_answer() {
    let mut world = World::new(FILE);
    for code in [
        Code::Unauthorized,
        Code::Forbidden,
        Code::NotFound,
        Code::Internal,
    ] {
        let mut client = world.join().await;
        client.send(r#"{"t":"sub","id":9,"path":"/stream"}"#).await;
        world.feed().await.end(refused(code));
        let answer = client.read().await;
        assert_eq!((&answer["t"], &answer["id"]), (&"err".into(), &9.into()));
        assert_eq!(answer["code"], code.as_str());
        assert!(
            world.shared.sessions.list().await[0]
                .subscriptions
                .is_empty()
        );
        drop(client);
        world.shared.sessions.gone().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_comes_before_the_gap_of_a_second_request() {
    let mut world = World::new(FILE);
    for (path, begin) in [
        ("/stream", r#""after":"zz-3""#),
        ("/list", r#""after":"zz-3""#),
        ("/list", r#""last_event_id":"7""#),
    ] {
        let mut client = world.join().await;
        let sub = format!(r#"{{"t":"sub","id":9,"path":"{path}",{begin}}}"#);
        client.send(&sub).await;
        world.feed().await.end(refused(Code::Forbidden));
        let answer = client.read().await;
        assert_eq!(
            (&answer["t"], &answer["code"]),
            (&"err".into(), &"forbidden".into())
        );
        drop(client);
        world.shared.sessions.gone().await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_answer_a_refusal_is_the_end() {
    let mut world = World::new(FILE);
    let mut client = world.join().await;
    let (feed, ok) = client
        .subscribe(&mut world, "/stream", |feed| feed.opened())
        .await;
    feed.events(vec![event("last", "", "1")]);
    feed.end(End {
        is_final: true,
        retry_ms: Some(3000),
        ..refused(Code::UpstreamClosed)
    });
    assert_eq!(client.read().await["e"], "last");
    let end = client.read().await;
    assert_eq!((&end["t"], &end["ch"]), (&"end".into(), &ok["ch"]));
    assert_eq!(end["code"], "upstream_closed");
    assert_eq!(
        (&end["retry_ms"], &end["final"]),
        (&3000.into(), &true.into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_over_at_once_is_told_whole() {
    let mut world = World::new(FILE);
    let mut client = world.join().await;
    client.send(r#"{"t":"sub","id":9,"path":"/stream"}"#).await;
    let feed = world.feed().await;
    feed.opened();
    feed.events(vec![event("done", "", "1")]);
    feed.end(refused(Code::UpstreamClosed));
    for kind in ["ok", "ev", "end"] {
        assert_eq!(client.read().await["t"], kind);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_nothing_to_say_just_ends() {
    let mut world = World::new(FILE);
    let mut client = world.join().await;
    client.send(r#"{"t":"sub","id":9,"path":"/stream"}"#).await;
    world.feed().await.end(End {
        is_final: true,
        ..refused(Code::UpstreamClosed)
    });
    assert_eq!(client.read().await["t"], "ok");
    let end = client.read().await;
    assert_eq!((&end["t"], &end["final"]), (&"end".into(), &true.into()));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_subscribed_to_is_refused_by_name() {
    let mut world = World::new(FILE);
    let mut client = world.join().await;
    let (_feed, _) = client
        .subscribe(&mut world, "/stream", |feed| feed.opened())
        .await;
    for (wish, code) in [
        (r#""path":"/stream""#, "conflict"),
        (r#""path":"/str%65am""#, "conflict"),
        (r#""path":"/stream?cf_after=k3-1""#, "conflict"),
        (r#""path":"/unbridged""#, "not_found"),
        (r#""path":"/a/../stream""#, "bad_frame"),
        (r#""path":"stream""#, "bad_frame"),
        (r#""path":"/stream?a b""#, "bad_frame"),
        (r#""path":"/list","filter":{"severity":["x"]}"#, "bad_frame"),
        (r#""path":"/stream","filter":{"id":[1]}"#, "bad_frame"),
    ] {
        client
            .send(&format!(r#"{{"t":"sub","id":2,{wish}}}"#))
            .await;
        let answer = client.read().await;
        assert_eq!(answer["code"], code, "{wish}: {answer}");
        assert_eq!(answer["id"], 2);
    }
}

#[tokio::test(start_paused = true)]
async fn there_is_a_limit_and_an_end_to_patience() {
    let mut world = World::new(&format!("[websocket]\nmax_subs = 1\n{FILE}"));
    let mut client = world.join().await;
    client
        .subscribe(&mut world, "/stream", |feed| feed.opened())
        .await;
    for _ in 0..100 {
        client.send(r#"{"t":"sub","id":2,"path":"/other"}"#).await;
        let refused = client.read().await;
        assert_eq!(refused["code"], "too_many_subs");
        assert_eq!(refused["status"], 429);
    }
    client.send(r#"{"t":"sub","id":2,"path":"/other"}"#).await;
    assert_eq!(client.closed().await.0, 4129);
}

#[tokio::test(start_paused = true)]
async fn unsub_ends_it_and_the_way_is_free_again() {
    let mut world = World::new(FILE);
    let mut client = world.join().await;
    let (feed, ok) = client
        .subscribe(&mut world, "/stream", |feed| feed.opened())
        .await;
    client
        .send(&format!(r#"{{"t":"unsub","id":2,"ch":{}}}"#, ok["ch"]))
        .await;
    assert_eq!(client.read_text().await, r#"{"t":"ok","id":2}"#);
    feed.events(vec![event("", "7", "1")]);
    client.stays_silent().await;
    let after = ok["at"].as_str().expect("a position");
    client
        .send(&format!(
            r#"{{"t":"sub","id":3,"path":"/stream","after":"{after}"}}"#
        ))
        .await;
    let again = client.read().await;
    assert_eq!(
        (&again["ch"], &again["recovered"]),
        (&ok["ch"], &true.into())
    );
    assert_eq!(client.read().await["id"], "7");
}

#[tokio::test(start_paused = true)]
async fn a_position_of_another_epoch_is_a_gap_from_there() {
    let mut world = World::new(FILE);
    let mut client = world.join().await;
    for after in [
        "zz-3",
        "zz-03",
        "deadbeef-7",
        "K3-1",
        "k3-99999999999999999999",
    ] {
        client
            .send(&format!(
                r#"{{"t":"sub","id":3,"path":"/list","after":"{after}","last_event_id":"1"}}"#
            ))
            .await;
        if after == "zz-3" {
            first_document(&world.feed().await, "[]");
        }
        let ok = client.read().await;
        assert_eq!(ok["recovered"], false);
        let gap = client.read().await;
        assert_eq!((&gap["t"], &gap["why"]), (&"gap".into(), &"epoch".into()));
        assert_eq!(gap["from"], after);
        assert_eq!(client.read().await["t"], "snap");
        client
            .send(&format!(r#"{{"t":"unsub","id":4,"ch":{}}}"#, ok["ch"]))
            .await;
        client.read().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_position_at_all_is_refused() {
    let world = World::new(FILE);
    let mut client = world.join().await;
    let long = format!("k3-{}", "1".repeat(100));
    for after in [
        "junk", "", "-", "k3-", "-3", "k3-x", "k 3-1", "k-3-1", &long,
    ] {
        client
            .send(&format!(
                r#"{{"t":"sub","id":3,"path":"/list","after":"{after}"}}"#
            ))
            .await;
        let refused = client.read().await;
        assert_eq!(
            (&refused["id"], &refused["code"]),
            (&3.into(), &"bad_frame".into()),
            "{after}"
        );
    }
    assert!(world.shared.hub.topics().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_new_token_is_another_principal_for_later_subs_only() {
    let mut world = World::new(FILE);
    let mut client = world.join().await;
    let (first, _) = client
        .subscribe(&mut world, "/stream", |feed| feed.opened())
        .await;
    client.send(r#"{"t":"auth","id":2,"token":"secret"}"#).await;
    client.read().await;
    let (second, _) = client
        .subscribe(&mut world, "/other", |feed| feed.opened())
        .await;
    assert_eq!(first.credentials().authorization, None);
    let authorization = second.credentials().authorization;
    assert_eq!(authorization.expect("a token"), "Bearer secret");
    let (Scope::User(a), Scope::User(b)) = (first.target().scope, second.target().scope) else {
        panic!("not of users");
    };
    assert_ne!(a, b);
}

#[tokio::test(start_paused = true)]
async fn a_filter_hides_what_was_not_asked_for() {
    let mut world = World::new(FILE);
    let mut client = world.connect(example()).await;
    client.read().await;
    client
        .send(r#"{"t":"sub","id":1,"path":"/stream","filter":{"event":["alert"],"severity":["high"]}}"#)
        .await;
    let feed = world.feed().await;
    feed.opened();
    feed.events(vec![
        event("alert", "1", r#"{"severity":"low"}"#),
        event("alert", "2", r#"{"severity":"high"}"#),
        event("other", "3", r#"{"severity":"high"}"#),
    ]);
    client.read().await;
    assert_eq!(client.read().await["id"], "2");
    client.stays_silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_leaves_its_topics() {
    let mut world = World::new(FILE);
    let mut client = world.join().await;
    let (_feed, _) = client
        .subscribe(&mut world, "/stream", |feed| feed.opened())
        .await;
    assert_eq!(world.shared.hub.topics()[0].subscribers, 1);
    drop(client);
    tokio::time::timeout(Duration::from_secs(5), world.shared.sessions.gone())
        .await
        .expect("gone");
    assert_eq!(world.shared.hub.topics()[0].subscribers, 0);
}
