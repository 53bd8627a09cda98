//! Which windows a rectangle is seeded with.
//!
//! The finer the grid, the shorter the runs it finds and the more hits it has to look at. So long
//! runs come first, from sparse windows; what they leave is small. The tables are measured, on
//! English prose, its edits and rewritings, ideographs and token ids.

use super::rect::Rect;
use super::runs::KEY_SIDE;
use super::text::Code;

/// Window length and probe stride, in elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    pub(crate) window: usize,
    pub(crate) stride: usize,
}

impl Grid {
    /// q, the shortest run that is certain to be found.
    pub(crate) fn shortest(self) -> usize {
        self.window + self.stride - 1
    }
}

/// A grid, the least side it is worth its while for, and the least bound.
type Choice = (Grid, usize, usize);

const fn choice(window: usize, stride: usize, side: usize, bound: usize) -> Choice {
    (Grid { window, stride }, side, bound)
}

const BYTES: [Choice; 6] = [
    choice(8, 24, 600, 200),
    choice(8, 8, 3000, 15),
    choice(8, 4, 4000, 11),
    choice(6, 3, 0, 11),
    choice(5, 2, 1000, 6),
    choice(4, 1, 0, 4),
];

const HALVES: [Choice; 2] = [choice(4, 4, 200, 7), choice(2, 1, 0, 2)];

const PAIRS: [Choice; 1] = [choice(2, 1, 0, 2)];

/// Area from which bytes are worth windows of four.
const FINE_AREA: usize = 1 << 14;

/// The grid for a rectangle with no block longer than `bound`; None where none is worth its while.
/// Where popular elements are left out the texts are not `plain`, and windows short.
pub(crate) fn usual<C: Code>(rect: Rect, bound: usize, is_plain: bool) -> Option<Grid> {
    let choices: &[Choice] = match (is_plain, C::BYTES) {
        (true, 1) => &BYTES,
        (true, 2) => &HALVES,
        _ => &PAIRS,
    };
    let side = rect.rows().min(rect.cols());
    let fits = |choice: &&Choice| side >= choice.1 && bound >= choice.2;
    let &(grid, ..) = choices.iter().find(fits)?;
    let is_small = grid.window == 4 && C::BYTES == 1 && rect.rows() * rect.cols() < FINE_AREA;
    (has_keys(rect) && !is_small).then_some(grid)
}

/// A grid of windows that fill two words, for text of few different ones.
pub(crate) fn long<C: Code>(rect: Rect, bound: usize) -> Option<Grid> {
    let window = 16 / C::BYTES;
    let stride = match bound.saturating_add(1).checked_sub(window)? {
        0 => return None,
        most if most >= window => window,
        most if most >= window / 2 => window / 2,
        _ => 1,
    };
    has_keys(rect).then_some(Grid { window, stride })
}

fn has_keys(rect: Rect) -> bool {
    rect.rows().max(rect.cols()) < KEY_SIDE
}
