//! The connection itself: welcome, answers, heartbeats, what closes it.

use std::time::Duration;

use futures_util::StreamExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::FILE;
use super::support::{World, over, over_behind};
use crate::session::accepted::example;

#[tokio::test(start_paused = true)]
async fn the_first_frame_is_the_welcome() {
    let world = World::new(FILE);
    let mut client = world.connect(example()).await;
    let welcome = client.read().await;
    assert_eq!(welcome["t"], "welcome");
    assert_eq!(welcome["v"], 1);
    assert_eq!(welcome["conn"], "node-1");
    assert_eq!(welcome["node"], "node");
    assert_eq!(welcome["ping_ms"], 25_000);
    assert_eq!(welcome["timeout_ms"], 20_000);
    assert_eq!(welcome["max_bytes"], 65_536);
    assert_eq!(welcome["max_subs"], 64);
    let listed = world.shared.sessions.list().await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, "node-1");
    assert_eq!(listed[0].remote, "192.0.2.7");
}

#[tokio::test(start_paused = true)]
async fn bytes_behind_the_handshake_are_read() {
    let world = World::new(FILE);
    // A masked text frame with the key 0: {"t":"ping"}.
    let mut frame = vec![0x81, 0x80 | 12, 0, 0, 0, 0];
    frame.extend_from_slice(br#"{"t":"ping"}"#);
    let (near, far) = tokio::io::duplex(4096);
    tokio::spawn(crate::session::run(
        over_behind(near, &frame),
        example(),
        world.shared.in_force.load_full(),
        world.shared.clone(),
    ));
    let mut client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
    for word in ["welcome", "pong"] {
        let message = client
            .next()
            .await
            .expect("not the end")
            .expect("a message");
        let frame = format!(r#"{{"t":"{word}""#);
        assert!(message.to_string().starts_with(&frame), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn pings_hellos_and_tokens_are_answered() {
    let world = World::new(FILE);
    let mut client = world.join().await;
    client.send(r#"{"t":"ping"}"#).await;
    assert_eq!(client.read_text().await, r#"{"t":"pong"}"#);
    client.send(r#"{"t":"hello","token":"a"}"#).await;
    client.send(r#"{"t":"hello","id":7,"token":"b"}"#).await;
    assert_eq!(client.read_text().await, r#"{"t":"ok","id":7}"#);
    client.send(r#"{"t":"auth","id":8,"token":"c"}"#).await;
    assert_eq!(client.read_text().await, r#"{"t":"ok","id":8}"#);
    client
        .send("{\"t\":\"auth\",\"id\":9,\"token\":\"c\\n\"}")
        .await;
    let refused = client.read().await;
    assert_eq!(
        (&refused["t"], &refused["code"]),
        (&"err".into(), &"bad_frame".into())
    );
}

#[tokio::test(start_paused = true)]
async fn malformed_frame_is_answered_and_the_connection_stays() {
    let world = World::new(FILE);
    let mut client = world.join().await;
    client.send(r#"{"t":"jump","id":3}"#).await;
    let refused = client.read().await;
    assert_eq!(refused["t"], "err");
    assert_eq!(refused["id"], 3);
    assert_eq!(refused["code"], "bad_frame");
    assert_eq!(refused["status"], 400);
    client.send(r#"{"t":"unsub","id":4,"ch":99}"#).await;
    assert_eq!(client.read().await["code"], "not_found");
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_bad_message_has_its_close_code() {
    let world = World::new(FILE);
    let long = "x".repeat(70_000);
    for (message, code) in [
        (Message::text("hello"), 4000),
        (Message::text("[]"), 4000),
        (Message::binary(&b"{}"[..]), 4000),
        (Message::text(long), 4009),
    ] {
        let mut client = world.join().await;
        client.send_message(message).await;
        assert_eq!(client.closed().await.0, code);
    }
    world.shared.sessions.gone().await;
}

#[tokio::test(start_paused = true)]
async fn both_kinds_of_ping_come_and_silence_is_the_end() {
    let world = World::new(FILE);
    let began = tokio::time::Instant::now();
    let (near, mut far) = tokio::io::duplex(4096);
    tokio::spawn(crate::session::run(
        over(near),
        example(),
        world.shared.in_force.load_full(),
        world.shared.clone(),
    ));
    let mut bytes = Vec::new();
    // The client does not answer: the connection ends by itself.
    tokio::io::AsyncReadExt::read_to_end(&mut far, &mut bytes)
        .await
        .expect("read");
    let lasted = began.elapsed();
    assert!(lasted >= Duration::from_secs(32), "{lasted:?}");
    assert!(lasted <= Duration::from_secs(46), "{lasted:?}");
    let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(holds(b"\x89\x00\x81\x0c{\"t\":\"ping\"}"));
    assert!(holds(&4108u16.to_be_bytes()));
    world.shared.sessions.gone().await;
}

#[tokio::test(start_paused = true)]
async fn control_frames_above_their_rate_close() {
    let world = World::new(FILE);
    let mut client = world.join().await;
    for _ in 0..20 {
        client.send_message(Message::Ping(Default::default())).await;
    }
    assert_eq!(client.closed().await.0, 4009);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_goodbye_is_answered_and_forgotten() {
    let world = World::new(FILE);
    let mut client = world.join().await;
    client.send_message(Message::Close(None)).await;
    assert!(matches!(client.next().await, Message::Close(None)));
    tokio::time::timeout(Duration::from_secs(10), world.shared.sessions.gone())
        .await
        .expect("gone");
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_is_accepted_and_closed() {
    let world = World::new(FILE);
    let mut opening = example();
    opening.refuse_with = Some(4302);
    let mut client = world.connect(opening).await;
    assert!(
        matches!(client.next().await, Message::Close(Some(frame)) if u16::from(frame.code) == 4302)
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_say_goodbye_is_left_soon() {
    let world = World::new(FILE);
    let mut opening = example();
    opening.refuse_with = Some(4300);
    let began = tokio::time::Instant::now();
    let (near, mut far) = tokio::io::duplex(4096);
    tokio::spawn(crate::session::run(
        over(near),
        opening,
        world.shared.in_force.load_full(),
        world.shared.clone(),
    ));
    let mut bytes = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut far, &mut bytes)
        .await
        .expect("read");
    assert_eq!(bytes, [&[0x88, 2][..], &4300u16.to_be_bytes()].concat());
    let lasted = began.elapsed();
    assert_eq!(lasted.as_secs(), 3, "{lasted:?}");
}
