//! What comes back.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crossfade::packet::Payload;
use crossfade::protocol::socketio::codec::SocketIoCodec;
use crossfade::protocol::socketio::packet::PacketHead;
use crossfade::protocol::{ClientEvent, Codec, Input, Message};
use crossfade::transport::engineio::EngineIo;
use crossfade::transport::namespaces::{NamespaceTransport, Namespaces, SocketTask};
use crossfade::transport::outbox::{Framing, Outbox};
use crossfade::transport::{Incoming, Transport};
use serde_json::Value;

/// A message that is no packet ends the connection with this code.
const BAD_FRAME: u16 = 4000;

/// Every message of Engine.IO, as it came.
pub async fn messages(mut engine: EngineIo, mut outbox: Outbox) {
    let echo = |message: Incoming, outbox: &mut Outbox| {
        match message {
            Incoming::Text(text) => push(outbox, &text),
            Incoming::Binary(bytes) => outbox.answer(Payload::binary(&bytes).into()),
            _ => {}
        }
        Ok(())
    };
    poll_fn(|cx| poll_each(&mut engine, &mut outbox, cx, echo)).await;
    let end = poll_fn(|cx| engine.poll_end(&mut outbox, cx));
    drop(tokio::time::timeout(Duration::from_secs(2), end).await);
}

/// The namespaces that the suite joins.
pub struct EchoNamespaces;

impl Namespaces for EchoNamespaces {
    fn join(&mut self, namespace: &str, transport: NamespaceTransport) -> Option<SocketTask> {
        let is_known = matches!(namespace, "/" | "/custom");
        is_known.then(|| Box::pin(events(namespace.into(), transport)) as SocketTask)
    }
}

/// Every event of one namespace: `message` as `message-back`, others by their acknowledgement.
async fn events(namespace: String, mut transport: NamespaceTransport) {
    let mut outbox = Outbox::new(Framing::WebSocket);
    let mut codec = SocketIoCodec::new(namespace.as_str().into(), true, false);
    // The packets of the root namespace do not name it.
    let prefix = match namespace.as_str() {
        "/" => String::new(),
        named => format!("{named},"),
    };
    let mut hear = |incoming: Incoming, outbox: &mut Outbox| {
        let message = match &incoming {
            Incoming::Text(text) => Message::Text(text),
            Incoming::Binary(bytes) => Message::Binary(bytes),
            _ => return Ok(()),
        };
        let mut inputs = Vec::new();
        let decoded = codec.decode(message, &mut inputs);
        decoded.map_err(|_| BAD_FRAME)?;
        for input in inputs {
            match (input, message) {
                (Input::Connect(_), Message::Text(text)) => welcome(&prefix, text, outbox),
                (Input::Event(event), _) => echo(&prefix, event, outbox),
                _ => return Err(1000),
            }
        }
        Ok(())
    };
    poll_fn(|cx| poll_each(&mut transport, &mut outbox, cx, &mut hear)).await;
    poll_fn(|cx| transport.poll_end(&mut outbox, cx)).await;
}

/// Lets a client in, and says what it presented.
fn welcome(prefix: &str, connect: &[u8], outbox: &mut Outbox) {
    let auth = PacketHead::parse(connect).map_or(&b""[..], |head| head.data);
    let auth = match auth.is_empty() {
        true => "{}".into(),
        false => String::from_utf8_lossy(auth),
    };
    let sid = fastrand::u64(..);
    push(
        outbox,
        format!(r#"0{prefix}{{"sid":"{sid:016x}"}}"#).as_bytes(),
    );
    push(outbox, format!(r#"2{prefix}["auth",{auth}]"#).as_bytes());
}

fn echo(prefix: &str, event: ClientEvent, outbox: &mut Outbox) {
    let mut list = event.args;
    let (kind, id) = match event.ack {
        Some(id) => (3, id.to_string()),
        None => {
            list.insert(0, Value::from(event.name + "-back"));
            (2, String::new())
        }
    };
    let attachments = event.attachments;
    let kind = match attachments.len() {
        0 => kind.to_string(),
        count => format!("{}{count}-", kind + 3),
    };
    let list = Value::from(list);
    push(outbox, format!("{kind}{prefix}{id}{list}").as_bytes());
    for attachment in attachments {
        outbox.answer(Payload::binary(&attachment).into());
    }
}

/// Adds a text message.
fn push(outbox: &mut Outbox, text: &[u8]) {
    outbox.answer(Payload::copy_of(&[b"4", text].concat()).into());
}

/// Takes every message until either side ends the connection, or `each` does with a code.
fn poll_each(
    transport: &mut dyn Transport,
    outbox: &mut Outbox,
    cx: &mut Context<'_>,
    mut each: impl FnMut(Incoming, &mut Outbox) -> Result<(), u16>,
) -> Poll<()> {
    loop {
        match transport.poll_receive(outbox, cx) {
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Ready(Ok(Incoming::Close(_) | Incoming::Broken(_))) => return Poll::Ready(()),
            Poll::Ready(Ok(message)) => {
                if let Err(code) = each(message, outbox) {
                    transport.close(outbox, code, "");
                    return Poll::Ready(());
                }
            }
            Poll::Pending => {
                let was_empty = outbox.is_empty();
                if ready!(transport.poll_send(outbox, cx)).is_err() {
                    return Poll::Ready(());
                }
                // A client that was owed much is read again once that is written.
                if was_empty {
                    return Poll::Pending;
                }
            }
        }
    }
}
