//! Blocks of fewer than eight elements, length by length, until parts are narrow.

use super::super::Block;
use super::super::lanes::{Job, Row, below};
use super::super::levels::{self, Part};
use super::super::rect::Rect;
use super::super::sink::Sink;
use super::super::text::{Code, Text};
use super::{Planes, ROWS};

/// A set of rows; one word more comes first and stays empty.
#[derive(Debug)]
pub(super) struct Rows([u64; ROWS / 64 + 1]);

impl Default for Rows {
    fn default() -> Self {
        Self([0; ROWS / 64 + 1])
    }
}

impl Rows {
    /// Replaces those of a group of 64 rows that `among` names.
    #[inline(always)]
    fn set(&mut self, group: usize, rows: u64, among: u64) {
        let word = &mut self.0[group + 1];
        *word = *word & !among | rows;
    }

    /// The rows of a group of 64 that are in the set together with the row `above` above them.
    #[inline(always)]
    fn both(&self, group: usize, above: u32) -> u64 {
        let (here, before) = (self.0[group + 1], self.0[group]);
        here & (here << above | before >> 1 >> (63 - above))
    }
}

/// What the rows above lead to.
struct Above<R> {
    base: R,
    /// Level 2 of the last rows, each at its number's last two bits.
    twos: [R; 4],
}

impl<R: Row> Above<R> {
    #[inline(always)]
    fn empty() -> Self {
        Self {
            base: R::empty(),
            twos: [R::empty(); 4],
        }
    }

    /// Levels 2 and 4 of a row, from its level 1.
    #[inline(always)]
    fn levels(&mut self, row: usize, base: R) -> (R, R) {
        let two = base.and(self.base.shl(1));
        let four = two.and(self.twos[(row + 2) & 3].shl(2));
        self.base = base;
        self.twos[row & 3] = two;
        (two, four)
    }
}

impl Planes {
    /// Finds the blocks of `rect`, none longer than `bound`, which is below [`SHORTEST`] unless
    /// the rectangle is narrow.
    pub(crate) fn solve<C: Code>(
        &mut self,
        pair: (&Text<C>, &Text<C>),
        codes: usize,
        rect: Rect,
        bound: usize,
        out: &mut impl Sink,
    ) {
        self.enter(pair, codes, rect);
        let (region_a, region_b) = self
            .region
            .map_or((0, 0), |region| (region.a_lo, region.b_lo));
        let part = Part {
            rows: (rect.a_lo - region_a, rect.a_hi - region_a),
            cols: (rect.b_lo - region_b, rect.b_hi - region_b),
            bound,
        };
        let origin = (region_a, region_b);
        let (lanes, words) = (self.lanes, self.words);
        lanes.run(self, words, Search { part, origin, out });
    }

    /// Computes level 4 of the rows of `part`, and where levels have bits; parts come in order.
    #[inline(always)]
    fn fill_levels<R: Row>(&mut self, part: &Part) {
        let (from, to) = (part.rows.0.max(self.filled_to), part.rows.1);
        if from >= to {
            return;
        }
        if self.fours.len() < to * R::WORDS {
            self.fours.resize(to * R::WORDS, 0);
        }
        self.filled_to = to;
        let mut last = Above::empty();
        for row in from.saturating_sub(3)..from {
            last.levels(row, self.base(row));
        }
        for group in from / 64..to.div_ceil(64) {
            let (mut ones, mut twos, mut fours) = (0, 0, 0);
            let rows = from.max(group * 64)..to.min(group * 64 + 64);
            for row in rows.clone() {
                let base = self.base::<R>(row);
                let (two, four) = last.levels(row, base);
                four.store(&mut self.fours, row * R::WORDS);
                ones |= u64::from(!base.is_empty()) << (row % 64);
                twos |= u64::from(!two.is_empty()) << (row % 64);
                fours |= u64::from(!four.is_empty()) << (row % 64);
            }
            let among = below(rows.end, group) & !below(rows.start, group);
            self.has_one.set(group, ones, among);
            self.has_two.set(group, twos, among);
            self.has_four.set(group, fours, among);
        }
    }

