//! Blocks of one length in a rectangle that holds none longer, however repetitive it is.
//!
//! Every gram of `b` keeps its positions in a chain and a cursor into it. From the first row on,
//! each row asks where its gram comes next: the first that is found is difflib's block, what lies
//! to its left holds shorter blocks only, and the search goes on to its right, where cursors only
//! move forward. So one length costs a rectangle its two sides, whatever the number of blocks.

use super::Block;
use super::rect::Rect;
use super::text::{Code, Text, mix, window_masks};

const NONE: u32 = u32::MAX;

/// Bytes up to which a gram fits into two words.
const MOST_BYTES: usize = 16;

/// Whether blocks of at most `bound` elements of this width can be found here.
pub(crate) fn is_for<C: Code>(bound: usize) -> bool {
    bound * C::BYTES <= MOST_BYTES
}

/// What has been found, in order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece {
    Block(Block),
    /// A part with shorter blocks only.
    Part(Rect),
}

/// The grams of `b`, used again from call to call.
#[derive(Debug, Default)]
pub(crate) struct Grams {
    /// Where a gram comes last, by hash; what it is stands there.
    slots: Vec<u32>,
    shift: u32,
    /// By last position: the first position that has not been passed.
    cursors: Vec<u32>,
    next: Vec<u32>,
    masks: (u64, u64),
    found: Vec<Piece>,
}

impl Grams {
    /// Finds the blocks of `len` elements, the longest there are in `rect`; `widen` gives each its
    /// final extent.
    pub(crate) fn solve<C: Code>(
        &mut self,
        (a, b): (&Text<C>, &Text<C>),
        rect: Rect,
        len: usize,
        widen: impl Fn(Rect, Block) -> Block,
    ) -> &[Piece] {
        self.found.clear();
        self.masks = window_masks::<C>(len);
        if rect.rows() >= len && rect.cols() >= len {
            self.index(b, rect, len);
        }
        let mut tail = rect;
        let mut row = rect.a_lo;
        while row + len <= tail.a_hi && tail.b_lo + len <= tail.b_hi {
            let found = self.next_at((a, b), row, (rect.b_lo, tail.b_lo));
            let Some(col) = found.filter(|col| col + len <= tail.b_hi) else {
                row += 1;
                continue;
            };
            let core = Block {
                a: row,
                b: col,
                len,
            };
            let block = widen(tail, core);
            self.found.extend(tail.left_of(block).map(Piece::Part));
            self.found.push(Piece::Block(block));
            tail.a_lo = block.a + block.len;
            tail.b_lo = block.b + block.len;
            row = tail.a_lo;
        }
        if tail.has_area() {
            self.found.push(Piece::Part(tail));
        }
        &self.found
    }

    /// Chains the positions of each gram, ascending.
    fn index<C: Code>(&mut self, b: &Text<C>, rect: Rect, len: usize) {
        let count = rect.cols() + 1 - len;
        let bits = (usize::BITS - count.leading_zeros() + 1).max(4);
        self.shift = 64 - bits;
        self.slots.clear();
        self.slots.resize(1 << bits, NONE);
        self.cursors.clear();
        self.cursors.resize(count, NONE);
        self.next.clear();
        self.next.resize(count, NONE);
        for offset in (0..count).rev() {
            let key = b.key::<true>(rect.b_lo + offset, self.masks);
            let slot = self.slot(b, rect.b_lo, key);
            if self.slots[slot] == NONE {
                self.slots[slot] = position(offset);
            }
            let gram = self.slots[slot] as usize;
            self.next[offset] = self.cursors[gram];
            self.cursors[gram] = position(offset);
        }
    }

    /// Where the gram of `row` starts in `b`, at `from` or later.
    #[inline]
    fn next_at<C: Code>(
        &mut self,
        (a, b): (&Text<C>, &Text<C>),
        row: usize,
        (zero, from): (usize, usize),
    ) -> Option<usize> {
        let slot = self.slot(b, zero, a.key::<true>(row, self.masks));
        let gram = self.slots[slot];
        if gram == NONE {
            return None;
        }
        let cursor = &mut self.cursors[gram as usize];
        while *cursor != NONE && zero + (*cursor as usize) < from {
            *cursor = self.next[*cursor as usize];
        }
        (*cursor != NONE).then_some(zero + *cursor as usize)
    }

    /// The slot of a gram: the one that leads to it, or else the empty one it would have.
    #[inline]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "shifted to the size of the table"
    )]
    fn slot<C: Code>(&self, b: &Text<C>, zero: usize, key: (u64, u64)) -> usize {
        let mut slot = (mix(key) >> self.shift) as usize;
        loop {
            let gram = self.slots[slot];
            if gram == NONE || b.key::<true>(zero + gram as usize, self.masks) == key {
                return slot;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }
}

/// An offset as the chains hold it.
#[allow(
    clippy::cast_possible_truncation,
    reason = "rectangles here lie below 2^21 a side"
)]
fn position(offset: usize) -> u32 {
    offset as u32
}
