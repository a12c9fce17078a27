//! The letter of the protocol and of the contract, packet by packet.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::codec::SocketIoCodec;
use crate::event::{Data, Draft as EventDraft, Epoch, Event, EventKind, GapWhy, Position};
use crate::packet::Packet;
use crate::protocol::example::{route, seen_as};
use crate::protocol::{Codec, EventView};

mod inputs;
mod outputs;

fn codec(namespace: &str) -> SocketIoCodec {
    SocketIoCodec::new(namespace.into(), true, true)
}

fn at(offset: u64) -> Position {
    Position {
        epoch: Epoch(723),
        offset,
    }
}

fn event(kind: EventKind, name: Option<&str>, data: &'static str) -> Event {
    let draft = EventDraft {
        name: name.map(Arc::from),
        id: Some("8".into()),
        has_own_id: true,
        data: Data::classify(Bytes::from_static(data.as_bytes())),
        change: None,
    };
    Event::new(17, at(45), kind, draft, Instant::now())
}

/// The one packet of an event.
fn packet(codec: &mut SocketIoCodec, event: &Event, view: EventView<'_>) -> Packet {
    let mut packets = Vec::new();
    codec.event(event, view, &mut |packet| packets.push(packet));
    assert_eq!(packets.len(), 1);
    packets.remove(0)
}

fn text_of(packet: Packet) -> String {
    String::from_utf8(packet.into_bytes().to_vec()).expect("UTF-8")
}

fn seen_by(mut codec: SocketIoCodec, event: &Event) -> String {
    text_of(packet(&mut codec, event, seen_as(3)))
}

#[test]
fn events_read_as_the_contract_shows_them() {
    let progress = || {
        event(
            EventKind::Event,
            Some("progress_update"),
            r#"{"percent":4}"#,
        )
    };
    for (namespace, has_position, expected) in [
        ("/", true, r#"42["progress_update",{"percent":4},"k3-45"]"#),
        (
            "/admin",
            true,
            r#"42/admin,["progress_update",{"percent":4},"k3-45"]"#,
        ),
        ("/", false, r#"42["progress_update",{"percent":4}]"#),
    ] {
        let codec = SocketIoCodec::new(namespace.into(), true, has_position);
        assert_eq!(seen_by(codec, &progress()), expected);
    }
    let text = event(EventKind::Event, None, "say \"hi\"\u{1e}\n");
    assert_eq!(
        seen_by(codec("/"), &text),
        r#"42["message","say \"hi\"\u001e\n","k3-45"]"#
    );
    let document = event(EventKind::Snapshot, None, "[1, 2]");
    assert_eq!(
        seen_by(codec("/"), &document),
        r#"42["snapshot",[1, 2],"k3-45"]"#
    );
}

#[test]
fn event_with_a_reserved_name_gets_another_one() {
    for name in crate::bindings::RESERVED_EVENTS {
        let reserved = event(EventKind::Event, Some(name), "1");
        let expected = format!(r#"42["event:{name}",1,"k3-45"]"#);
        assert_eq!(seen_by(codec("/"), &reserved), expected);
    }
}

#[test]
fn gap_reads_as_the_contract_shows_it() {
    let kind = EventKind::Gap {
        from: at(41),
        why: GapWhy::Expired,
    };
    assert_eq!(
        seen_by(codec("/admin"), &event(kind.clone(), None, "")),
        r#"42/admin,["crossfade:gap",{"path":"/api/matters?a=1","from":"k3-41","to":"k3-45","why":"expired"}]"#
    );
    let told = event(kind, None, "").told_from("zz-9");
    assert_eq!(
        seen_by(codec("/"), &told),
        r#"42["crossfade:gap",{"path":"/api/matters?a=1","from":"zz-9","to":"k3-45","why":"expired"}]"#
    );
}

/// Where the bytes lie that clients share.
fn shared(codec: &mut SocketIoCodec, event: &Event) -> *const u8 {
    let (first, rest, _) = packet(codec, event, seen_as(3)).frame();
    rest.unwrap_or(first).as_ptr()
}

#[test]
fn event_of_a_literal_namespace_is_encoded_once() {
    let event = event(EventKind::Event, Some("a"), "1");
    let whole = packet(&mut codec("/admin"), &event, seen_as(3)).frame();
    assert_eq!(whole.1, None);
    let first = shared(&mut codec("/admin"), &event);
    assert_eq!(shared(&mut codec("/admin"), &event), first);
    let others = [
        codec("/"),
        SocketIoCodec::new("/admin".into(), true, false),
        SocketIoCodec::new("/admin".into(), false, true),
    ];
    for mut other in others {
        assert_ne!(shared(&mut other, &event), first);
    }
}

#[test]
fn event_of_namespaces_with_parameters_is_encoded_once() {
    let event = event(EventKind::Event, Some("a"), r#"{"n":1}"#);
    let of = |namespace: &str| SocketIoCodec::new(namespace.into(), false, true);
    assert_eq!(
        seen_by(of("/pipeline/7"), &event),
        r#"42/pipeline/7,["a",{"n":1},"k3-45"]"#
    );
    let first = shared(&mut of("/pipeline/7"), &event);
    assert_eq!(shared(&mut of("/pipeline/8"), &event), first);
    let plain = SocketIoCodec::new("/pipeline/7".into(), false, false);
    assert_eq!(seen_by(plain, &event), r#"42/pipeline/7,["a",{"n":1}]"#);
}

#[test]
fn document_seen_in_part_is_encoded_for_its_client_alone() {
    let event = event(EventKind::Snapshot, None, "[1,2]");
    let view = EventView {
        data: Some(b"[2]"),
        ..seen_as(3)
    };
    for is_literal in [true, false] {
        let mut codec = SocketIoCodec::new("/a".into(), is_literal, true);
        let text = text_of(packet(&mut codec, &event, view));
        assert_eq!(text, r#"42/a,["snapshot",[2],"k3-45"]"#);
        assert_eq!(event.encodings.bytes(), 0);
    }
}

#[test]
fn event_of_a_route_of_changes_is_the_item() {
    let route = route(r#"source = {kind = "poll", emit = "changes"}"#);
    let event = event(EventKind::Event, Some("created"), r#"{"id":1}"#);
    let view = EventView {
        route: &route,
        ..seen_as(3)
    };
    assert_eq!(
        text_of(packet(&mut codec("/"), &event, view)),
        r#"42["created",{"id":1},"k3-45"]"#
    );
}
