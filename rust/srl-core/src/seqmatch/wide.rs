//! The longest block of a wide rectangle by word planes.
//!
//! The same levels as in [`super::narrow`], a row at a time over as many words as the columns
//! need; a row keeps its levels for the next one. Only for codes of one byte, and best where the
//! runs are known to be short: a row costs its number of levels.

use super::Block;
use super::rect::Rect;
use super::text::{Code, Text};

/// Planes and levels, used again from call to call.
#[derive(Debug, Default)]
pub(crate) struct Wide {
    planes: Vec<u64>,
    present: Vec<bool>,
    levels: Levels,
}

/// The levels of the row above and of this one, a plane each.
#[derive(Debug, Default)]
struct Levels {
    above: Vec<u64>,
    here: Vec<u64>,
}

impl Wide {
    /// The longest block, at most `bound` elements long, or None where nothing matches.
    pub(crate) fn longest<C: Code>(
        &mut self,
        a: &Text<C>,
        b: &Text<C>,
        rect: Rect,
        bound: usize,
    ) -> Option<Block> {
        // One more word than the columns need stays zero in front: what is shifted into column 0.
        let words = 1 + rect.cols().div_ceil(64);
        self.fill_planes(
            &a.codes()[rect.a_lo..rect.a_hi],
            &b.codes()[rect.b_lo..rect.b_hi],
            words,
        );
        let mut best: Option<Block> = None;
        let mut depth = 0;
        for (row, code) in a.codes()[rect.a_lo..rect.a_hi].iter().enumerate() {
            let plane = &self.planes[code.index() * words..][..words];
            depth = self.levels.deepen(plane, depth, words, bound);
            if depth > best.map_or(0, |block| block.len) {
                let col = lowest(&self.levels.here[(depth - 1) * words..][..words])?;
                let (end_a, end_b) = (rect.a_lo + row + 1, rect.b_lo + col + 1);
                best = Some(Block {
                    a: end_a - depth,
                    b: end_b - depth,
                    len: depth,
                });
                if depth == bound {
                    return best;
                }
            }
            std::mem::swap(&mut self.levels.above, &mut self.levels.here);
        }
        best
    }

    fn fill_planes<C: Code>(&mut self, a: &[C], b: &[C], words: usize) {
        self.present.clear();
        self.present.resize(256, false);
        if self.planes.len() < 256 * words {
            self.planes.resize(256 * words, 0);
        }
        for code in a {
            if !self.present[code.index()] {
                self.present[code.index()] = true;
                self.planes[code.index() * words..][..words].fill(0);
            }
        }
        for (j, code) in b.iter().enumerate() {
            self.planes[code.index() * words + 1 + j / 64] |= 1 << (j % 64);
        }
    }
}

impl Levels {
    /// Writes this row's levels; returns how many are not empty.
    fn deepen(&mut self, plane: &[u64], depth_above: usize, words: usize, bound: usize) -> usize {
        let deepest = (depth_above + 1).min(bound);
        if self.here.len() < deepest * words {
            self.here.resize(deepest * words, 0);
            self.above.resize(deepest * words, 0);
        }
        self.here[..words].copy_from_slice(plane);
        if plane.iter().all(|word| *word == 0) {
            return 0;
        }
        for level in 1..deepest {
            let above = &self.above[(level - 1) * words..][..words];
            let here = &mut self.here[level * words..][..words];
            if !shift_and(plane, above, here) {
                return level;
            }
        }
        deepest
    }
}

/// `here = plane & (above << 1)` across words; false when that is empty.
#[inline]
fn shift_and(plane: &[u64], above: &[u64], here: &mut [u64]) -> bool {
    here[0] = 0;
    let mut any = 0;
    let lower = &above[..above.len() - 1];
    for (((here, plane), above), lower) in here[1..]
        .iter_mut()
        .zip(&plane[1..])
        .zip(&above[1..])
        .zip(lower)
    {
        *here = plane & (above << 1 | lower >> 63);
        any |= *here;
    }
    any != 0
}

/// The lowest set bit, the first word being the one in front of column 0.
fn lowest(plane: &[u64]) -> Option<usize> {
    let word = plane.iter().position(|word| *word != 0)?;
    Some((word - 1) * 64 + plane[word].trailing_zeros() as usize)
}
