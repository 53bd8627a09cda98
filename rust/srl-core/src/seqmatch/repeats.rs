//! All blocks of a rectangle that is too repetitive for seeds.
//!
//! One suffix automaton of the columns gives each row the longest run that ends there. Rows wait
//! in a heap by that length, which only ever bounds it from above as the rectangle is split: the
//! row on top is measured again in the part it now lies in, and is a block when it keeps its
//! length. Measuring asks where the strings of a state end inside the part's columns: ranges of
//! the automaton's tree, answered by a wavelet matrix.
//!
//! Building takes O(n log n), a measurement O(log² n). Rows are measured anew only when they come
//! up, a few times each on every input known; the worst case is O(n log² n) for each block.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::automaton::Automaton;
use super::grams;
use super::planes::is_narrow;
use super::rect::Rect;
use super::text::{Code, Text};
use super::wavelet::Wavelet;
use super::{Block, Halt, Stop};

/// Where a row's longest run stands in the automaton.
#[derive(Clone, Copy, Debug, Default)]
struct Reach {
    state: u32,
    len: u32,
}

/// The automaton's tree and the rows, used again from call to call.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    automaton: Automaton,
    tree: Tree,
    reaches: Vec<Reach>,
    heap: BinaryHeap<(u32, Reverse<u32>)>,
    parts: BTreeMap<usize, Rect>,
    found: Vec<Piece>,
}

/// What has been found, in order of the rows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece {
    Block(Block),
    /// A part left for later, and how long its blocks can be.
    Part(Rect, usize),
}

impl Piece {
    fn row(&self) -> usize {
        match self {
            Self::Block(block) => block.a,
            Self::Part(part, _) => part.a_lo,
        }
    }
}

impl Repeats {
    /// Finds the blocks of `rect`; `widen` gives each its final extent. With `leaves_narrow`,
    /// parts for the masks are left as they are.
    pub(crate) fn solve<C: Code>(
        &mut self,
        (a, b): (&Text<C>, &Text<C>),
        rect: Rect,
        widen: impl Fn(Rect, Block) -> Block,
        leaves_narrow: bool,
        stop: Stop<'_>,
    ) -> Result<(), Halt> {
        self.automaton.build(&b.codes()[rect.b_lo..rect.b_hi]);
        self.tree.fill(&self.automaton);
        self.fill_rows(&a.codes()[rect.a_lo..rect.a_hi]);
        self.found.clear();
        self.parts.clear();
        self.parts.insert(rect.a_lo, rect);
        for turn in 0_usize.. {
            if turn % 1024 == 0 {
                stop.check()?;
            }
            let Some((len, Reverse(row))) = self.heap.pop() else {
                break;
            };
            if grams::is_for::<C>(len as usize) {
                // All that is left is short, and found sooner length by length.
                let left = std::mem::take(&mut self.parts).into_values();
                self.found
                    .extend(left.map(|part| Piece::Part(part, len as usize)));
                break;
            }
            self.take(rect, (row, len), &widen, leaves_narrow);
        }
        let corner = |part: &Rect| Block {
            a: part.a_lo,
            b: part.b_lo,
            len: 0,
        };
        let prefixes = self.parts.values().map(|part| widen(*part, corner(part)));
        self.found
            .extend(prefixes.filter(|block| block.len > 0).map(Piece::Block));
        self.found.sort_unstable_by_key(Piece::row);
        Ok(())
    }

    /// What the last call found.
    pub(crate) fn found(&self) -> &[Piece] {
        &self.found
    }

    fn fill_rows<C: Code>(&mut self, a: &[C]) {
        self.reaches.clear();
        let mut reach = Reach::default();
        for code in a {
            let (state, len) = self.automaton.step(reach.state, reach.len, *code);
            reach = Reach { state, len };
            self.reaches.push(reach);
        }
        let rows = self
            .reaches
            .iter()
            .zip(0..)
            .filter(|(reach, _)| reach.len > 0);
        self.heap = rows.map(|(reach, row)| (reach.len, Reverse(row))).collect();
    }

    /// Makes a block of a row that still reaches as far as it promised, or files it anew.
    fn take(
        &mut self,
        whole: Rect,
        (row, len): (u32, u32),
        widen: &impl Fn(Rect, Block) -> Block,
        leaves_narrow: bool,
    ) {
        let at = whole.a_lo + row as usize;
        let Some((_, &part)) = self.parts.range(..=at).next_back() else {
            return;
        };
        if at >= part.a_hi {
            return;
        }
        if leaves_narrow && is_narrow(part) {
            self.parts.remove(&part.a_lo);
            self.found.push(Piece::Part(part, len as usize));
            return;
        }
        let reach = self.reaches[row as usize];
        let cols = (part.b_lo - whole.b_lo, part.b_hi - whole.b_lo);
        let most = (at + 1 - part.a_lo).min(len as usize);
        let now = self.tree.measure(&self.automaton, reach, cols).min(most);
        if now < len as usize {
            if now > 0 {
                self.heap.push((narrow(now), Reverse(row)));
            }
            return;
        }
        let Some(end) = self
            .tree
            .first_end(&self.automaton, reach.state, now, cols.0)
        else {
            return;
        };
        let core = Block {
            a: at + 1 - now,
            b: whole.b_lo + end + 1 - now,
            len: now,
        };
        let block = widen(part, core);
        self.parts.remove(&part.a_lo);
        self.parts
            .extend(part.left_of(block).map(|left| (left.a_lo, left)));
        self.parts
            .extend(part.right_of(block).map(|right| (right.a_lo, right)));
        self.found.push(Piece::Block(block));
    }
}

