//! Rectangles of at most 64 columns: one 64-bit match mask a row.
//!
//! Level 1 of a row is its mask; level l + 1 is the mask and the row above's level l shifted by
//! one: the bits of level l end equal runs of l elements. The last level that is not empty holds
//! the longest run, its first row and lowest bit are the earliest. The masks serve the whole
//! subtree of blocks below the rectangle.

use super::Block;
use super::rect::Rect;
use super::text::{Code, Text};

/// Columns that fit into a mask.
const COLUMNS: usize = 64;

/// Rows up to which they are searched here.
const ROWS: usize = 1024;

/// Whether a rectangle is one for the masks.
pub(crate) fn is_narrow(rect: Rect) -> bool {
    rect.cols() <= COLUMNS && rect.rows() <= ROWS
}

/// Part of the rectangle, in rows and columns of it, and how long its blocks can be.
#[derive(Clone, Copy, Debug)]
struct Part {
    rows: (usize, usize),
    cols: (usize, usize),
    bound: usize,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Search(Part),
    Emit(Block),
}

/// The masks and levels, used again from call to call.
#[derive(Debug, Default)]
pub(crate) struct Narrow {
    by_code: Vec<u64>,
    masks: Vec<u64>,
    base: Vec<u64>,
    level: Vec<u64>,
    deeper: Vec<u64>,
    pending: Vec<Step>,
}

impl Narrow {
    /// Emits the blocks of `rect`, none longer than `bound`, in order.
    pub(crate) fn solve<C: Code>(
        &mut self,
        a: &Text<C>,
        b: &Text<C>,
        rect: Rect,
        bound: usize,
        out: &mut Vec<Block>,
    ) {
        self.fill_masks(
            &a.codes()[rect.a_lo..rect.a_hi],
            &b.codes()[rect.b_lo..rect.b_hi],
        );
        self.pending.clear();
        let whole = Part {
            rows: (0, rect.rows()),
            cols: (0, rect.cols()),
            bound,
        };
        self.pending.push(Step::Search(whole));
        while let Some(step) = self.pending.pop() {
            match step {
                Step::Emit(block) => out.push(Block {
                    a: rect.a_lo + block.a,
                    b: rect.b_lo + block.b,
                    len: block.len,
                }),
                Step::Search(part) if part.bound == 1 => self.sweep(part, rect, out),
                Step::Search(part) => self.search(part),
            }
        }
    }

    /// Clears the entries that `a` will read, then lets `b` set its bits: nothing is left over.
    fn fill_masks<C: Code>(&mut self, a: &[C], b: &[C]) {
        // A byte's table has room for the codes of one side, which then need no test.
        let known = |code: &C| C::BYTES == 1 || (*code != C::A_ONLY && *code != C::B_ONLY);
        let entries = if C::BYTES == 1 {
            256
        } else {
            let top = |codes: &[C]| codes.iter().filter(|c| known(c)).map(|c| c.index()).max();
            1 + top(a).max(top(b)).unwrap_or(0)
        };
        if self.by_code.len() < entries {
            self.by_code.resize(entries, 0);
        }
        for code in a.iter().filter(|code| known(code)) {
            self.by_code[code.index()] = 0;
        }
        for (j, code) in b.iter().enumerate().filter(|(_, code)| known(code)) {
            self.by_code[code.index()] |= 1 << j;
        }
        let by_code = &self.by_code;
        let mask = |code: &C| {
            if known(code) {
                by_code[code.index()]
            } else {
                0
            }
        };
        self.masks.clear();
        self.masks.extend(a.iter().map(mask));
        let rows = a.len();
        if self.base.len() < rows {
            for buffer in [&mut self.base, &mut self.level, &mut self.deeper] {
                buffer.resize(rows, 0);
            }
        }
    }

    /// Splits a part at its longest block.
    fn search(&mut self, part: Part) {
        let Some(block) = self.longest(part) else {
            return;
        };
        let ((row, end_row), (col, end_col)) = (part.rows, part.cols);
        let (a_end, b_end) = (block.a + block.len, block.b + block.len);
        if a_end < end_row && b_end < end_col {
            let right = Part {
                rows: (a_end, end_row),
                cols: (b_end, end_col),
                bound: block.len,
            };
            self.pending.push(Step::Search(right));
        }
        self.pending.push(Step::Emit(block));
        if row < block.a && col < block.b && block.len > 1 {
            let left = Part {
                rows: (row, block.a),
                cols: (col, block.b),
                bound: block.len - 1,
            };
            self.pending.push(Step::Search(left));
        }
    }

    fn longest(&mut self, part: Part) -> Option<Block> {
        let rows = part.rows.1 - part.rows.0;
        let columns = column_mask(part.cols);
        let base = &mut self.base[..rows];
        let (mut level, mut deeper) = (&mut self.level[..rows], &mut self.deeper[..rows]);
        let mut any = 0;
        for (row, mask) in self.masks[part.rows.0..part.rows.1].iter().enumerate() {
            base[row] = mask & columns;
            level[row] = mask & columns;
            any |= mask & columns;
        }
        if any == 0 {
            return None;
        }
        let mut len = 1;
        while len < part.bound && len < rows {
            if !deepen(base, level, deeper) {
                break;
            }
            std::mem::swap(&mut level, &mut deeper);
            len += 1;
        }
        let row = len - 1 + level[len - 1..].iter().position(|bits| *bits != 0)?;
        let col = level[row].trailing_zeros() as usize;
        Some(Block {
            a: part.rows.0 + row + 1 - len,
            b: col + 1 - len,
            len,
        })
    }

    /// All blocks are single elements: the first row, its lowest bit, and on to the right.
    fn sweep(&self, part: Part, rect: Rect, out: &mut Vec<Block>) {
        let mut columns = column_mask(part.cols);
        for row in part.rows.0..part.rows.1 {
            let hits = self.masks[row] & columns;
            if hits != 0 {
                let col = hits.trailing_zeros() as usize;
                out.push(Block {
                    a: rect.a_lo + row,
                    b: rect.b_lo + col,
                    len: 1,
                });
                columns &= (u64::MAX << col) << 1;
                if columns == 0 {
                    return;
                }
            }
        }
    }
}

fn column_mask((from, to): (usize, usize)) -> u64 {
    (u64::MAX >> (64 - (to - from))) << from
}

/// Writes the next level; false when it is empty.
#[inline]
fn deepen(base: &[u64], level: &[u64], deeper: &mut [u64]) -> bool {
    let mut any = 0;
    deeper[0] = 0;
    let above = &level[..base.len() - 1];
    for ((deeper, base), above) in deeper[1..].iter_mut().zip(&base[1..]).zip(above) {
        *deeper = base & (above << 1);
        any |= *deeper;
    }
    any != 0
}
