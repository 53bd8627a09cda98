//! Rectangles of the two texts.

use super::Block;

/// `a[a_lo..a_hi]` against `b[b_lo..b_hi]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    /// First row.
    pub a_lo: usize,
    /// One past the last row.
    pub a_hi: usize,
    /// First column.
    pub b_lo: usize,
    /// One past the last column.
    pub b_hi: usize,
}

impl Rect {
    /// The whole of two texts.
    pub(crate) fn whole(a_len: usize, b_len: usize) -> Self {
        Self {
            a_lo: 0,
            a_hi: a_len,
            b_lo: 0,
            b_hi: b_len,
        }
    }

    pub(crate) fn rows(self) -> usize {
        self.a_hi - self.a_lo
    }

    pub(crate) fn cols(self) -> usize {
        self.b_hi - self.b_lo
    }

    /// The part before `block`, if it has any area.
    #[must_use]
    pub fn left_of(self, block: Block) -> Option<Self> {
        let left = Self {
            a_hi: block.a,
            b_hi: block.b,
            ..self
        };
        left.has_area().then_some(left)
    }

    /// The part after `block`, if it has any area.
    #[must_use]
    pub fn right_of(self, block: Block) -> Option<Self> {
        let right = Self {
            a_lo: block.a + block.len,
            b_lo: block.b + block.len,
            ..self
        };
        right.has_area().then_some(right)
    }

    /// Whether the bounds are in order and inside sequences of these lengths.
    #[must_use]
    pub fn is_within(self, a_len: usize, b_len: usize) -> bool {
        self.a_lo <= self.a_hi && self.a_hi <= a_len && self.b_lo <= self.b_hi && self.b_hi <= b_len
    }

    pub(crate) fn contains(self, other: Self) -> bool {
        self.a_lo <= other.a_lo
            && other.a_hi <= self.a_hi
            && self.b_lo <= other.b_lo
            && other.b_hi <= self.b_hi
    }

    pub(crate) fn has_area(self) -> bool {
        self.a_lo < self.a_hi && self.b_lo < self.b_hi
    }
}
