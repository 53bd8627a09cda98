//! The search itself: which method finds the next block of a rectangle, and what is left of it.
//!
//! Tasks lie on a stack, the leftmost on top, so that blocks come out in order. A rectangle is
//! seeded for all its runs of at least q elements; these split it down to parts that hold only
//! shorter blocks, which are seeded again more finely or end in [`super::planes`] or
//! [`super::singles`]. Where seeds would take too long, blocks come from [`super::grams`],
//! [`super::automaton`] or [`super::repeats`].
//!
//! With popular elements the runs are those of the texts without them; a block is widened over
//! whatever is equal inside its rectangle, and a rectangle without a run still has its common
//! prefix.

use super::automaton::Automaton;
use super::grams::{self, Grams};
use super::grids::{self, Grid};
use super::lanes::Lanes;
use super::planes::{self, Planes};
use super::rect::Rect;
use super::repeats::{Piece, Repeats};
use super::runs::{KEY_SIDE, Run, Span, split};
use super::seeds::Seeds;
use super::singles::Singles;
use super::sink::Sink;
use super::text::{Code, Text, common_after, common_before};
use super::{Block, Halt, Stop};

/// What may be spent on single blocks of repetitive rectangles, in elements for each element.
const CREDIT: usize = 8;

/// Steps for eight elements that seeds may take at first; four times less after each failure.
const MOST_PATIENCE: usize = 64;

/// Elements that tell whether a text is made of few different ones.
const SAMPLE: usize = 600;

/// The same for windows of two words, of which few hits are expected.
const LONG_PATIENCE: usize = 8;

#[derive(Clone, Copy, Debug)]
enum Task {
    /// Find the blocks of a rectangle, none longer than the bound.
    Search(Rect, usize),
    /// Take the greatest run of a rectangle; all runs of this length and more are in the span.
    Split(Rect, Span, usize),
    Emit(Block),
}

/// Every method's buffers, used again from pair to pair.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    tasks: Vec<Task>,
    runs: Vec<Run>,
    spare: Vec<Run>,
    seeds: Seeds,
    planes: Planes,
    singles: Singles,
    grams: Grams,
    automaton: Automaton,
    repeats: Repeats,
}

impl Tools {
    /// Uses no wider registers than `lanes`.
    pub(crate) fn limit(&mut self, lanes: Lanes) {
        self.planes.limit(lanes);
    }
}

/// One pair being solved.
pub(crate) struct Solver<'p, C, S> {
    /// The texts whose equal runs are blocks.
    pub(crate) seeds: (&'p Text<C>, &'p Text<C>),
    /// The texts over which a block is widened, where they are others.
    pub(crate) full: Option<(&'p Text<C>, &'p Text<C>)>,
    /// Codes that both texts may have lie below this.
    pub(crate) codes: usize,
    pub(crate) tools: &'p mut Tools,
    pub(crate) out: &'p mut S,
    /// Where the starts of runs count from.
    pub(crate) origin: (usize, usize),
    /// What may still be spent on single blocks of repetitive rectangles.
    pub(crate) credit: usize,
    /// Whether short windows have turned out to be too common here.
    pub(crate) has_few_windows: bool,
    /// How many steps for eight elements seeds may take.
    pub(crate) patience: usize,
}