/// The automaton's suffix links as a tree whose subtrees are ranges of end positions.
#[derive(Debug, Default)]
struct Tree {
    ranges: Vec<(u32, u32)>,
    depths: Vec<u32>,
    /// An ancestor further up, so that a search along the links takes O(log n) steps.
    jumps: Vec<u32>,
    ends: Wavelet,
    order: Vec<u32>,
    tour: Vec<u32>,
}

impl Tree {
    fn fill(&mut self, automaton: &Automaton) {
        let states = automaton.states();
        self.sort_by_len(automaton);
        self.fill_ranges(automaton);
        self.depths.clear();
        self.depths.resize(states.len(), 0);
        self.jumps.clear();
        self.jumps.resize(states.len(), 0);
        for &state in &self.order[1..] {
            let (parent, state) = (states[state as usize].link, state as usize);
            let jump = self.jumps[parent as usize];
            let depth = |state: u32| self.depths[state as usize];
            let further = self.jumps[jump as usize];
            let even = depth(parent) - depth(jump) == depth(jump) - depth(further);
            self.jumps[state] = if even { further } else { parent };
            self.depths[state] = depth(parent) + 1;
        }
    }

    /// Parents come before their children.
    fn sort_by_len(&mut self, automaton: &Automaton) {
        let states = automaton.states();
        let longest = automaton.ends().len();
        let mut starts = vec![0; longest + 2];
        for state in states {
            starts[state.len as usize + 1] += 1;
        }
        for len in 0..=longest {
            starts[len + 1] += starts[len];
        }
        self.order.clear();
        self.order.resize(states.len(), 0);
        for (index, state) in states.iter().enumerate() {
            let slot = &mut starts[state.len as usize];
            self.order[*slot] = narrow(index);
            *slot += 1;
        }
    }

    /// Lays the end positions out so that each state's lie together.
    fn fill_ranges(&mut self, automaton: &Automaton) {
        let states = automaton.states();
        let mut sizes = vec![0_u32; states.len()];
        for &state in automaton.ends() {
            sizes[state as usize] = 1;
        }
        let own = sizes.clone();
        for &state in self.order[1..].iter().rev() {
            let link = states[state as usize].link as usize;
            sizes[link] += sizes[state as usize];
        }
        self.ranges.clear();
        self.ranges
            .resize(states.len(), (0, narrow(automaton.ends().len())));
        self.tour.clear();
        self.tour.resize(automaton.ends().len(), 0);
        let mut next = vec![0_u32; states.len()];
        for &state in &self.order[1..] {
            let (link, state) = (states[state as usize].link as usize, state as usize);
            let from = next[link];
            next[link] += sizes[state];
            self.ranges[state] = (from, from + sizes[state]);
            next[state] = from + own[state];
            if own[state] == 1 {
                self.tour[from as usize] = states[state].first_end;
            }
        }
        self.ends.fill(&mut self.tour);
    }

    /// The longest suffix of what `reach` stands for that lies within the columns.
    ///
    /// Up the links strings get shorter and their last end inside the columns later: the best is
    /// where the two cross.
    fn measure(&self, automaton: &Automaton, reach: Reach, cols: (usize, usize)) -> usize {
        let states = automaton.states();
        let room = |state: u32| match self.ends.last_below(self.range(state), cols.1) {
            Some(end) => (end + 1).saturating_sub(cols.0),
            None => 0,
        };
        let fits = |state: u32| states[state as usize].len as usize <= room(state);
        let here = room(reach.state);
        if here >= reach.len as usize {
            return reach.len as usize;
        }
        let mut state = reach.state;
        while !fits(states[state as usize].link) {
            let jump = self.jumps[state as usize];
            state = if fits(jump) {
                states[state as usize].link
            } else {
                jump
            };
        }
        let link = states[state as usize].link;
        (states[link as usize].len as usize).max(room(state))
    }

    /// Where the suffix of `len` elements first ends, starting at column `from` or later.
    fn first_end(
        &self,
        automaton: &Automaton,
        mut state: u32,
        len: usize,
        from: usize,
    ) -> Option<usize> {
        let states = automaton.states();
        let holds = |state: u32| states[state as usize].len as usize >= len;
        while holds(states[state as usize].link) {
            let jump = self.jumps[state as usize];
            state = if holds(jump) {
                jump
            } else {
                states[state as usize].link
            };
        }
        self.ends.first_from(self.range(state), from + len - 1)
    }

    fn range(&self, state: u32) -> (usize, usize) {
        let (from, to) = self.ranges[state as usize];
        (from as usize, to as usize)
    }
}

/// Rows, states and lengths as 32 bits.
#[allow(
    clippy::cast_possible_truncation,
    reason = "rectangles here lie below 2^21 a side"
)]
fn narrow(value: usize) -> u32 {
    value as u32
}
