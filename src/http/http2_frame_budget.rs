//! The heads of HTTP/2 frames, and how many of each kind a client may send.
//!
//! The engine bounds what a client can make it remember. It does not bound what a client can make
//! it do: frames that carry nothing and cost something may come as fast as the line allows. So
//! every kind has a budget here, below the engine: some at once, some per second, and more for a
//! client that does real work, which opens streams and takes data.

use std::time::Duration;

/// The nine bytes before a frame's payload (RFC 9113, section 4.1).
const HEAD: usize = 9;
/// Why a stream is reset stands behind the head.
const CODE: usize = 4;
/// Codes of resets that do not blame the client.
const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const CANCEL: u32 = 8;

/// `CONTINUATION` frames in one header block: the largest block that is taken fits into a few.
const CONTINUATIONS: u32 = 16;

/// What a client does to its connection. Each is answered with `ENHANCE_YOUR_CALM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameAbuse {
    /// Streams opened and reset at once, by the client or by frames that make us do it
    /// (CVE-2023-44487, CVE-2025-8671).
    Resets,
    /// Header blocks in too many pieces (CVE-2024-27316).
    Continuations,
    /// Settings that each ask for an answer (CVE-2019-9515).
    Settings,
    /// Pings likewise (CVE-2019-9512).
    Pings,
    /// `DATA` frames without data (CVE-2019-9518).
    EmptyData,
    /// Window updates that open nothing worth mentioning.
    WindowUpdates,
    /// Priorities, of streams that may not exist (CVE-2019-9513).
    Priorities,
    /// Frames of kinds that are not in the standard.
    Unknown,
    /// A header block that does not come to its end in time.
    SlowHead,
}

impl FrameAbuse {
    /// The word in `refused_total{reason}`.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            FrameAbuse::Resets => "h2_resets",
            FrameAbuse::Continuations => "h2_continuations",
            FrameAbuse::Settings => "h2_settings",
            FrameAbuse::Pings => "h2_pings",
            FrameAbuse::EmptyData => "h2_empty_data",
            FrameAbuse::WindowUpdates => "h2_window_updates",
            FrameAbuse::Priorities => "h2_priorities",
            FrameAbuse::Unknown => "h2_unknown_frames",
            FrameAbuse::SlowHead => "h2_slow_head",
        }
    }
}

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes of payload.
    pub(crate) length: u32,
    /// Which kind of frame.
    pub(crate) kind: FrameKind,
    flags: u8,
    /// Zero for the connection's own.
    pub(crate) stream: u32,
    /// Why, in a reset; zero elsewhere.
    code: u32,
}

/// Kinds of frames (RFC 9113, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// Content.
    Data,
    /// The beginning of a header block.
    Headers,
    /// A client's wish for an order; it is ignored.
    Priority,
    /// The end of a stream before its time.
    Reset,
    /// Settings, or their acknowledgement.
    Settings,
    /// A ping, or its answer.
    Ping,
    /// The end of the connection is near.
    GoAway,
    /// More may be sent.
    WindowUpdate,
    /// The next piece of a header block.
    Continuation,
    /// Anything else.
    Other,
}

impl FrameHead {
    fn read(bytes: [u8; HEAD + CODE]) -> FrameHead {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3, code @ ..] = bytes;
        FrameHead {
            length: u32::from_be_bytes([0, l0, l1, l2]),
            kind: FrameKind::of(kind),
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
            code: u32::from_be_bytes(code),
        }
    }

    fn has_code(&self) -> bool {
        self.kind == FrameKind::Reset && self.length as usize == CODE
    }

    /// Whether it resets a stream that broke the rules of HTTP/2.
    pub(crate) fn blames_the_client(self) -> bool {
        self.kind == FrameKind::Reset && !matches!(self.code, NO_ERROR | INTERNAL_ERROR | CANCEL)
    }

    fn ends_stream(self) -> bool {
        self.flags & 0x1 != 0
    }

    fn ends_block(self) -> bool {
        self.flags & 0x4 != 0
    }

    /// Whether padding is all that it can carry at most.
    fn is_empty(self) -> bool {
        let is_padded = self.flags & 0x8 != 0;
        self.length == 0 || is_padded && self.length <= 1
    }
}

impl FrameKind {
    fn of(byte: u8) -> FrameKind {
        match byte {
            0 => FrameKind::Data,
            1 => FrameKind::Headers,
            // The second is RFC 9218's.
            2 | 16 => FrameKind::Priority,
            3 => FrameKind::Reset,
            4 => FrameKind::Settings,
            6 => FrameKind::Ping,
            7 => FrameKind::GoAway,
            8 => FrameKind::WindowUpdate,
            9 => FrameKind::Continuation,
            _ => FrameKind::Other,
        }
    }
}

/// Finds the frames in one direction of a connection, in pieces of any size.
#[derive(Debug, Default)]
pub struct Walk {
    /// A head, and in a reset its code.
    bytes: [u8; HEAD + CODE],
    have: usize,
    head: Option<FrameHead>,
    /// Bytes of the payload under way that are missing.
    left: u32,
}

