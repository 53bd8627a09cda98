//! The textbook method: for every element of `a`, walk its positions in `b`.
//!
//! Handles everything difflib knows (junk, popular elements, bounds), so the cases that the fast
//! solvers leave out end here. Time O(matching position pairs) for each block found.

pub use super::rect::Rect;
use super::{Block, Halt, Stop};

/// What an element of `b` may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Seed,
    Popular,
    Junk,
}

/// `b` with the positions of each of its elements; elements are codes below `classes.len()`,
/// and a code of `a` beyond that matches nothing.
#[derive(Debug)]
pub struct Index {
    b: Vec<u32>,
    starts: Vec<usize>,
    positions: Vec<usize>,
    classes: Vec<Class>,
}

impl Index {
    /// Indexes `b`; `junk[code]` marks what the caller calls junk and bounds the codes.
    #[must_use]
    pub fn new(b: Vec<u32>, junk: &[bool], autojunk: bool) -> Self {
        let mut starts = vec![0; junk.len() + 1];
        for &code in &b {
            starts[code as usize + 1] += 1;
        }
        let classes = classify(&starts[1..], junk, autojunk.then_some(b.len()));
        for code in 0..junk.len() {
            starts[code + 1] += starts[code];
        }
        let mut next = starts.clone();
        let mut positions = vec![0; b.len()];
        for (j, &code) in b.iter().enumerate() {
            positions[next[code as usize]] = j;
            next[code as usize] += 1;
        }
        Self {
            b,
            starts,
            positions,
            classes,
        }
    }

    /// How many elements `b` has.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "an index is no container")]
    pub fn len(&self) -> usize {
        self.b.len()
    }

    /// All matching blocks of `a` in order, touching ones joined.
    ///
    /// # Errors
    /// [`Halt`] when `stop` is raised.
    pub fn matching_blocks(&self, a: &[u32], stop: Stop<'_>) -> Result<Vec<Block>, Halt> {
        let mut scratch = Scratch::new(self.b.len());
        let mut blocks = Vec::new();
        let whole = Rect {
            a_lo: 0,
            a_hi: a.len(),
            b_lo: 0,
            b_hi: self.b.len(),
        };
        let mut pending = vec![whole];
        while let Some(rect) = pending.pop() {
            let block = self.longest_with(a, rect, &mut scratch, stop)?;
            if block.len > 0 {
                blocks.push(block);
                pending.extend(rect.left_of(block));
                pending.extend(rect.right_of(block));
            }
        }
        blocks.sort_unstable();
        super::join(&mut blocks);
        Ok(blocks)
    }

    /// The longest block in `rect`: difflib's `find_longest_match`.
    ///
    /// # Errors
    /// [`Halt`] when `stop` is raised.
    pub fn longest(&self, a: &[u32], rect: Rect, stop: Stop<'_>) -> Result<Block, Halt> {
        self.longest_with(a, rect, &mut Scratch::new(self.b.len()), stop)
    }

    fn longest_with(
        &self,
        a: &[u32],
        rect: Rect,
        scratch: &mut Scratch,
        stop: Stop<'_>,
    ) -> Result<Block, Halt> {
        let mut best = Block {
            a: rect.a_lo,
            b: rect.b_lo,
            len: 0,
        };
        scratch.reset();
        for (i, &code) in a.iter().enumerate().take(rect.a_hi).skip(rect.a_lo) {
            if i % 1024 == 0 {
                stop.check()?;
            }
            let mut row = scratch.next_row();
            for &j in self.seeds(code) {
                if j < rect.b_lo {
                    continue;
                }
                if j >= rect.b_hi {
                    break;
                }
                let len = row.extend(j);
                if len > best.len {
                    best = Block {
                        a: i + 1 - len,
                        b: j + 1 - len,
                        len,
                    };
                }
            }
        }
        let wide = self.widen(a, rect, best, false);
        Ok(self.widen(a, rect, wide, true))
    }

    fn seeds(&self, code: u32) -> &[usize] {
        let code = code as usize;
        match self.classes.get(code) {
            Some(Class::Seed) => &self.positions[self.starts[code]..self.starts[code + 1]],
            _ => &[],
        }
    }

    fn widen(&self, a: &[u32], rect: Rect, mut block: Block, junk: bool) -> Block {
        let joins = |i: usize, j: usize| {
            a[i] == self.b[j] && (self.classes[self.b[j] as usize] == Class::Junk) == junk
        };
        while block.a > rect.a_lo && block.b > rect.b_lo && joins(block.a - 1, block.b - 1) {
            block = Block {
                a: block.a - 1,
                b: block.b - 1,
                len: block.len + 1,
            };
        }
        while block.a + block.len < rect.a_hi
            && block.b + block.len < rect.b_hi
            && joins(block.a + block.len, block.b + block.len)
        {
            block.len += 1;
        }
        block
    }
}

fn classify(counts: &[usize], junk: &[bool], autojunk_len: Option<usize>) -> Vec<Class> {
    let limit = autojunk_len
        .and_then(super::popular_limit)
        .unwrap_or(usize::MAX);
    let class = |(&count, &junk): (&usize, &bool)| match (junk, count > limit) {
        (true, _) => Class::Junk,
        (false, true) => Class::Popular,
        (false, false) => Class::Seed,
    };
    counts.iter().zip(junk).map(class).collect()
}

/// Run lengths of the previous and the current row, each stamped with its row number, so that
/// nothing is cleared between rows.
struct Scratch {
    lanes: [Vec<(u64, usize)>; 2],
    row: u64,
}

struct Row<'s> {
    above: &'s [(u64, usize)],
    here: &'s mut [(u64, usize)],
    number: u64,
}

impl Scratch {
    fn new(len: usize) -> Self {
        Self {
            lanes: [vec![(0, 0); len], vec![(0, 0); len]],
            row: 1,
        }
    }

    /// Cuts the rows to come off from those before.
    fn reset(&mut self) {
        self.row += 1;
    }

    fn next_row(&mut self) -> Row<'_> {
        self.row += 1;
        let [even, odd] = &mut self.lanes;
        let (here, above) = if self.row.is_multiple_of(2) {
            (even, odd)
        } else {
            (odd, even)
        };
        Row {
            above,
            here,
            number: self.row,
        }
    }
}

impl Row<'_> {
    /// Length of the run that ends in this row at column `j`.
    fn extend(&mut self, j: usize) -> usize {
        let before = match j.checked_sub(1).map(|j| self.above[j]) {
            Some((row, len)) if row + 1 == self.number => len,
            _ => 0,
        };
        self.here[j] = (self.number, before + 1);
        before + 1
    }
}
