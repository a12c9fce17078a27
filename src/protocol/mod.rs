//! What a realtime client's messages mean: messages in, packets out. How they move is a transport's matter
//! ([`crate::transport`]).

mod bounds;
// Until a transport speaks it.
pub mod engineio;
#[cfg(test)]
mod example;
mod input;
pub mod json;
mod output;
pub(crate) mod raw;
pub mod socketio;
mod tag;

pub use input::{ClientEvent, Connect, Input, Req, Violation};
pub use output::{DrainedAt, Output, ResBody};
pub use tag::{EventTag, Tag};

use crate::config::Route;
use crate::event::Event;
use crate::packet::Packet;

/// How one client speaks; it may keep state for its session. Packets go to `send`: none where the protocol has no word for what
/// is said, and as many as it takes.
pub trait Codec: Send {
    /// The word in metrics and the admin API.
    fn name(&self) -> &'static str;

    /// What a client's message means, in its order.
    ///
    /// # Errors
    /// The message, or the rest of it, was not understood or is not allowed here.
    fn decode(&mut self, message: Message<'_>, inputs: &mut Vec<Input>) -> Result<(), Violation>;

    /// What the session says beside events.
    fn encode(&mut self, output: &Output<'_>, send: &mut dyn FnMut(Packet));

    /// A log entry, as this subscriber is to see it: encoded once for all subscribers that see the same bytes.
    fn event(&mut self, event: &Event, view: EventView<'_>, send: &mut dyn FnMut(Packet));

    /// Whether clients get loss, staleness and ends in words, or by close codes only.
    fn has_words(&self) -> bool;

    /// Whether clients can distinguish a patch from a whole document.
    fn tells_patches(&self) -> bool {
        self.has_words()
    }

    /// Whether clients see this event of a route as a list: then it may have several items, whose texts are its data with commas
    /// between.
    fn makes_list(&self, _route: &Route, _event: &Event) -> bool {
        false
    }
}

/// One message of a client, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Valid UTF-8.
    Text(&'a [u8]),
    /// Anything.
    Binary(&'a [u8]),
}

/// What one subscriber sees differently from the rest.
#[derive(Clone, Copy, Debug)]
pub struct EventView<'a> {
    /// The channel number that the client knows; a moved subscription keeps its own.
    pub(crate) ch: u32,
    /// The route that it subscribed to.
    pub(crate) route: &'a Route,
    /// The path and query that it subscribed to.
    pub(crate) path: &'a str,
    /// JSON in place of the event's own data (a filtered snapshot).
    pub(crate) data: Option<&'a [u8]>,
}

/// Bytes of a client that are no packet of its protocol, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPacket(pub &'static str);
