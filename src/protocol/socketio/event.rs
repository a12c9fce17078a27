//! How a topic's events read in a namespace.

use std::borrow::Cow;

use super::packet::{PacketHead, PacketKind};
use super::writer::PacketWriter;
use crate::bindings::RESERVED_EVENTS;
use crate::config::{Emit, Route, Source};
use crate::event::encodings::EncodingId;
use crate::event::{Data, Event, EventKind};

/// The name of a whole document.
const SNAPSHOT: &str = "snapshot";

/// What an event's encoding depends on beside the event and its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct EventForm<'a> {
    /// The name of a whole document, where it has one of its own.
    snapshot: Option<&'a str>,
    wrap: Option<Wrapping<'a>>,
    has_position: bool,
}

/// An object around the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Wrapping<'a> {
    member: &'a str,
    /// The member is a list of items.
    is_list: bool,
}

impl<'a> EventForm<'a> {
    /// How clients of a route see an event.
    pub(crate) fn of(route: &'a Route, event: &Event, has_position: bool) -> Self {
        let is_snapshot = event.kind == EventKind::Snapshot;
        let mut form = EventForm {
            snapshot: is_snapshot.then(|| snapshot_name(route)).flatten(),
            wrap: None,
            has_position,
        };
        form.wrap = wrap_of(route, || form.name(event)).map(|member| Wrapping {
            member,
            is_list: !is_snapshot && emits_items(route),
        });
        form
    }

    /// Whether it is that of most events: it depends on the namespace alone.
    pub(crate) fn is_plain(&self) -> bool {
        self.snapshot.is_none() && self.wrap.is_none()
    }

    /// The id of an encoding of this form where that of plain events is `plain`.
    pub(crate) fn id(&self, plain: EncodingId) -> EncodingId {
        match self.is_plain() {
            true => plain,
            false => EncodingId::of((plain, self)),
        }
    }

    /// The name that clients see.
    fn name<'e>(&self, event: &'e Event) -> Cow<'e, str>
    where
        'a: 'e,
    {
        let name = match event.kind {
            EventKind::Snapshot => self.snapshot.unwrap_or(SNAPSHOT),
            _ => event.name.as_deref().unwrap_or("message"),
        };
        match RESERVED_EVENTS.contains(&name) {
            true => format!("event:{name}").into(),
            false => name.into(),
        }
    }

    /// Adds an event whose data is JSON, or else text.
    pub(crate) fn write(
        &self,
        out: &mut PacketWriter,
        event: &Event,
        data: Result<&[u8], Cow<'_, str>>,
    ) {
        out.text(&self.name(event));
        if let Some(wrap) = &self.wrap {
            out.open();
            match wrap.is_list {
                true => out.open_list(wrap.member),
                false => out.name(wrap.member),
            }
        }
        match data {
            Ok(json) => out.json(json),
            Err(text) => out.text(&text),
        }
        if let Some(wrap) = &self.wrap {
            if wrap.is_list {
                out.close_list();
            }
            out.close();
        }
        if self.has_position {
            out.text(&event.position.to_string());
        }
    }
}

/// An event's own data, as [`EventForm::write`] takes it.
pub(super) fn data_of(event: &Event) -> Result<&[u8], Cow<'_, str>> {
    match &event.data {
        Data::Json(json) => Ok(json),
        Data::Text(text) => Err(String::from_utf8_lossy(text)),
    }
}

/// The head of an event without an acknowledgement.
pub(super) fn head(namespace: &str) -> PacketHead<'_> {
    PacketHead::new(PacketKind::Event, namespace)
}

/// The member that a route wraps an event's data in, by the name that clients see.
fn wrap_of<'r, 'e>(route: &'r Route, name: impl FnOnce() -> Cow<'e, str>) -> Option<&'r str> {
    route.wrap.as_ref()?.member(&name())
}

/// The name that a route gives whole documents, where it is not the usual one.
fn snapshot_name(route: &Route) -> Option<&str> {
    match &route.source {
        Some(Source::Poll(poll)) if *poll.events.snapshot != *SNAPSHOT => {
            Some(&poll.events.snapshot)
        }
        _ => None,
    }
}

/// Whether a route's events are items of a list.
fn emits_items(route: &Route) -> bool {
    matches!(&route.source, Some(Source::Poll(poll)) if poll.emit == Emit::Changes)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;

    use super::*;
    use crate::event::{Draft as EventDraft, Epoch, Position};
    use crate::packet::Packet;

    fn wrapped(is_list: bool, snapshot: Option<&'static str>, event: &Event) -> String {
        let form = EventForm {
            snapshot,
            wrap: Some(Wrapping {
                member: "matters",
                is_list,
            }),
            has_position: true,
        };
        let mut out = PacketWriter::new(&head("/"), 0);
        form.write(&mut out, event, data_of(event));
        let packet = Packet::from(out.finish());
        String::from_utf8(packet.into_bytes().to_vec()).unwrap()
    }

    fn event(kind: EventKind, data: &'static str) -> Event {
        let data = Data::classify(Bytes::from_static(data.as_bytes()));
        let position = Position {
            epoch: Epoch(723),
            offset: 45,
        };
        Event::new(1, position, kind, EventDraft::plain(data), Instant::now())
    }

    #[test]
    fn wrapped_data_is_a_member_or_an_item_of_it() {
        let object = event(EventKind::Event, r#"{"id":1}"#);
        assert_eq!(
            wrapped(false, None, &object),
            r#"42["message",{"matters":{"id":1}},"k3-45"]"#
        );
        assert_eq!(
            wrapped(true, None, &object),
            r#"42["message",{"matters":[{"id":1}]},"k3-45"]"#
        );
        assert_eq!(
            wrapped(true, None, &event(EventKind::Event, "hi")),
            r#"42["message",{"matters":["hi"]},"k3-45"]"#
        );
    }

    #[test]
    fn document_is_named_as_its_route_says() {
        let document = event(EventKind::Snapshot, "[1]");
        assert_eq!(
            wrapped(false, Some("matters_snapshot"), &document),
            r#"42["matters_snapshot",{"matters":[1]},"k3-45"]"#
        );
    }

    #[test]
    fn form_of_its_own_has_an_id_of_its_own() {
        let plain = EncodingId::of("/");
        let form = |member: Option<&'static str>, snapshot| EventForm {
            snapshot,
            wrap: member.map(|member| Wrapping {
                member,
                is_list: false,
            }),
            has_position: true,
        };
        assert_eq!(form(None, None).id(plain), plain);
        let ids = [
            plain,
            form(Some("a"), None).id(plain),
            form(Some("b"), None).id(plain),
            form(None, Some("a")).id(plain),
            form(Some("a"), None).id(EncodingId::of("/admin")),
        ];
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id), "{at}");
        }
    }
}
