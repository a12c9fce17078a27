//! The forms in which one event is encoded, each once: on its first use, then shared.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

use crate::packet::Payload;

/// Encodings that an event keeps. Each further one is made anew for every client that sees it.
const KEPT: usize = 8;

/// What an encoding depends on beside the event: protocol, namespace, the event's name there, what it is wrapped in. Codecs that
/// encode an event to the same bytes have the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EncodingId(u64);

impl EncodingId {
    /// `crossfade.v1.json`.
    pub(crate) const JSON: EncodingId = EncodingId(0);
    /// The same behind the channel number: for subscribers that know another one.
    pub(crate) const JSON_BEHIND_CHANNEL: EncodingId = EncodingId(1);
    /// The bare data.
    pub(crate) const RAW: EncodingId = EncodingId(2);
    /// The data as `{"e","d"}`.
    pub(crate) const RAW_NAMED: EncodingId = EncodingId(3);
    /// The data as `{"e","id","o","d"|"x"}` (`?cf_wrap=1`).
    pub(crate) const RAW_WRAPPED: EncodingId = EncodingId(4);

    /// A form that depends on what the operator configured: the same id for the same parts, and none of those above.
    pub(crate) fn of(parts: impl Hash) -> EncodingId {
        // Its keys are fixed: each codec finds the same id.
        let mut hasher = DefaultHasher::new();
        parts.hash(&mut hasher);
        EncodingId(hasher.finish() | 1 << 63)
    }
}

/// See the module. Most events are encoded in one form, which needs no memory of its own.
#[derive(Debug, Default)]
pub(crate) struct Encodings {
    first: OnceLock<(EncodingId, Payload)>,
    next: OnceLock<Box<Encodings>>,
}

impl Encodings {
    /// The encoding of this id.
    pub(crate) fn get_or_encode(&self, id: EncodingId, encode: impl Fn() -> Payload) -> Payload {
        let mut at = self;
        for _ in 0..KEPT {
            let (kept, payload) = at.first.get_or_init(|| (id, encode()));
            if *kept == id {
                return payload.clone();
            }
            at = at.next.get_or_init(Box::default);
        }
        encode()
    }

    /// Bytes of memory that all of them take.
    pub(crate) fn bytes(&self) -> usize {
        let Some((_, payload)) = self.first.get() else {
            return 0;
        };
        let next = self.next.get();
        payload.size() + next.map_or(0, |next| size_of::<Encodings>() + next.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_encoded_once_up_to_a_bound() {
        let encodings = Encodings::default();
        let encoded = std::cell::Cell::new(0);
        for round in 0..3 {
            for id in 0..KEPT as u64 + 2 {
                let payload = encodings.get_or_encode(EncodingId(id), || {
                    encoded.set(encoded.get() + 1);
                    Payload::copy_of(id.to_string().as_bytes())
                });
                assert_eq!(payload, Payload::copy_of(id.to_string().as_bytes()));
            }
            assert_eq!(encoded.get(), KEPT + 2 * (round + 1));
            assert!(encodings.bytes() > KEPT * size_of::<Payload>());
        }
    }
}
