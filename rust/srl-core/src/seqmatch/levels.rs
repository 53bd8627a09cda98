//! Parts of at most 64 columns: one 64-bit mask a row and level.
//!
//! Level 1 of a row is its mask of equal columns; level l + 1 is that mask and the row above's
//! level l, shifted by one: a bit of level l ends an equal run of l elements. From the deepest
//! level on, the first row with a bit is the next block and its lowest bit the earliest; what lies
//! to its left holds shorter blocks only, and to its right the search goes on where it stands. So
//! each level is read through once, whatever the number of blocks.

use super::Block;
use super::sink::Sink;

/// Columns that fit into a mask.
pub(crate) const COLUMNS: usize = 64;

/// Rows and columns, and how long the blocks in them can be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) rows: (usize, usize),
    pub(crate) cols: (usize, usize),
    pub(crate) bound: usize,
}

impl Part {
    /// Whether a block of `len` elements has room.
    #[inline]
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.rows.0 + len <= self.rows.1 && self.cols.0 + len <= self.cols.1
    }

    /// What lies to the left of a block of the bound's length that ends in `row` and `col`.
    #[inline]
    pub(crate) fn left_of(&self, (row, col): (usize, usize)) -> Self {
        Self {
            rows: (self.rows.0, row + 1 - self.bound),
            cols: (self.cols.0, col + 1 - self.bound),
            bound: self.bound - 1,
        }
    }

    /// What lies to the right of a block that ends in `row` and `col`.
    #[inline]
    pub(crate) fn right_of(&self, (row, col): (usize, usize)) -> Self {
        Self {
            rows: (row + 1, self.rows.1),
            cols: (col + 1, self.cols.1),
            ..*self
        }
    }

    #[inline]
    pub(crate) fn has_area(&self) -> bool {
        self.rows.0 < self.rows.1 && self.cols.0 < self.cols.1
    }
}

/// The levels, one after the other, used again from call to call.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    masks: Vec<u64>,
    later: Vec<(Block, Part)>,
}

impl Levels {
    /// Room for the masks of `rows` rows, which are to be filled before [`Self::solve`].
    #[inline(always)]
    pub(crate) fn rows(&mut self, rows: usize) -> &mut [u64] {
        if self.masks.len() < rows {
            self.masks.resize(rows, 0);
        }
        &mut self.masks[..rows]
    }

    /// Finds the blocks of `rows` rows by `cols` columns, counted from `origin`, none longer than
    /// `bound`.
    #[inline(always)]
    pub(crate) fn solve(
        &mut self,
        (rows, cols): (usize, usize),
        bound: usize,
        origin: (usize, usize),
        out: &mut impl Sink,
    ) {
        let deepest = self.deepen(rows, bound.min(rows).min(cols));
        let mut part = Part {
            rows: (0, rows),
            cols: (0, cols),
            bound: deepest,
        };
        self.later.clear();
        loop {
            while part.bound > 1 {
                let Some((row, col)) = self.first(&part, rows) else {
                    part.bound -= 1;
                    continue;
                };
                let block = Block {
                    a: origin.0 + row + 1 - part.bound,
                    b: origin.1 + col + 1 - part.bound,
                    len: part.bound,
                };
                let (left, right) = (part.left_of((row, col)), part.right_of((row, col)));
                if left.has_area() {
                    self.later.push((block, right));
                    part = left;
                } else {
                    out.put(block);
                    part = right;
                }
            }
            if part.bound == 1 {
                sweep(&self.masks, part, origin, out);
            }
            let Some((block, right)) = self.later.pop() else {
                return;
            };
            out.put(block);
            part = right;
        }
    }

    /// Computes levels until one is empty or `bound` is reached; returns the last that is not.
    #[inline(always)]
    fn deepen(&mut self, rows: usize, bound: usize) -> usize {
        if bound <= 1 {
            return bound;
        }
        let mut level = 1;
        while level < bound {
            if self.masks.len() < (level + 1) * rows {
                self.masks.resize((level + 4) * rows, 0);
            }
            let (above, deeper) = self.masks.split_at_mut(level * rows);
            let (base, above) = (&above[..rows], &above[(level - 1) * rows..]);
            let deeper = &mut deeper[..rows];
            deeper[0] = 0;
            let mut any = 0;
            for ((deeper, base), above) in deeper[1..].iter_mut().zip(&base[1..]).zip(above) {
                *deeper = base & (above << 1);
                any |= *deeper;
            }
            if any == 0 {
                break;
            }
            level += 1;
        }
        level
    }

    /// Where the first block of the bound's length ends.
    #[inline(always)]
    fn first(&self, part: &Part, rows: usize) -> Option<(usize, usize)> {
        let len = part.bound;
        if !part.has_room(len) {
            return None;
        }
        let columns = columns((part.cols.0 + len - 1, part.cols.1));
        let level = &self.masks[(len - 1) * rows..][..rows];
        let start = part.rows.0 + len - 1;
        for (row, bits) in level[start..part.rows.1].iter().enumerate() {
            let hits = bits & columns;
            if hits != 0 {
                return Some((start + row, hits.trailing_zeros() as usize));
            }
        }
        None
    }
}

/// All blocks are single elements: the first row, its lowest bit, and on to the right.
#[inline(always)]
fn sweep(masks: &[u64], part: Part, origin: (usize, usize), out: &mut impl Sink) {
    if part.cols.0 >= part.cols.1 || part.rows.0 >= part.rows.1 {
        return;
    }
    let mut columns = columns(part.cols);
    for (row, mask) in masks[part.rows.0..part.rows.1].iter().enumerate() {
        let hits = mask & columns;
        out.put_if(hits != 0, || Block {
            a: origin.0 + part.rows.0 + row,
            b: origin.1 + hits.trailing_zeros() as usize,
            len: 1,
        });
        // All up to the lowest hit; without a hit nothing goes.
        let upto = hits ^ hits.wrapping_sub(1);
        columns = if hits == 0 { columns } else { columns & !upto };
    }
}

/// Bits `from..to`, where `from` is less.
#[inline]
fn columns((from, to): (usize, usize)) -> u64 {
    (u64::MAX >> (64 - (to - from))) << from
}
