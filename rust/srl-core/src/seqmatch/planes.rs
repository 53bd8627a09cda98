//! Rectangles of up to 504 columns: a plane of bits for each element, one bit a column.
//!
//! A row's level 1 is the plane of its element; levels 2, 4 and 8 come from levels 1, 2 and 4 by
//! one shift and one `and` each, whatever the columns hold. Where level 8 sets a bit that the row
//! above did not lead to, a run of at least eight elements begins. Shorter blocks are found as in
//! [`super::levels`], level by level from the stored level 4, until parts are narrow enough for it.
//!
//! Rows are arrays of words, so that the compiler makes vector code of them; the widest that the
//! processor has is chosen when the program runs.

use super::lanes::{self, Job, Row, below};
use super::levels::{self, Levels, Part};
use super::rect::Rect;
use super::runs::Run;
use super::sink::Sink;
use super::text::{Code, Text, common_after, few_before};
use super::Block;

/// Columns of eight words, less the bits that a shift must find empty.
const COLUMNS: usize = 2048;

const ROWS: usize = 2048;

/// Runs of this length and more are found by [`Planes::runs`], shorter blocks by [`Planes::solve`].
pub(crate) const SHORTEST: usize = 8;

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

/// A set of rows; one word more comes first and stays empty.
#[derive(Debug)]
struct Rows([u64; ROWS / 64 + 1]);

impl Default for Rows {
    fn default() -> Self {
        Self([0; ROWS / 64 + 1])
    }
}

impl Rows {
    #[inline(always)]
    fn mark(&mut self, row: usize, is_in: bool) {
        let word = &mut self.0[row / 64 + 1];
        *word = *word & !(1 << (row % 64)) | u64::from(is_in) << (row % 64);
    }

    /// The rows of a group of 64 that are in the set together with the row `above` above them.
    #[inline(always)]
    fn both(&self, group: usize, above: u32) -> u64 {
        let (here, before) = (self.0[group + 1], self.0[group]);
        here & (here << above | before >> 1 >> (63 - above))
    }
}

/// Planes and levels of a region, used again from call to call.
#[derive(Debug, Default)]
pub(crate) struct Planes {
    /// For each code a stamp and the number of its plane; other stamps are of older regions.
    numbers: Vec<u32>,
    stamp: u32,
    /// Plane 0 is empty.
    planes: Vec<u64>,
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
    /// Forgets the pair before.
    pub(crate) fn reset(&mut self) {
        self.region = None;
    }

