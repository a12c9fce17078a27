//! The letter of the contract, frame by frame.

use std::sync::Arc;
use std::time::Instant;

use super::*;
use crate::error::{Code, Refusal};
use crate::event::{Draft as EventDraft, End, Epoch, GapWhy, Position, State};
use crate::protocol::example::seen_as;

fn read(text: &str) -> Result<Input, Violation> {
    decode(Message::Text(text.as_bytes()))
}

/// The one packet of an event.
fn packet(event: &Event, view: EventView<'_>) -> Packet {
    let mut packets = Vec::new();
    JsonCodec.event(event, view, &mut |packet| packets.push(packet));
    assert_eq!(packets.len(), 1);
    packets.remove(0)
}

fn text_of(packet: Packet) -> String {
    String::from_utf8(packet.into_bytes().to_vec()).expect("UTF-8")
}

fn at(offset: u64) -> Position {
    Position {
        epoch: Epoch(723),
        offset,
    }
}

fn event(kind: EventKind, name: Option<&str>, id: Option<&str>, data: &'static str) -> Event {
    let draft = EventDraft {
        name: name.map(Arc::from),
        id: id.map(Arc::from),
        has_own_id: id.is_some(),
        data: Data::classify(Bytes::from_static(data.as_bytes())),
        change: None,
    };
    Event::new(17, at(45), kind, draft, Instant::now())
}

/// As those see it that know the topic by its own number.
fn seen() -> EventView<'static> {
    seen_as(17)
}

