//! Random faults, many of them: nothing is lost, nothing comes twice, and what clients hold
//! converges. Seeds are fixed, and nothing depends on how fast the machine is.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::support::*;
use crate::hub::Start;

const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

/// A backend with a numbered log that is killed again and again, anywhere in its bytes. Asked to
/// go on after an event it begins there, or some events too early. Returns how often it was killed.
async fn survives_kills(seed: u64) -> usize {
    const EVENTS: usize = 25;
    const KILLS: usize = 9;
    let mut chance = fastrand::Rng::with_seed(seed);
    let world = World::new(r#"source = "sse""#).await;
    let mut listener = world.join(Start::LastEventId("0".into()));
    let backend = async {
        let mut kills = 0;
        loop {
            let mut exchange = world.request().await;
            let id = header(&exchange.head, "last-event-id").unwrap();
            let after: usize = id.parse().unwrap();
            if after == EVENTS {
                return kills;
            }
            kills += 1;
            if chance.u8(..) < 10 {
                continue;
            }
            let first = after.saturating_sub(chance.usize(..4)) + 1;
            let last = EVENTS.min(after + chance.usize(2..8));
            let text: String = (first..=last)
                .map(|id| format!("id: {id}\ndata: event {id}\r\n\r\n"))
                .collect();
            let cut = match kills > KILLS {
                true => text.len(),
                // Mostly behind the first event: backing off would only take time.
                false if chance.u8(..8) > 0 => chance.usize(text.len() * 2 / 3..text.len()),
                false => chance.usize(..text.len()),
            };
            exchange.send(STREAM_HEAD).await;
            exchange.send(&text[..cut]).await;
        }
    };
    let client = async {
        for id in 1..=EVENTS {
            assert_eq!(listener.next().await, format!("message|{id}|event {id}"));
        }
    };
    tokio::join!(backend, client).0
}

#[tokio::test]
async fn stream_with_ids_survives_a_thousand_kills_exactly_once() {
    let kills: usize = join_all((0..130).map(survives_kills)).await.iter().sum();
    assert!(kills > 1000, "{kills}");
}

async fn tells_each_loss(seed: u64) {
    const STREAMS: usize = 8;
    let mut chance = fastrand::Rng::with_seed(seed);
    let world = World::new(r#"source = "sse""#).await;
    let mut listener = world.join(Start::Live);
    let backend = async {
        for stream in 0..STREAMS {
            if chance.u8(..) < 50 {
                world.answer_status("502 Bad").await;
            }
            let mut exchange = world.stream().await;
            let text = format!("data: {stream} first\n\ndata: {stream} second\n\ndata: half");
            exchange.send(&text).await;
        }
    };
    let client = async {
        for stream in 0..STREAMS {
            if stream > 0 {
                assert_eq!(listener.next().await, "gap upstream_reconnect");
            }
            assert_eq!(listener.next().await, format!("message||{stream} first"));
            assert_eq!(listener.next().await, format!("message||{stream} second"));
        }
    };
    tokio::join!(backend, client);
}

#[tokio::test]
async fn stream_without_ids_tells_one_gap_for_each_kill() {
    join_all((0..40).map(tells_each_loss)).await;
}

/// What a client holds that applies everything it gets.
fn apply(held: &mut Value, told: &str) {
    if let Some(document) = told.strip_prefix("snap ") {
        *held = parse(document);
        return;
    }
    let mut parts = told.splitn(3, '|');
    let (name, _, data) = (
        parts.next().unwrap(),
        parts.next().unwrap(),
        parse(parts.next().unwrap()),
    );
    match name {
        "message" => *held = data,
        "patch" => {
            let patch: json_patch::Patch = serde_json::from_value(data).unwrap();
            json_patch::patch(held, &patch).unwrap();
        }
        "merge" => json_patch::merge(held, &data),
        "deleted" => items(held).retain(|item| item["id"] != data["id"]),
        "created" => items(held).push(data),
        "updated" => {
            let of_data = |item: &&mut Value| item["id"] == data["id"];
            *items(held).iter_mut().find(of_data).unwrap() = data.clone();
        }
        other => panic!("{other}"),
    }
}

fn items(list: &mut Value) -> &mut Vec<Value> {
    list.as_array_mut().unwrap()
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn sorted(list: &Value) -> Vec<String> {
    let mut items: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(Value::to_string)
        .collect();
    items.sort();
    items
}

/// A list of up to twenty items with distinct ids, in any order.
fn any_list(chance: &mut fastrand::Rng) -> Value {
    let mut ids: Vec<u8> = (0..20).filter(|_| chance.bool()).collect();
    chance.shuffle(&mut ids);
    let item = |id| json!({"id": id, "n": chance.u8(..3), "null": null});
    ids.into_iter().map(item).collect()
}

async fn converges(emit: &str) {
    let mut chance = fastrand::Rng::with_seed(9);
    let source = format!(
        "source = {{kind = \"poll\", every = \"10ms\", emit = \"{emit}\", mass_delete_guard = 60}}"
    );
    let world = World::new(&source).await;
    let mut listener = world.join(Start::Live);
    world.answer_json("", "[]").await;
    let mut held = json!(null);
    apply(&mut held, &listener.next().await);
    for round in 0..30 {
        for _ in 0..chance.usize(..8) {
            let list = any_list(&mut chance).to_string();
            match chance.u8(..24) {
                0 => world.answer_status("500 Oh").await,
                1 => world.answer_json("", &list[..list.len() - 1]).await,
                2 => {
                    let cut = format!("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{list}");
                    world.answer(&cut).await
                }
                _ => world.answer_json("", &list).await,
            };
        }
        // The last state stays for as long as the guard may doubt it.
        let last = json!([{"id": 100, "round": round}]);
        for _ in 0..2 {
            world.answer_json("", &last.to_string()).await;
        }
        while sorted(&held) != sorted(&last) {
            let told = listener.next().await;
            apply(&mut held, &told);
        }
    }
}

#[tokio::test]
async fn a_polled_document_converges_through_failures_in_every_form() {
    join_all(["document", "changes", "json-patch", "merge-patch"].map(converges)).await;
}