    /// Appends the runs of at least [`SHORTEST`] elements, starts counted from `origin`; false,
    /// with `runs` as it was, where there are more than `most`.
    pub(crate) fn runs<C: Code>(
        &mut self,
        pair: (&Text<C>, &Text<C>),
        codes: usize,
        rect: Rect,
        (origin, most): ((usize, usize), usize),
        runs: &mut Vec<Run>,
    ) -> bool {
        if self.region != Some(rect) {
            self.region = None;
        }
        self.enter(pair, codes, rect);
        let limits = (origin, runs.len() + most);
        let before = runs.len();
        let fine = lanes::widest(self, self.words, FindRuns { pair, rect, limits, runs });
        if !fine {
            runs.truncate(before);
        }
        fine
    }

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
        lanes::widest(self, self.words, Search { part, origin, out });
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
        if self.planes.len() < need {
            self.planes.resize(need, 0);
        }
        let planes = &mut self.planes[..need];
        for code in a {
            planes[place(code, codes)..][..W].fill(0);
        }
        for (j, code) in b.iter().enumerate() {
            planes[place(code, codes + 1) + j / 64] |= 1 << (j % 64);
        }
        self.rows.extend(a.iter().map(|code| place(code, codes) as u32));
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
        if self.planes.len() < need {
            self.planes.resize(need, 0);
        }
        self.planes[..words].fill(0);
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
                self.planes[from..from + words].fill(0);
            }
            self.planes[number as usize * words + j / 64] |= 1 << (j % 64);
        }
        let (numbers, stamp) = (&self.numbers, self.stamp);
        let wide = self.words as u32;
        self.rows
            .extend(a.iter().map(|code| match numbers.get(code.index()) {
                Some(entry) if entry >> 16 == stamp => (entry & 0xFFFF) * wide,
                _ => 0,
            }));
    }

    #[inline(always)]
    fn find_runs<R: Row, C: Code>(
        &mut self,
        pair: (&Text<C>, &Text<C>),
        rect: Rect,
        (origin, most): ((usize, usize), usize),
        runs: &mut Vec<Run>,
    ) -> bool {
        let rows = self.find_windows::<R>(rect.rows());
        for (group, mut rows) in rows.into_iter().enumerate() {
            while rows != 0 {
                let step = group * 64 + rows.trailing_zeros() as usize;
                rows &= rows - 1;
                let fresh = R::load(&self.fours, step * R::WORDS);
                let (words, mut filled) = (fresh.words(), fresh.filled());
                while filled != 0 {
                    let word = filled.trailing_zeros() as usize;
                    filled &= filled - 1;
                    let mut bits = words[word % lanes::MOST_WORDS];
                    while bits != 0 {
                        let col = word * 64 + bits.trailing_zeros() as usize;
                        bits &= bits - 1;
                        let end = (rect.a_lo + 4 * step + 5, rect.b_lo + col + 1);
                        runs.extend(run_around(pair, rect, end, origin));
                    }
                }
                if runs.len() > most {
                    return false;
                }
            }
        }
        true
    }

    /// Where five equal elements end in a fourth row, unless the window four rows above led there:
    /// every run of [`SHORTEST`] elements holds such a window. Returns the rows that have any.
    #[inline(always)]
    fn find_windows<R: Row>(&mut self, rows: usize) -> [u64; ROWS / 4 / 64] {
        let mut filled = [0; ROWS / 4 / 64];
        if self.fours.len() < rows.div_ceil(4) * R::WORDS {
            self.fours.resize(rows.div_ceil(4) * R::WORDS, 0);
        }
        let mut last = R::empty();
        let mut top = self.base::<R>(0);
        for (step, row) in (4..rows).step_by(4).enumerate() {
            let bottom = self.base::<R>(row);
            let upper = top.shl(1).and(self.base(row - 3)).shl(1);
            let lower = upper.and(self.base(row - 2)).shl(1);
            let five = lower.and(self.base(row - 1)).shl(1).and(bottom);
            let fresh = five.and_not(last.shl(4));
            (top, last) = (bottom, five);
            fresh.store(&mut self.fours, step * R::WORDS);
            filled[step / 64] |= u64::from(!fresh.is_empty()) << (step % 64);
        }
        filled
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
        let mut twos = [R::empty(); 4];
        let mut above = R::empty();
        for row in from.saturating_sub(3)..to {
            let base = self.base::<R>(row);
            let two = base.and(above.shl(1));
            let four = two.and(twos[(row + 2) & 3].shl(2));
            twos[row & 3] = two;
            above = base;
            if row >= from {
                four.store(&mut self.fours, row * R::WORDS);
                self.has_one.mark(row, !base.is_empty());
                self.has_two.mark(row, !two.is_empty());
                self.has_four.mark(row, !four.is_empty());
            }
        }
    }

    #[inline(always)]
    fn search<R: Row>(
        &mut self,
        mut part: Part,
        origin: (usize, usize),
        out: &mut impl Sink,
    ) {
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
    fn narrow<R: Row>(
        &mut self,
        part: &Part,
        origin: (usize, usize),
        out: &mut impl Sink,
    ) {
        let (from, to) = part.rows;
        let cols = part.cols.1 - part.cols.0;
        let (word, shift) = (part.cols.0 / 64, part.cols.0 % 64);
        let keep = u64::MAX >> (64 - cols);
        let masks = self.levels.rows(to - from);
        for (mask, plane) in masks.iter_mut().zip(&self.rows[from..to]) {
            let at = *plane as usize + word;
            let high = if R::WORDS == 1 { 0 } else { self.planes[at + 1] << 1 << (63 - shift) };
            *mask = (self.planes[at] >> shift | high) & keep;
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
        let columns = R::columns((part.cols.0 + LEN - 1, part.cols.1));
        let (set, above) = match LEN {
            1 => (&self.has_one, 0),
            2 | 3 => (&self.has_two, LEN - 2),
            _ => (&self.has_four, LEN - 4),
        };
        let (from, to) = (part.rows.0 + LEN - 1, part.rows.1);
        for group in from / 64..to.div_ceil(64) {
            let mut rows = set.both(group, above as u32) & below(to, group) & !below(from, group);
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
                let beyond = LEN - 4;
                let above = self.four::<R>(row - beyond).shl(beyond as u32);
                self.four::<R>(row).and(above)
            }
        }
    }

    #[inline(always)]
    fn base<R: Row>(&self, row: usize) -> R {
        R::load(&self.planes, self.rows[row] as usize)
    }

    #[inline(always)]
    fn four<R: Row>(&self, row: usize) -> R {
        R::load(&self.fours, row * R::WORDS)
    }
}

/// The run around five equal elements that end before `end`, if it is long enough.
#[inline(always)]
fn run_around<C: Code>(
    (a, b): (&Text<C>, &Text<C>),
    rect: Rect,
    (i, j): (usize, usize),
    origin: (usize, usize),
) -> Option<Run> {
    let room = (rect.a_hi - i).min(rect.b_hi - j);
    let forth = common_after(a, i, b, j, room);
    let (i, j) = (i - 5, j - 5);
    let room = (i - rect.a_lo).min(j - rect.b_lo).min(3);
    let back = few_before(a, i, b, j).min(room);
    let len = back + 5 + forth;
    (len >= SHORTEST).then(|| Run::new(i - back - origin.0, j - back - origin.1, len))
}

/// [`Planes::find_runs`] for rows of any width.
struct FindRuns<'j, C> {
    pair: (&'j Text<C>, &'j Text<C>),
    rect: Rect,
    limits: ((usize, usize), usize),
    runs: &'j mut Vec<Run>,
}

impl<C: Code> Job for FindRuns<'_, C> {
    type On = Planes;
    type Result = bool;

    #[inline(always)]
    fn run<R: Row>(self, planes: &mut Planes) -> bool {
        planes.find_runs::<R, C>(self.pair, self.rect, self.limits, self.runs)
    }
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
