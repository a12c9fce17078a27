//! How the clients of one namespace speak: events both ways, and one acknowledgement for each event that asks for it.

use std::sync::Arc;

use super::decode::{self, Decoded, Unfinished};
use super::event::{EventForm, data_of, head};
use super::words::Words;
use super::writer::{PacketWriter, ROOM};
use crate::config::Route;
use crate::event::Event;
use crate::event::encodings::EncodingId;
use crate::packet::{Packet, PayloadDraft};
use crate::protocol::{BadPacket, Codec, EventView, Input, Message, Output, Violation};

/// See the module.
#[derive(Debug)]
pub struct SocketIoCodec {
    namespace: Arc<str>,
    /// The namespace stands in the file as it is: it is a part of what its clients share.
    is_literal: bool,
    /// Events bear their position, by which a client comes back.
    recovery: bool,
    plain: EncodingId,
    unfinished: Option<Unfinished>,
}

impl SocketIoCodec {
    /// A client of this namespace, whose name has no parameters where it is literal.
    pub fn new(namespace: Arc<str>, is_literal: bool, recovery: bool) -> Self {
        let shared: &str = if is_literal { &namespace } else { "" };
        SocketIoCodec {
            plain: EncodingId::of((shared, recovery)),
            namespace,
            is_literal,
            recovery,
            unfinished: None,
        }
    }

    fn words(&self) -> Words<'_> {
        Words {
            namespace: &self.namespace,
            recovery: self.recovery,
        }
    }

    fn writer(&self, room: usize) -> PacketWriter {
        PacketWriter::new(&head(&self.namespace), room)
    }
}

impl Codec for SocketIoCodec {
    fn name(&self) -> &'static str {
        "socketio"
    }

    fn decode(&mut self, message: Message<'_>, inputs: &mut Vec<Input>) -> Result<(), Violation> {
        let decoded = match (message, self.unfinished.take()) {
            (Message::Text(text), None) => decode::decode(text),
            (Message::Binary(bytes), Some(unfinished)) => Ok(unfinished.attach(bytes)),
            (Message::Text(_), Some(_)) => Err(BadPacket("text in place of an attachment")),
            (Message::Binary(_), None) => Err(BadPacket("an attachment of no packet")),
        };
        match decoded {
            Ok(Decoded::Whole(input)) => inputs.extend(input),
            Ok(Decoded::Begun(unfinished)) => self.unfinished = Some(unfinished),
            Err(BadPacket(reason)) => return Err(Violation::Close { code: 4000, reason }),
        }
        Ok(())
    }

    fn encode(&mut self, output: &Output<'_>, send: &mut dyn FnMut(Packet)) {
        self.words().encode(output, send);
    }

    fn event(&mut self, event: &Event, view: EventView<'_>, send: &mut dyn FnMut(Packet)) {
        if let Some(gap) = self.words().gap(event, view.path) {
            return send(gap.into());
        }
        let form = EventForm::of(view.route, event, self.recovery);
        let encode = |mut out: PacketWriter| {
            let data = view.data.map_or_else(|| data_of(event), Ok);
            form.write(&mut out, event, data);
            out.finish()
        };
        let room = ROOM + view.data.unwrap_or(event.data.bytes()).len();
        if view.data.is_some() {
            return send(encode(self.writer(room)).into());
        }
        let id = form.id(self.plain);
        if self.is_literal {
            let encode = || encode(self.writer(room));
            return send(event.encodings.get_or_encode(id, encode).into());
        }
        let encode = || encode(PacketWriter::without_head(room));
        let rest = event.encodings.get_or_encode(id, encode);
        let mut draft = PayloadDraft::with_capacity(8 + self.namespace.len());
        head(&self.namespace).write(&mut draft);
        send(Packet::with_head(draft, rest));
    }

    fn has_words(&self) -> bool {
        true
    }

    fn makes_list(&self, route: &Route, event: &Event) -> bool {
        EventForm::of(route, event, self.recovery).makes_list()
    }
}
