//! Rectangles of up to 2,048 columns: a plane of bits for each element, one bit a column.
//!
//! The plane of a row's element is its level 1: where runs of one element end. Level l + m is level
//! l and what level m, l rows above, leads to: one shift and one `and`, whatever the columns hold.
//! So five levels of every fourth row show where runs of eight and more elements are ([`runs`]),
//! and shorter blocks are found level by level ([`short`]) until parts are narrow enough for
//! [`super::levels`].

mod runs;
mod short;

use super::Block;
use super::lanes::{Available, Lanes, Row};
use super::levels::{self, Levels, Part};
use super::rect::Rect;
use super::text::{Code, Text};
pub(crate) use runs::SHORTEST;
use short::Rows;

/// Columns up to which short blocks are found by planes.
const COLUMNS: usize = 2048;

/// Rows up to which anything is.
const ROWS: usize = 2048;

/// Words of planes up to which every code has a plane of its own, of which most are not touched.
const MOST_BY_CODE: usize = 1 << 16;

/// Columns up to which planes find runs sooner than hashed windows do.
const RUN_COLUMNS: usize = 512;

/// Whether runs are to be found by planes.
pub(crate) fn finds_runs(rect: Rect) -> bool {
    rect.cols() <= RUN_COLUMNS && rect.rows() <= ROWS
}

/// Whether blocks that are shorter than [`SHORTEST`] are to be found by planes.
pub(crate) fn finds_short(rect: Rect) -> bool {
    rect.cols() <= COLUMNS && rect.rows() <= ROWS
}

/// Whether a rectangle needs no list of runs.
pub(crate) fn is_narrow(rect: Rect) -> bool {
    rect.cols() <= levels::COLUMNS && rect.rows() <= ROWS
}

/// Planes and levels of a region, used again from call to call.
#[derive(Debug, Default)]
pub(crate) struct Planes {
    lanes: Available,
    /// For each code a stamp and the number of its plane; other stamps are of older regions.
    numbers: Vec<u32>,
    stamp: u32,
    /// Plane 0 is empty.
    bits: Vec<u64>,
    words: usize,
    /// Where each row's plane begins.
    rows: Vec<u32>,
    fours: Vec<u64>,
    has_one: Rows,
    has_two: Rows,
    has_four: Rows,
    /// Up to which row these four are filled.
    filled_to: usize,
    region: Option<Rect>,
    levels: Levels,
    later: Vec<(Block, Part)>,
}

impl Planes {
    /// Uses no wider registers than `lanes`.
    pub(crate) fn limit(&mut self, lanes: Lanes) {
        self.lanes = Available::at_most(lanes);
    }

    /// Forgets the pair before.
    pub(crate) fn reset(&mut self) {
        self.region = None;
    }

    /// Makes the planes of `rect`, unless they are at hand.
    fn enter<C: Code>(&mut self, (a, b): (&Text<C>, &Text<C>), codes: usize, rect: Rect) {
        if self.region.is_some_and(|region| region.contains(rect)) {
            return;
        }
        self.words = match rect.cols() {
            0..=64 => 1,
            65..=128 => 2,
            129..=256 => 4,
            257..=512 => 8,
            513..=1024 => 16,
            _ => 32,
        };
        self.region = Some(rect);
        self.filled_to = 0;
        self.fill(
            &a.codes()[rect.a_lo..rect.a_hi],
            &b.codes()[rect.b_lo..rect.b_hi],
            codes,
        );
    }

    fn fill<C: Code>(&mut self, a: &[C], b: &[C], codes: usize) {
        self.rows.clear();
        if codes * self.words > MOST_BY_CODE {
            self.fill_numbered(a, b, codes);
            return;
        }
        match self.words {
            1 => self.fill_by_code::<C, 1>(a, b, codes),
            2 => self.fill_by_code::<C, 2>(a, b, codes),
            4 => self.fill_by_code::<C, 4>(a, b, codes),
            8 => self.fill_by_code::<C, 8>(a, b, codes),
            16 => self.fill_by_code::<C, 16>(a, b, codes),
            _ => self.fill_by_code::<C, 32>(a, b, codes),
        }
    }

    /// A plane for each code, one more for what `a` alone has and one for what `b` alone has. Those
    /// of the rows are emptied before columns are set; what the others hold is never read.
    fn fill_by_code<C: Code, const W: usize>(&mut self, a: &[C], b: &[C], codes: usize) {
        // A byte is an index of its own.
        let place = |code: &C, other: usize| match C::BYTES {
            1 => code.index() * W,
            _ => code.index().min(other) * W,
        };
        let need = (codes + 3).max(257) * W;
        if self.bits.len() < need {
            self.bits.resize(need, 0);
        }
        let bits = &mut self.bits[..need];
        for code in a {
            bits[place(code, codes)..][..W].fill(0);
        }
        for (j, code) in b.iter().enumerate() {
            bits[place(code, codes + 1) + j / 64] |= 1 << (j % 64);
        }
        self.rows
            .extend(a.iter().map(|code| offset(place(code, codes))));
    }

    /// A plane for each code that the columns have, numbered as they come; plane 0 is empty.
    fn fill_numbered<C: Code>(&mut self, a: &[C], b: &[C], codes: usize) {
        if self.numbers.len() < codes {
            self.numbers.resize(codes, 0);
        }
        self.stamp += 1;
        if self.stamp > 0xFFFF {
            self.numbers.fill(0);
            self.stamp = 1;
        }
        let words = self.words;
        let need = (b.len() + 2) * words + 8;
        if self.bits.len() < need {
            self.bits.resize(need, 0);
        }
        self.bits[..words].fill(0);
        let mut count = 0;
        for (j, code) in b.iter().enumerate() {
            let Some(entry) = self.numbers.get_mut(code.index()) else {
                continue;
            };
            let is_new = *entry >> 16 != self.stamp;
            count += u32::from(is_new);
            let number = if is_new { count } else { *entry & 0xFFFF };
            *entry = self.stamp << 16 | number;
            let from = count as usize * words;
            if is_new {
                self.bits[from..from + words].fill(0);
            }
            self.bits[number as usize * words + j / 64] |= 1 << (j % 64);
        }
        let (numbers, stamp) = (&self.numbers, self.stamp);
        let wide = offset(self.words);
        self.rows
            .extend(a.iter().map(|code| match numbers.get(code.index()) {
                Some(entry) if entry >> 16 == stamp => (entry & 0xFFFF) * wide,
                _ => 0,
            }));
    }

    #[inline(always)]
    fn base<R: Row>(&self, row: usize) -> R {
        R::load(&self.bits, self.rows[row] as usize)
    }

    #[inline(always)]
    fn four<R: Row>(&self, row: usize) -> R {
        R::load(&self.fours, row * R::WORDS)
    }
}

/// A place among the planes; there are far fewer than 2^32 words.
#[inline]
#[allow(
    clippy::cast_possible_truncation,
    reason = "2,050 planes of 32 words at most"
)]
fn offset(words: usize) -> u32 {
    words as u32
}
