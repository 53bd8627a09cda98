//! Finds every maximal equal run of at least q elements from windows the two texts share.
//!
//! Each window of W elements of `b` is chained under its hash, positions ascending. `a` is probed
//! at every S-th position: a run of q = W + S - 1 elements holds a probed window whole. A hit that
//! reaches back S elements was met at the probe before.

use super::grids::Grid;
use super::rect::Rect;
use super::runs::Run;
use super::text::{Code, Text, common_after, mix, window_masks};

const NONE: u32 = u32::MAX;

/// The chains, used again from call to call.
#[derive(Debug, Default)]
pub(crate) struct Seeds {
    heads: Vec<u32>,
    next: Vec<u32>,
    shift: u32,
}

impl Seeds {
    /// Appends the runs of `rect` to `runs`, starts counted from `origin`. Returns false, with
    /// `runs` as it was, when that takes more than `budget` steps.
    pub(crate) fn find<C: Code>(
        &mut self,
        pair: (&Text<C>, &Text<C>),
        rect: Rect,
        grid: Grid,
        limits: ((usize, usize), usize),
        runs: &mut Vec<Run>,
    ) -> bool {
        let before = runs.len();
        if rect.rows() < grid.window || rect.cols() < grid.window {
            return true;
        }
        let is_done = if grid.window * C::BYTES <= 8 {
            self.find_windows::<C, false>(pair, rect, grid, limits, runs)
        } else {
            self.find_windows::<C, true>(pair, rect, grid, limits, runs)
        };
        if !is_done {
            runs.truncate(before);
        }
        is_done
    }

    /// Windows take one word, or two where they are `LONG`.
    fn find_windows<C: Code, const LONG: bool>(
        &mut self,
        (a, b): (&Text<C>, &Text<C>),
        rect: Rect,
        grid: Grid,
        (origin, budget): ((usize, usize), usize),
        runs: &mut Vec<Run>,
    ) -> bool {
        let masks = window_masks::<C>(grid.window);
        self.index::<C, LONG>(b, rect, grid.window, masks);
        let mut steps = 0;
        let mut met = (0, 0);
        for i in (rect.a_lo..=rect.a_hi - grid.window).step_by(grid.stride) {
            if a.codes()[i] == C::A_ONLY {
                continue;
            }
            let key = a.key::<LONG>(i, masks);
            let mut j = self.heads[self.slot(key)];
            while j != NONE {
                steps += 1;
                let at = j as usize;
                // Inside the run met last the hit on its diagonal is no news.
                let is_met = i.wrapping_sub(at) == met.0 && i + grid.window <= met.1;
                if !is_met
                    && b.key::<LONG>(at, masks) == key
                    && let Some(forth) = push_run((a, b), rect, grid, origin, (i, at), runs)
                {
                    met = (i.wrapping_sub(at), i + grid.window + forth);
                    steps += 1 + forth / 8;
                }
                if steps > budget {
                    return false;
                }
                j = self.next[at - rect.b_lo];
            }
        }
        true
    }

    /// Chains the windows of `b` inside `rect`; those that cannot match are left out.
    fn index<C: Code, const LONG: bool>(
        &mut self,
        b: &Text<C>,
        rect: Rect,
        window: usize,
        masks: (u64, u64),
    ) {
        let count = rect.cols() + 1 - window;
        let bits = (usize::BITS - count.leading_zeros() + 1).max(4);
        self.shift = 64 - bits;
        self.heads.clear();
        self.heads.resize(1 << bits, NONE);
        if self.next.len() < count {
            self.next.resize(count, NONE);
        }
        for offset in (0..count).rev() {
            let j = rect.b_lo + offset;
            if b.codes()[j] == C::B_ONLY {
                continue;
            }
            let slot = self.slot(b.key::<LONG>(j, masks));
            self.next[offset] = self.heads[slot];
            self.heads[slot] = position(j);
        }
    }

    #[inline]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "shifted to the size of the table"
    )]
    fn slot(&self, key: (u64, u64)) -> usize {
        (mix(key) >> self.shift) as usize
    }
}

/// Extends the window that `a` has at `i` and `b` at `j`, unless that was done at the probe before;
/// returns how far it went beyond the window.
#[inline(always)]
fn push_run<C: Code>(
    (a, b): (&Text<C>, &Text<C>),
    rect: Rect,
    grid: Grid,
    origin: (usize, usize),
    (i, j): (usize, usize),
    runs: &mut Vec<Run>,
) -> Option<usize> {
    let back = super::text::common_before(
        a,
        i,
        b,
        j,
        (i - rect.a_lo).min(j - rect.b_lo).min(grid.stride),
    );
    if back >= grid.stride {
        return None;
    }
    let (a_next, b_next) = (i + grid.window, j + grid.window);
    let room = (rect.a_hi - a_next).min(rect.b_hi - b_next);
    let forth = common_after(a, a_next, b, b_next, room);
    let len = back + grid.window + forth;
    if len >= grid.shortest() {
        runs.push(Run::new(i - back - origin.0, j - back - origin.1, len));
    }
    Some(forth)
}

/// A position of `b` as the chains hold it.
#[allow(
    clippy::cast_possible_truncation,
    reason = "seeded rectangles lie within u32 positions"
)]
fn position(j: usize) -> u32 {
    j as u32
}
