//! The runs of at least eight elements, from windows of five in every fourth row.

use super::super::lanes::{Job, Row};
use super::super::rect::Rect;
use super::super::runs::Run;
use super::super::text::{Code, Text, common_after, common_before};
use super::{Planes, ROWS};

/// Runs of this length and more are found here.
pub(crate) const SHORTEST: usize = 8;

/// Elements of a window, and the rows from one to the next: `SHORTEST` is their sum less one.
const WINDOW: usize = 5;
const STRIDE: usize = 4;

/// A bit for each row that is looked at.
type Steps = [u64; ROWS / STRIDE / 64];

impl Planes {
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
        // The windows are written over the rows' levels.
        self.filled_to = 0;
        let limits = (origin, runs.len() + most);
        let before = runs.len();
        let (lanes, words) = (self.lanes, self.words);
        let fine = lanes.run(
            self,
            words,
            FindRuns {
                pair,
                rect,
                limits,
                runs,
            },
        );
        if !fine {
            runs.truncate(before);
        }
        fine
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
                let mut filled = fresh.filled();
                while filled != 0 {
                    let word = filled.trailing_zeros() as usize;
                    filled &= filled - 1;
                    let mut bits = fresh.word(word);
                    while bits != 0 {
                        let col = word * 64 + bits.trailing_zeros() as usize;
                        bits &= bits - 1;
                        let end = (rect.a_lo + STRIDE * step + WINDOW, rect.b_lo + col + 1);
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
    fn find_windows<R: Row>(&mut self, rows: usize) -> Steps {
        let mut filled = [0; ROWS / STRIDE / 64];
        if self.fours.len() < rows.div_ceil(STRIDE) * R::WORDS {
            self.fours.resize(rows.div_ceil(STRIDE) * R::WORDS, 0);
        }
        let mut last = R::empty();
        let mut top = self.base::<R>(0);
        for (step, row) in (WINDOW - 1..rows).step_by(STRIDE).enumerate() {
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
    let (i, j) = (i - WINDOW, j - WINDOW);
    let room = (i - rect.a_lo).min(j - rect.b_lo).min(STRIDE - 1);
    let back = common_before(a, i, b, j, room);
    let len = back + WINDOW + forth;
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
