//! How many requests a backend takes at once over an HTTP/2 connection, read from its `SETTINGS` on their way to the
//! engine, which does not report when they have come. Pure.

/// A frame's head (RFC 9113, section 4.1), and one setting (section 6.5.1).
const HEAD: usize = 9;
const SETTING: usize = 6;

const SETTINGS: u8 = 4;
const ACKNOWLEDGES: u8 = 1;
const MAX_CONCURRENT_STREAMS: [u8; 2] = [0, 3];

/// Reads all that a backend sends, in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct PeerSettings {
    /// A head or a setting, as far as it has come.
    bytes: [u8; HEAD],
    have: usize,
    /// Settings that are missing in the frame under way.
    missing: usize,
    /// Bytes of another frame that are missing.
    skipped: usize,
    streams: Option<u32>,
}

impl PeerSettings {
    /// Goes through a piece. `told` gets what each frame of settings says about the number of streams.
    pub(crate) fn feed(&mut self, mut piece: &[u8], mut told: impl FnMut(Option<u32>)) {
        while !piece.is_empty() {
            if self.skipped > 0 {
                let (skipped, rest) = piece.split_at(piece.len().min(self.skipped));
                self.skipped -= skipped.len();
                piece = rest;
                continue;
            }
            let wanted = if self.missing > 0 { SETTING } else { HEAD };
            let (taken, rest) = piece.split_at(piece.len().min(wanted - self.have));
            if let Some(room) = self.bytes.get_mut(self.have..self.have + taken.len()) {
                room.copy_from_slice(taken);
            }
            self.have += taken.len();
            piece = rest;
            if self.have < wanted {
                continue;
            }
            self.have = 0;
            let [a, b, c, d, e, f, ..] = self.bytes;
            if self.missing > 0 {
                self.missing -= 1;
                if [a, b] == MAX_CONCURRENT_STREAMS {
                    self.streams = Some(u32::from_be_bytes([c, d, e, f]));
                }
            } else {
                let length = u32::from_be_bytes([0, a, b, c]) as usize;
                if d != SETTINGS || e & ACKNOWLEDGES != 0 {
                    self.skipped = length;
                    continue;
                }
                // A length that is no multiple is an error, by which the engine ends the connection.
                self.missing = length / SETTING;
            }
            if self.missing == 0 {
                told(self.streams.take());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 0]);
        frame.extend(payload);
        frame
    }

    fn settings(entries: &[(u8, u32)]) -> Vec<u8> {
        let entry = |(name, value): &(u8, u32)| [&[0, *name][..], &value.to_be_bytes()].concat();
        let payload: Vec<u8> = entries.iter().flat_map(entry).collect();
        frame(SETTINGS, 0, &payload)
    }

    fn told(pieces: &[&[u8]]) -> Vec<Option<u32>> {
        let (mut reader, mut all) = (PeerSettings::default(), Vec::new());
        for piece in pieces {
            reader.feed(piece, |streams| all.push(streams));
        }
        all
    }

    #[test]
    fn every_frame_of_settings_is_told_wherever_it_is_cut() {
        let bytes = [
            settings(&[(4, 65_535), (3, 10), (5, 16_384)]),
            // An acknowledgement, a header block that looks like settings, and data.
            frame(SETTINGS, ACKNOWLEDGES, b""),
            frame(1, 4, &settings(&[(3, 7)])),
            frame(0, 0, &[0; 100]),
            settings(&[]),
            settings(&[(3, 8), (3, 0)]),
        ]
        .concat();
        let expected = [Some(10), None, Some(0)];
        assert_eq!(told(&[&bytes]), expected);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(told(&single), expected);
        for cut in 0..bytes.len() {
            let (one, two) = bytes.split_at(cut);
            assert_eq!(told(&[one, two]), expected, "{cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..16)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            told(&pieces);
        }
    }
}
