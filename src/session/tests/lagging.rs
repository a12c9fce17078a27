//! Clients that take too little, and clients that only seem to.

use std::time::Duration;

use super::FILE;
use super::delivering::{offsets, stream};
use super::support::{Client, World, document, event, first_document};
use crate::hub::Publisher;
use crate::session::accepted::{SingleForm, example};

/// A client that does not read, and falls further behind than it may.
async fn lagging(
    world: &mut World,
    path: &str,
    begin: impl FnOnce(&Publisher),
) -> (Client, Publisher) {
    let mut client = world.connect_narrow(example(), 1024).await;
    client.read().await;
    let (feed, _) = client.subscribe(world, path, begin).await;
    publish_all(&feed, path, 0..1000).await;
    (client, feed)
}

async fn publish_all(feed: &Publisher, path: &str, numbers: std::ops::Range<u32>) {
    for n in numbers {
        let data = format!("\"{n:0>300}\"");
        match path {
            "/document" => document(feed, &data, vec![event("", "", &data)]),
            _ => feed.events(vec![event("", "", &data)]),
        }
        tokio::task::yield_now().await;
    }
}

/// As long as a client may take next to nothing, and a moment.
async fn too_long() {
    tokio::time::sleep(Duration::from_millis(10_100)).await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_comes_whole_to_a_client_that_reads() {
    let mut world = World::new(FILE);
    let (mut client, feed, _) = stream(&mut world, "/stream").await;
    let (mut quiet, other, _) = stream(&mut world, "/other").await;
    client.send(r#"{"t":"sub","id":2,"path":"/other"}"#).await;
    assert_eq!(client.read().await["t"], "ok");
    let mut raw = world
        .connect_narrow(
            world.single("/stream", SingleForm::Raw { wrap: false }),
            4096,
        )
        .await;
    tokio::task::yield_now().await;
    while world.shared.hub.topics()[1].subscribers < 2 {
        tokio::task::yield_now().await;
    }
    // One write of the backend, three that are large each, and so many that no window holds them.
    let small = |n: u64| event("", "", &n.to_string());
    feed.events((1..=600).map(small).collect());
    let large = format!("\"{}\"", "x".repeat(700_000));
    for _ in 601..=603 {
        feed.events(vec![event("", "", &large)]);
    }
    feed.events((604..=50_000).map(small).collect());
    assert_eq!(
        offsets(&mut client, 50_000).await,
        (1..=50_000).collect::<Vec<_>>()
    );
    for n in 1..=50_000u64 {
        let text = raw.read_text().await;
        assert!((601..=603).contains(&n) || text == n.to_string(), "{n}");
    }
    // What is quiet on the same connection goes on.
    other.events(vec![event("", "", "1")]);
    assert_eq!(offsets(&mut client, 1).await, [1]);
    assert_eq!(offsets(&mut quiet, 1).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_a_little_all_the_time_stays() {
    let mut world = World::new(FILE);
    let (mut client, feed) = lagging(&mut world, "/stream", |feed| feed.opened()).await;
    publish_all(&feed, "/stream", 1000..2000).await;
    // About 8 KiB in a second.
    for round in 0..80u64 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let expected: Vec<u64> = (round * 25 + 1..=round * 25 + 25).collect();
        assert_eq!(offsets(&mut client, 25).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn time_behind_counts_only_while_it_lasts() {
    let mut world = World::new(FILE);
    let (mut client, feed) = lagging(&mut world, "/stream", |feed| feed.opened()).await;
    for round in 1..=5u64 {
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert_eq!(
            offsets(&mut client, 1000).await.last(),
            Some(&(round * 1000))
        );
        publish_all(&feed, "/stream", 0..1000).await;
    }
    too_long().await;
    assert_eq!(client.closed().await.0, 4113);
}

#[tokio::test(start_paused = true)]
async fn short_memory_takes_from_clients_that_take_nothing() {
    let mut world = World::new(FILE);
    let (mut client, feed, _) = stream(&mut world, "/stream").await;
    let raw = world.single("/stream", SingleForm::Raw { wrap: false });
    let mut raw = world.connect_narrow(raw, 4096).await;
    while world.shared.hub.topics()[0].subscribers < 2 {
        tokio::task::yield_now().await;
    }
    let large = format!("\"{}\"", "x".repeat(900_000));
    // More than `limits.memory`: the client that reads gets all of it.
    feed.events((0..100).map(|_| event("", "", &large)).collect());
    let expected: Vec<u64> = (1..=100).collect();
    assert_eq!(offsets(&mut client, 100).await, expected);
    // The one that takes nothing pays for it as soon as it has had time to read.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    feed.events(vec![event("", "", "1")]);
    assert_eq!(offsets(&mut client, 1).await, [101]);
    assert!(world.shared.hub.held() <= 64 << 20);
    assert_eq!(raw.closed().await.0, 4113);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_closed_with_what_it_has_in_order() {
    let mut world = World::new(FILE);
    let (mut client, _feed) = lagging(&mut world, "/stream", |feed| feed.opened()).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(world.shared.sessions.list().await[0].subscriptions.len(), 1);
    // It reads on before it would count as lost.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(
        world.shared.sessions.list().await[0]
            .subscriptions
            .is_empty()
    );
    assert_eq!(client.closed().await.0, 4113);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stopped_for_good_is_let_go() {
    let mut world = World::new(FILE);
    let began = tokio::time::Instant::now();
    let (_client, _feed) = lagging(&mut world, "/stream", |feed| feed.opened()).await;
    world.shared.sessions.gone().await;
    assert!(began.elapsed() <= Duration::from_secs(46));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_speaks_and_takes_nothing_is_closed() {
    let world = World::new(FILE);
    let mut client = world.connect_narrow(example(), 1024).await;
    client.read().await;
    let began = tokio::time::Instant::now();
    // It has no subscription. Answers to these fill the pipe.
    for _ in 0..100 {
        client.send(r#"{"t":"ping"}"#).await;
    }
    let speaks = async {
        loop {
            client.send(r#"{"t":"pong"}"#).await;
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
    };
    tokio::select! {
        () = world.shared.sessions.gone() => {}
        () = speaks => {}
    }
    let after = began.elapsed().as_secs();
    assert!((30..=34).contains(&after), "{after}");
    let metrics = world.shared.telemetry.render();
    assert!(metrics.contains(r#"crossfade_slow_closes_total{route="-"} 1"#));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_of_a_lenient_route_gets_one_gap() {
    let mut world = World::new(FILE);
    let (mut client, feed) = lagging(&mut world, "/other", |feed| feed.opened()).await;
    too_long().await;
    publish_all(&feed, "/other", 1000..2000).await;
    feed.events(vec![event("end", "", "0")]);
    let (mut last, mut gaps) = (0, 0);
    loop {
        let frame = client.read().await;
        let number = |member: &str| -> u64 {
            let text = frame[member].as_str().unwrap_or_default();
            text.split('-')
                .nth(1)
                .unwrap_or_default()
                .parse()
                .unwrap_or_default()
        };
        if frame["t"] == "gap" {
            gaps += 1;
            assert_eq!(frame["why"], "slow");
            assert_eq!(number("from"), last);
            last = number("to");
        } else {
            assert_eq!(number("o"), last + 1);
            last += 1;
        }
        if frame["e"] == "end" {
            break;
        }
    }
    assert_eq!((gaps, last), (1, 2001));
}

#[tokio::test(start_paused = true)]
async fn a_slow_raw_reader_of_a_polled_list_just_gets_the_document() {
    let mut world = World::new(FILE);
    let raw = world.single("/list", SingleForm::Raw { wrap: false });
    let mut client = world.connect_narrow(raw, 1024).await;
    let feed = world.feed().await;
    first_document(&feed, "0");
    for n in 1..=1000 {
        let item = format!(r#"{{"id":{n},"pad":"{n:0>300}"}}"#);
        document(&feed, &n.to_string(), vec![event("created", "", &item)]);
        tokio::task::yield_now().await;
    }
    too_long().await;
    for n in 1001..=2001 {
        document(&feed, &n.to_string(), vec![event("created", "", "{}")]);
    }
    while client.read_text().await != "2001" {}
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_of_documents_gets_the_newest() {
    let mut world = World::new(FILE);
    let begin = |feed: &Publisher| first_document(feed, "0");
    let (mut client, _feed) = lagging(&mut world, "/document", begin).await;
    too_long().await;
    loop {
        let frame = client.read().await;
        assert_ne!(frame["t"], "gap", "{frame}");
        if frame["d"] == format!("{:0>300}", 999) {
            assert_eq!(frame["t"], "snap");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_replay_is_no_slowness() {
    let mut world = World::new(FILE);
    let (mut first, feed, _) = stream(&mut world, "/stream").await;
    let data = format!("\"{}\"", "x".repeat(300));
    for _ in 0..900 {
        feed.events(vec![event("", "", &data)]);
        first.read().await;
    }
    let ok_at = world.shared.hub.topics()[0].at;
    let after = ok_at.to_string().replace("-900", "-100");
    let mut late = world.connect_narrow(example(), 1024).await;
    late.read().await;
    late.send(&format!(
        r#"{{"t":"sub","id":1,"path":"/stream","after":"{after}"}}"#
    ))
    .await;
    // It does not read at first, and what comes meanwhile is within its allowance.
    for _ in 0..50 {
        feed.events(vec![event("", "", &data)]);
        tokio::task::yield_now().await;
    }
    assert_eq!(late.read().await["recovered"], true);
    let expected: Vec<u64> = (101..=950).collect();
    assert_eq!(offsets(&mut late, 850).await, expected);
}