    #[inline(always)]
    fn search<R: Row>(&mut self, mut part: Part, origin: (usize, usize), out: &mut impl Sink) {
        self.later.clear();
        loop {
            while part.bound > 0 && part.has_area() {
                if part.cols.1 - part.cols.0 <= levels::COLUMNS {
                    self.narrow::<R>(&part, origin, out);
                    break;
                }
                self.fill_levels::<R>(&part);
                let Some((row, col)) = self.first::<R>(&part) else {
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
            let Some((block, right)) = self.later.pop() else {
                return;
            };
            out.put(block);
            part = right;
        }
    }

    #[inline(always)]
    fn narrow<R: Row>(&mut self, part: &Part, origin: (usize, usize), out: &mut impl Sink) {
        let (from, to) = part.rows;
        let cols = part.cols.1 - part.cols.0;
        let (word, shift) = (part.cols.0 / 64, part.cols.0 % 64);
        let keep = u64::MAX >> (64 - cols);
        let masks = self.levels.rows(to - from);
        for (mask, plane) in masks.iter_mut().zip(&self.rows[from..to]) {
            let at = *plane as usize + word;
            let high = if R::WORDS == 1 {
                0
            } else {
                self.bits[at + 1] << 1 << (63 - shift)
            };
            *mask = (self.bits[at] >> shift | high) & keep;
        }
        let origin = (origin.0 + from, origin.1 + part.cols.0);
        self.levels
            .solve((to - from, cols), part.bound, origin, out);
    }

    /// Where the first block of the bound's length ends.
    #[inline(always)]
    fn first<R: Row>(&self, part: &Part) -> Option<(usize, usize)> {
        match part.bound {
            1 => self.first_end::<R, 1>(part),
            2 => self.first_end::<R, 2>(part),
            3 => self.first_end::<R, 3>(part),
            4 => self.first_end::<R, 4>(part),
            5 => self.first_end::<R, 5>(part),
            6 => self.first_end::<R, 6>(part),
            _ => self.first_end::<R, 7>(part),
        }
    }

    #[inline(always)]
    fn first_end<R: Row, const LEN: usize>(&self, part: &Part) -> Option<(usize, usize)> {
        if !part.has_room(LEN) {
            return None;
        }
        let columns = R::columns((part.cols.0 + LEN - 1, part.cols.1), 0);
        let (set, above) = match LEN {
            1 => (&self.has_one, 0),
            2 => (&self.has_two, 0),
            3 => (&self.has_two, 1),
            _ => (&self.has_four, beyond_four::<LEN>()),
        };
        let (from, to) = (part.rows.0 + LEN - 1, part.rows.1);
        for group in from / 64..to.div_ceil(64) {
            let mut rows = set.both(group, above) & below(to, group) & !below(from, group);
            while rows != 0 {
                let row = group * 64 + rows.trailing_zeros() as usize;
                rows &= rows - 1;
                let hits = self.level::<R, LEN>(row).and(columns);
                if !hits.is_empty() {
                    return Some((row, hits.lowest()));
                }
            }
        }
        None
    }

    /// The bits of a row that end runs of `LEN` elements; the part must have as many rows above.
    #[inline(always)]
    fn level<R: Row, const LEN: usize>(&self, row: usize) -> R {
        match LEN {
            1 => self.base(row),
            2 => self.base::<R>(row).and(self.base::<R>(row - 1).shl(1)),
            3 => {
                let two = self.base::<R>(row).and(self.base::<R>(row - 1).shl(1));
                two.and(self.base::<R>(row - 2).shl(2))
            }
            4 => self.four(row),
            _ => {
                let beyond = beyond_four::<LEN>();
                let above = self.four::<R>(row - beyond as usize).shl(beyond);
                self.four::<R>(row).and(above)
            }
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "lengths are below eight")]
const fn beyond_four<const LEN: usize>() -> u32 {
    LEN as u32 - 4
}

/// [`Planes::search`] for rows of any width.
struct Search<'j, S> {
    part: Part,
    origin: (usize, usize),
    out: &'j mut S,
}

impl<S: Sink> Job for Search<'_, S> {
    type On = Planes;
    type Result = ();

    #[inline(always)]
    fn run<R: Row>(self, planes: &mut Planes) {
        planes.search::<R>(self.part, self.origin, self.out);
    }
}
