//! Lines out of pieces.

/// The beginning of a line whose end has not come yet.
#[derive(Debug, Default)]
pub(super) struct Line(Vec<u8>);

/// A whole line with its line feed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended<'a>(&'a [u8]);

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes bytes up to the next line feed; says how many, and the line where it ended.
    /// `None` where the line is longer than `limit`.
    pub(super) fn take<'a>(
        &'a mut self,
        rest: &'a [u8],
        limit: usize,
    ) -> Option<(usize, Option<Ended<'a>>)> {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(rest.len(), |at| at + 1);
        if self.0.len() + taken > limit {
            return None;
        }
        let (part, _) = rest.split_at(taken);
        if end.is_some() && self.0.is_empty() {
            return Some((taken, Some(Ended(part))));
        }
        self.0.extend_from_slice(part);
        Some((taken, end.map(|_| Ended(&self.0))))
    }
}

impl<'a> Ended<'a> {
    /// How long it is, line end included.
    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }

    /// The line without its CR LF; `None` where it ends in a bare line feed.
    pub(super) fn text(&self) -> Option<&'a [u8]> {
        self.0.strip_suffix(b"\r\n")
    }

    /// A whole line without its end, and whether that is a bare line feed.
    pub(super) fn text_of(line: &'a [u8]) -> (&'a [u8], bool) {
        match line.strip_suffix(b"\r\n") {
            Some(text) => (text, false),
            None => (line.strip_suffix(b"\n").unwrap_or(line), true),
        }
    }
}