impl<C: Code, S: Sink> Solver<'_, C, S> {
    /// Appends all blocks in order; touching ones are not joined.
    pub(crate) fn solve(&mut self, stop: Stop<'_>) -> Result<(), Halt> {
        let whole = Rect::whole(self.seeds.0.len(), self.seeds.1.len());
        self.tools.tasks.clear();
        self.tools.runs.clear();
        self.tools.singles.reset();
        self.tools.planes.reset();
        self.patience = MOST_PATIENCE;
        self.has_few_windows = is_poor(self.seeds.1.codes());
        self.credit = CREDIT * (whole.rows() + whole.cols());
        if whole.has_area() {
            self.tools.tasks.push(Task::Search(whole, usize::MAX));
        }
        while let Some(task) = self.tools.tasks.pop() {
            match task {
                Task::Emit(block) => self.out.put(block),
                Task::Split(rect, span, shortest) => self.split(rect, span, shortest),
                Task::Search(rect, bound) => {
                    stop.check()?;
                    self.search(rect, bound, stop)?;
                }
            }
        }
        Ok(())
    }

    fn search(&mut self, rect: Rect, bound: usize, stop: Stop<'_>) -> Result<(), Halt> {
        let is_plain = self.full.is_none();
        let is_short = bound < planes::SHORTEST && planes::finds_short(rect);
        if is_plain && (is_short || planes::is_narrow(rect)) {
            self.tools
                .planes
                .solve(self.seeds, self.codes, rect, bound, self.out);
        } else if bound <= 1 {
            self.sweep(rect);
        } else if !self.seed(rect, bound) {
            self.search_repetitive(rect, bound, stop)?;
        }
        Ok(())
    }

    /// Seeds are of no use here. Short blocks come length by length. Else one after the other is
    /// the quickest where each leaves little; once that has cost too much, all long blocks of the
    /// rectangle are found at once.
    fn search_repetitive(&mut self, rect: Rect, bound: usize, stop: Stop<'_>) -> Result<(), Halt> {
        let (rows, cols) = (rect.rows(), rect.cols());
        let is_huge = rows.max(cols) >= KEY_SIDE;
        if grams::is_for::<C>(bound) && !is_huge {
            self.search_length(rect, bound);
        } else if is_huge || self.credit > rows + cols {
            self.credit = self.credit.saturating_sub(rows + cols);
            let found = self
                .tools
                .automaton
                .longest(self.seeds.0, self.seeds.1, rect);
            self.take(rect, found);
        } else {
            self.search_all(rect, stop)?;
        }
        Ok(())
    }

    /// All blocks of `len` elements, the longest there can be.
    fn search_length(&mut self, rect: Rect, len: usize) {
        let (full, tools) = (self.full, &mut *self.tools);
        let widen = |part, core| widen(full, part, core);
        let found = tools.grams.solve(self.seeds, rect, len, widen);
        let tasks = found.iter().rev().filter_map(|piece| match *piece {
            grams::Piece::Block(block) => Some(Task::Emit(block)),
            grams::Piece::Part(part) if len > 1 || full.is_some() => {
                Some(Task::Search(part, len - 1))
            }
            grams::Piece::Part(_) => None,
        });
        tools.tasks.extend(tasks);
    }

    /// All blocks at once; parts that have become narrow are left to the masks.
    fn search_all(&mut self, rect: Rect, stop: Stop<'_>) -> Result<(), Halt> {
        let full = self.full;
        let repeats = &mut self.tools.repeats;
        repeats.solve(
            self.seeds,
            rect,
            |part, core| widen(full, part, core),
            full.is_none(),
            stop,
        )?;
        let found = repeats.found().iter().rev();
        self.tools.tasks.extend(found.map(|piece| match *piece {
            Piece::Block(block) => Task::Emit(block),
            Piece::Part(part, bound) => Task::Search(part, bound),
        }));
        Ok(())
    }

    /// Finds all runs from a length on; false where no grid fits or there are too many.
    fn seed(&mut self, rect: Rect, bound: usize) -> bool {
        let size = rect.rows() + rect.cols();
        if self.full.is_none() && planes::finds_runs(rect) {
            return self.find_runs(rect, None, 256 + 8 * size);
        }
        let long = self.full.is_none().then(|| grids::long::<C>(rect, bound));
        let long = long.flatten();
        let usual = grids::usual::<C>(rect, bound, self.full.is_none())
            .filter(|_| long.is_none() || !self.has_few_windows);
        let budget = |patience: usize| 256 + patience * size / 8;
        let patience = self.patience;
        self.patience = MOST_PATIENCE.min(2 * patience);
        if usual.is_some_and(|grid| self.find_runs(rect, Some(grid), budget(patience))) {
            return true;
        }
        // Where a window has many copies, a longer one has fewer.
        self.has_few_windows |= usual.is_some();
        let budget = budget(patience.min(LONG_PATIENCE));
        if long.is_some_and(|grid| self.find_runs(rect, Some(grid), budget)) {
            return true;
        }
        self.patience = (patience / 4).max(1);
        false
    }

    /// Lists the runs of a rectangle by a grid, or by planes, and leaves it to be split by them.
    fn find_runs(&mut self, rect: Rect, grid: Option<Grid>, budget: usize) -> bool {
        let tools = &mut *self.tools;
        if tools.runs.is_empty() {
            self.origin = (rect.a_lo, rect.b_lo);
        }
        let (from, limits, runs) = (tools.runs.len(), (self.origin, budget), &mut tools.runs);
        let is_done = match grid {
            Some(grid) => tools.seeds.find(self.seeds, rect, grid, limits, runs),
            None => tools
                .planes
                .runs(self.seeds, self.codes, rect, limits, runs),
        };
        if is_done {
            let span = Span::of(&tools.runs, from);
            let shortest = grid.map_or(planes::SHORTEST, Grid::shortest);
            tools.tasks.push(Task::Split(rect, span, shortest));
        }
        is_done
    }

    /// Takes a block found by itself, and leaves its two sides to be searched.
    fn take(&mut self, rect: Rect, found: Option<Block>) {
        let Some(core) = found else {
            self.emit_prefix(rect);
            return;
        };
        let block = self.widen(rect, core);
        if let Some(right) = rect.right_of(block) {
            self.tools.tasks.push(Task::Search(right, core.len));
        }
        self.tools.tasks.push(Task::Emit(block));
        if let Some(left) = rect.left_of(block) {
            self.push_left(left, core.len - 1);
        }
    }

    /// A left part whose blocks are shorter than the one beside it.
    fn push_left(&mut self, left: Rect, bound: usize) {
        if bound > 0 || self.full.is_some() {
            self.tools.tasks.push(Task::Search(left, bound));
        }
    }

    fn split(&mut self, rect: Rect, span: Span, shortest: usize) {
        self.tools.runs.truncate(span.to);
        if span.from == span.to {
            self.tools.tasks.push(Task::Search(rect, shortest - 1));
            return;
        }
        let (a_zero, b_zero) = self.origin;
        let core = span.best.block();
        let core = Block {
            a: core.a + a_zero,
            b: core.b + b_zero,
            len: core.len,
        };
        let block = self.widen(rect, core);
        let around = Block {
            a: block.a - a_zero,
            b: block.b - b_zero,
            len: block.len,
        };
        let tools = &mut *self.tools;
        let (left, right) = split(&mut tools.runs, &mut tools.spare, span, around, shortest);
        let side = |rect: Option<Rect>, span| rect.map(|rect| Task::Split(rect, span, shortest));
        tools.tasks.extend(side(rect.right_of(block), right));
        tools.tasks.push(Task::Emit(block));
        tools.tasks.extend(side(rect.left_of(block), left));
    }

    fn widen(&self, rect: Rect, core: Block) -> Block {
        widen(self.full, rect, core)
    }

    /// What difflib finds where no run is: equal popular elements at the very start.
    fn emit_prefix(&mut self, rect: Rect) {
        let block = self.widen(
            rect,
            Block {
                a: rect.a_lo,
                b: rect.b_lo,
                len: 0,
            },
        );
        if block.len > 0 {
            self.out.put(block);
        }
    }

    /// Single elements, from the first row on, each at its first column.
    fn sweep(&mut self, rect: Rect) {
        let (a, b) = self.seeds;
        let mut tail = rect;
        let mut row = rect.a_lo;
        while row < tail.a_hi && tail.has_area() {
            let code = a.codes()[row];
            let found = match code {
                code if code == C::A_ONLY => None,
                code => self.tools.singles.next_at(b, code, tail.b_lo),
            };
            match found {
                Some(col) if col < tail.b_hi => {
                    let block = self.widen(
                        tail,
                        Block {
                            a: row,
                            b: col,
                            len: 1,
                        },
                    );
                    if let Some(left) = tail.left_of(block) {
                        self.emit_prefix(left);
                    }
                    self.out.put(block);
                    tail = Rect {
                        a_lo: block.a + block.len,
                        b_lo: block.b + block.len,
                        ..tail
                    };
                    row = tail.a_lo;
                }
                _ => row += 1,
            }
        }
        if tail.has_area() {
            self.emit_prefix(tail);
        }
    }
}

/// Whether a long text begins with no more than three different elements.
fn is_poor<C: Code>(codes: &[C]) -> bool {
    let Some(sample) = codes.get(..SAMPLE) else {
        return false;
    };
    let mut seen = [C::B_ONLY; 3];
    let mut count = 0;
    for code in sample {
        if !seen[..count].contains(code) {
            if count == seen.len() {
                return false;
            }
            seen[count] = *code;
            count += 1;
        }
    }
    true
}

/// The block with what is equal on either side of it inside `rect`.
fn widen<C: Code>(full: Option<(&Text<C>, &Text<C>)>, rect: Rect, core: Block) -> Block {
    let Some((a, b)) = full else { return core };
    let room = (core.a - rect.a_lo).min(core.b - rect.b_lo);
    let back = common_before(a, core.a, b, core.b, room);
    let (a_end, b_end) = (core.a + core.len, core.b + core.len);
    let room = (rect.a_hi - a_end).min(rect.b_hi - b_end);
    let forth = common_after(a, a_end, b, b_end, room);
    Block {
        a: core.a - back,
        b: core.b - back,
        len: back + core.len + forth,
    }
}