impl Walk {
    /// Goes through a piece. `see` gets every head when it is whole.
    ///
    /// # Errors
    /// What `see` says; the rest is not looked at then.
    pub fn feed<E>(
        &mut self,
        mut piece: &[u8],
        mut see: impl FnMut(FrameHead) -> Result<(), E>,
    ) -> Result<(), E> {
        while !piece.is_empty() {
            if self.left > 0 {
                let count = piece.len().min(self.left as usize);
                // Not more than `left`, which is 32 bits wide.
                self.left -= count as u32;
                piece = piece.get(count..).unwrap_or_default();
                continue;
            }
            let wanted = match self.have {
                ..HEAD => HEAD,
                _ => HEAD + CODE,
            };
            let count = piece.len().min(wanted - self.have);
            let (taken, rest) = piece.split_at(count);
            if let Some(room) = self.bytes.get_mut(self.have..self.have + count) {
                room.copy_from_slice(taken);
            }
            self.have += count;
            piece = rest;
            if self.have < wanted {
                continue;
            }
            let head = FrameHead::read(self.bytes);
            if self.have == HEAD && head.has_code() {
                continue;
            }
            // What stands behind a whole head is there only of a reset.
            self.left = head.length - (self.have - HEAD) as u32;
            self.have = 0;
            self.bytes = [0; HEAD + CODE];
            self.head = Some(head);
            see(head)?;
        }
        Ok(())
    }

    /// The frame whose payload is under way, and how much of it has come.
    pub(crate) fn under_way(&self) -> Option<(FrameHead, u32)> {
        let head = self.head.filter(|_| self.left > 0)?;
        Some((head, head.length - self.left))
    }
}

/// What a client may still do.
#[derive(Debug)]
pub struct FrameBudget {
    resets: Bucket,
    settings: Bucket,
    pings: Bucket,
    empty_data: Bucket,
    window_updates: Bucket,
    priorities: Bucket,
    unknown: Bucket,
    last_stream: u32,
    block: Block,
}

/// The header block under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    No,
    /// With so many `CONTINUATION`s so far.
    Open(u32),
}

impl Default for FrameBudget {
    fn default() -> Self {
        FrameBudget {
            // Two for a reset, one back for a stream: a client that resets less than half is never cut.
            resets: Bucket::new(256, 20),
            settings: Bucket::new(32, 1),
            // Estimators of bandwidth ping once per round trip while data runs.
            pings: Bucket::new(256, 32),
            empty_data: Bucket::new(64, 4),
            // A client that takes data opens windows, twice per frame where it is careless.
            window_updates: Bucket::new(1024, 64),
            priorities: Bucket::new(512, 16),
            // Browsers send some on purpose, so that servers stay used to them.
            unknown: Bucket::new(256, 4),
            last_stream: 0,
            block: Block::No,
        }
    }
}

impl FrameBudget {
    /// A frame of the client, at a time of the connection's life.
    ///
    /// # Errors
    /// The budget that it overdraws.
    pub fn receive(&mut self, head: FrameHead, now: Duration) -> Result<(), FrameAbuse> {
        match head.kind {
            FrameKind::Data if head.is_empty() && !head.ends_stream() => {
                self.empty_data.take(1, now, FrameAbuse::EmptyData)
            }
            FrameKind::Data => {
                self.pings.earn(1);
                Ok(())
            }
            FrameKind::Headers => {
                if head.stream > self.last_stream {
                    self.last_stream = head.stream;
                    self.resets.earn(1);
                    self.priorities.earn(2);
                    self.unknown.earn(2);
                }
                self.block = match head.ends_block() {
                    true => Block::No,
                    false => Block::Open(0),
                };
                Ok(())
            }
            FrameKind::Continuation => self.continue_block(head),
            FrameKind::Reset => self.resets.take(2, now, FrameAbuse::Resets),
            FrameKind::Settings => self.settings.take(1, now, FrameAbuse::Settings),
            FrameKind::Ping => self.pings.take(1, now, FrameAbuse::Pings),
            FrameKind::WindowUpdate => self.window_updates.take(1, now, FrameAbuse::WindowUpdates),
            FrameKind::Priority => self.priorities.take(1, now, FrameAbuse::Priorities),
            FrameKind::GoAway => Ok(()),
            FrameKind::Other => self.unknown.take(1, now, FrameAbuse::Unknown),
        }
    }

    /// A frame that the engine sends.
    ///
    /// # Errors
    /// It resets streams for a client that makes it do so.
    pub fn send(&mut self, head: FrameHead, now: Duration) -> Result<(), FrameAbuse> {
        match head.kind {
            FrameKind::Data => {
                self.window_updates.earn(8);
                self.pings.earn(1);
                Ok(())
            }
            // Early answers and cancelled streams are not the client's fault.
            _ if head.blames_the_client() => self.resets.take(2, now, FrameAbuse::Resets),
            _ => Ok(()),
        }
    }

    /// Whether a header block has begun and not ended.
    pub fn in_block(&self) -> bool {
        self.block != Block::No
    }

    fn continue_block(&mut self, head: FrameHead) -> Result<(), FrameAbuse> {
        self.block = match (self.block, head.ends_block()) {
            (_, true) => Block::No,
            (Block::Open(count), false) if count >= CONTINUATIONS => {
                return Err(FrameAbuse::Continuations);
            }
            (Block::Open(count), false) => Block::Open(count + 1),
            // The engine refuses what continues nothing.
            (Block::No, false) => Block::No,
        };
        Ok(())
    }
}

/// So many at once, so many more per second.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: u32,
    most: u32,
    per_second: u32,
    filled: Duration,
}

impl Bucket {
    fn new(most: u32, per_second: u32) -> Self {
        Bucket {
            left: most,
            most,
            per_second,
            filled: Duration::ZERO,
        }
    }

    fn earn(&mut self, count: u32) {
        self.left = self.left.saturating_add(count).min(self.most);
    }

    fn take(&mut self, count: u32, now: Duration, abuse: FrameAbuse) -> Result<(), FrameAbuse> {
        if self.left < count {
            self.fill(now);
        }
        self.left = self.left.checked_sub(count).ok_or(abuse)?;
        Ok(())
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled).as_secs();
        let earned = passed.saturating_mul(self.per_second.into());
        self.earn(u32::try_from(earned).unwrap_or(u32::MAX));
        self.filled += Duration::from_secs(passed);
    }
}

#[cfg(test)]
mod tests;