#[test]
fn every_frame_of_a_client_is_read() {
    assert_eq!(
        read(
            r#"{"t":"sub","id":1,"path":"/api/matters","after":"k3-41","last_event_id":"7","filter":{"severity":["high",3]},"new":{}}"#
        ),
        Ok(Input::Sub {
            id: Tag::Number(1),
            path: "/api/matters".into(),
            after: Some("k3-41".into()),
            last_event_id: Some("7".into()),
            filter: vec![(
                "severity".into(),
                [&b"\"high\""[..], b"3.0"]
                    .map(|text| Scalar::read(text).unwrap())
                    .into()
            )],
        })
    );
    assert_eq!(
        read(
            r#"{"t":"req","id":3,"method":"POST","path":"/api/tasks/9/cancel","headers":{"x-csrftoken":"c"},"d":{ "a" : 1 },"key":"k"}"#
        ),
        Ok(Input::Req(Req {
            id: Tag::Number(3),
            method: "POST".into(),
            path: "/api/tasks/9/cancel".into(),
            headers: vec![("x-csrftoken".into(), "c".into())],
            body: Some(Bytes::from_static(br#"{ "a" : 1 }"#)),
            is_binary: false,
            key: Some("k".into()),
        }))
    );
    assert_eq!(
        read(r#"{"t":"unsub","id":2,"ch":17}"#),
        Ok(Input::Unsub {
            id: Tag::Number(2),
            ch: 17
        })
    );
    assert_eq!(
        read(r#"{"t":"hello","token":null}"#),
        Ok(Input::Hello {
            id: Tag::None,
            token: None
        })
    );
    assert_eq!(read(r#" {"t":"ping"}"#), Ok(Input::Ping));
}

#[test]
fn a_bad_member_is_told_with_the_id_where_it_is_readable() {
    for (text, id) in [
        (r#"{"t":"jump","id":9}"#, Some(9)),
        (r#"{"id":4}"#, Some(4)),
        (r#"{"t":5,"id":4}"#, Some(4)),
        (r#"{"t":"sub","id":9,"path":7}"#, Some(9)),
        (r#"{"t":"sub","id":9}"#, Some(9)),
        (r#"{"t":"sub","id":-1,"path":"/"}"#, None),
        (r#"{"t":"sub","id":"1","path":"/"}"#, None),
        (
            r#"{"t":"sub","id":1,"path":"/","filter":{"a":"b"}}"#,
            Some(1),
        ),
        (r#"{"t":"unsub","id":2,"ch":4294967296}"#, Some(2)),
        (r#"{"t":"auth","id":2}"#, Some(2)),
    ] {
        match read(text) {
            Err(Violation::Frame { id: found, .. }) => {
                assert_eq!(found, id.map_or(Tag::None, Tag::Number), "{text}")
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn what_is_no_object_or_a_bomb_closes() {
    let deep = format!(r#"{{"t":"ping","x":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    let wide = format!(r#"{{"t":"ping","x":[{}1]}}"#, "1,".repeat(10_001));
    for text in [
        "",
        "[]",
        "7",
        "null",
        "{",
        r#"{"t":"ping"} x"#,
        &deep,
        &wide,
    ] {
        let found = read(text);
        assert!(
            matches!(found, Err(Violation::Close { code: 4000, .. })),
            "{found:?}"
        );
    }
    assert!(matches!(
        decode(Message::Binary(b"{}")),
        Err(Violation::Close { code: 4000, .. })
    ));
    let fits = format!(
        r#"{{"t":"ping","s":"[[{{{{\"","x":{}{}}}"#,
        "[".repeat(63),
        "]".repeat(63)
    );
    assert_eq!(read(&fits), Ok(Input::Ping));
}

#[test]
fn events_read_as_the_contract_shows_them() {
    let plain = event(
        EventKind::Event,
        Some("matter_updated"),
        Some("8"),
        r#"{ "a":1}"#,
    );
    assert_eq!(
        text_of(packet(&plain, seen())),
        r#"{"t":"ev","ch":17,"o":"k3-45","id":"8","e":"matter_updated","d":{ "a":1}}"#
    );
    let text = event(EventKind::Event, None, None, "say \"hi\"\n");
    assert_eq!(
        text_of(packet(&text, seen())),
        r#"{"t":"ev","ch":17,"o":"k3-45","x":"say \"hi\"\n"}"#
    );
    let snapshot = event(EventKind::Snapshot, None, None, "[]");
    assert_eq!(
        text_of(packet(&snapshot, seen())),
        r#"{"t":"snap","ch":17,"o":"k3-45","d":[]}"#
    );
    let gap = EventKind::Gap {
        from: at(41),
        why: GapWhy::Expired,
    };
    assert_eq!(
        text_of(packet(&event(gap, None, None, ""), seen())),
        r#"{"t":"gap","ch":17,"from":"k3-41","to":"k3-45","why":"expired"}"#
    );
}

#[test]
fn one_frame_serves_all_that_see_the_same() {
    let event = event(EventKind::Snapshot, None, None, "[1,2]");
    let shared = |view| {
        let (first, rest, _) = packet(&event, view).frame();
        rest.unwrap_or(first).as_ptr()
    };
    assert_eq!(shared(seen()), shared(seen()));
    let moved = seen_as(3);
    assert_eq!(
        text_of(packet(&event, moved)),
        r#"{"t":"snap","ch":3,"o":"k3-45","d":[1,2]}"#
    );
    // Others know the topic by other numbers, and share what comes behind them.
    assert_eq!(shared(moved), shared(seen_as(4)));
    let filtered = EventView {
        data: Some(b"[2]"),
        ..seen()
    };
    assert_eq!(
        text_of(packet(&event, filtered)),
        r#"{"t":"snap","ch":17,"o":"k3-45","d":[2]}"#
    );
}

#[test]
fn everything_else_reads_as_the_contract_shows_it() {
    let mut refusal = Refusal::new(Code::Forbidden, "no \"entry\"");
    let headers = [("etag".to_string(), "\"1\"".to_string())];
    let state = State {
        live: false,
        why: Some("upstream_down"),
        since: 1_789_000_000,
    };
    let end = End {
        code: Code::UpstreamClosed,
        status: 502,
        retry_ms: Some(3000),
        is_final: false,
    };
    let cases = [
        (
            Output::Welcome {
                conn: "c",
                node: "n",
                ping_ms: 25_000,
                timeout_ms: 20_000,
                max_bytes: 65_536,
                max_subs: 64,
                auth_exp: None,
            },
            r#"{"t":"welcome","v":1,"conn":"c","node":"n","ping_ms":25000,"timeout_ms":20000,"max_bytes":65536,"max_subs":64}"#,
        ),
        (
            Output::Ok {
                id: &Tag::Number(1),
                sub: Some((17, at(44), true)),
            },
            r#"{"t":"ok","id":1,"ch":17,"at":"k3-44","recovered":true}"#,
        ),
        (
            Output::Ok {
                id: &Tag::Number(2),
                sub: None,
            },
            r#"{"t":"ok","id":2}"#,
        ),
        (
            Output::Err {
                id: &Tag::Number(1),
                refusal: &refusal.clone(),
            },
            r#"{"t":"err","id":1,"code":"forbidden","status":403,"retry_ms":0,"msg":"no \"entry\""}"#,
        ),
        (
            Output::Err {
                id: &Tag::None,
                refusal: {
                    refusal.retry_ms = Some(5);
                    &refusal
                },
            },
            r#"{"t":"err","code":"forbidden","status":403,"retry_ms":5,"msg":"no \"entry\""}"#,
        ),
        (
            Output::State {
                ch: 17,
                path: "/api/matters",
                state: &state,
            },
            r#"{"t":"state","ch":17,"live":false,"why":"upstream_down","since":1789000000}"#,
        ),
        (
            Output::Res {
                id: &Tag::Number(3),
                status: 200,
                headers: &headers,
                body: ResBody::Json(b"{}"),
            },
            r#"{"t":"res","id":3,"status":200,"headers":{"etag":"\"1\""},"d":{}}"#,
        ),
        (
            Output::Res {
                id: &Tag::Number(3),
                status: 204,
                headers: &[],
                body: ResBody::Binary(&[0xff]),
            },
            r#"{"t":"res","id":3,"status":204,"headers":{},"b64":"/w=="}"#,
        ),
        (
            Output::End {
                ch: 17,
                path: "/api/matters",
                end: &end,
            },
            r#"{"t":"end","ch":17,"code":"upstream_closed","retry_ms":3000,"final":false}"#,
        ),
        (
            Output::Drain {
                in_ms: 8000,
                retry_ms: (500, 4000),
                next: "same",
                why: "deploy",
                at: &[],
            },
            r#"{"t":"drain","in_ms":8000,"retry_ms":[500,4000],"next":"same","why":"deploy"}"#,
        ),
        (
            Output::Notice {
                level: "info",
                msg: "hi",
                d: None,
            },
            r#"{"t":"notice","level":"info","msg":"hi"}"#,
        ),
        (Output::Ping, r#"{"t":"ping"}"#),
        (Output::Pong, r#"{"t":"pong"}"#),
    ];
    for (output, expected) in cases {
        let mut packets = Vec::new();
        JsonCodec.encode(&output, &mut |packet| packets.push(text_of(packet)));
        assert_eq!(packets, [expected]);
    }
    let emitted = Output::Emit {
        event: "a",
        body: ResBody::Empty,
    };
    JsonCodec.encode(&emitted, &mut |packet| panic!("{packet:?}"));
}
