//! Ratcliff–Obershelp matching blocks, exactly as `CPython`'s `difflib.SequenceMatcher` finds them.
//!
//! The next block is the longest run of equal elements, then the earliest in `a`, then the
//! earliest in `b`; the search goes on to its left and to its right. With `autojunk` and at least
//! 200 elements in `b`, elements that make up more than one percent of `b` are popular: they start
//! no run, but a run is widened over them.
//!
//! # How
//!
//! [`Matcher`] turns the pair into codes of one, two or four bytes, equal where the elements are.
//! Then `solve` finds all equal runs of at least q elements, orders them by one integer each, and
//! splits the rectangle at the greatest again and again. What is left holds only shorter blocks and
//! is searched for shorter runs: first from sparse windows of `b` in a hash table, then, from 512
//! columns down, by bit planes in the processor's widest registers. Blocks of fewer than eight
//! elements come from the planes too, length by length, and from masks of 64 columns.
//!
//! Where windows have too many copies, longer ones are tried. Where these have too, blocks of up to
//! sixteen bytes come length by length, each gram with a cursor into its positions, and longer ones
//! from a suffix automaton: one by one, and once these have cost eight times the input, all of a
//! rectangle at once from the automaton's tree. [`classic`] is the textbook method, for junk and
//! bounds; [`oracle`] the naive one, for tests.
//!
//! # What it costs
//!
//! With n elements in all: seeds take O(n) for each level of the rectangle, and at most 8 steps an
//! element before they are given up, less after each failure; planes at most 32 words a row and
//! length; grams O(n) a length; the automaton O(n) a block within its credit of 8 n; the tree
//! O(n log n) and O(log² n) a measurement, of which there are a few for each row on every input
//! known, O(n) for each block at worst. Beyond 2^21 elements a side, blocks are split off by the
//! automaton one by one until the parts are smaller: right, but not fast on hostile input. Memory
//! is O(n), and up to a megabyte of planes.
//!
//! The floor, for an edited copy with autojunk off: n bytes copied, each window of `b` chained and
//! each fourth of `a` looked up, about 1.25 table operations for each element of `b` at 1 ns or so:
//! 0.25 µs at 200 elements, 0.6 at 500, 2.5 at 2,000. Measured: 1.2, 4.1 and 13 µs, 5 to 7 times
//! that. By the profile, what is above it are mostly branches that cannot be foreseen: where a run
//! is met, how far it goes, where a short block lies.
//!
//! Left out: opcodes and ratios as floats (Python's part), and elements that are not codes.

#![allow(
    clippy::inline_always,
    reason = "vector code must be compiled within the functions that ask for its instructions"
)]

mod automaton;
pub mod classic;
mod encode;
mod grams;
mod grids;
mod lanes;
mod levels;
pub mod oracle;
mod planes;
mod rect;
mod repeats;
mod runs;
mod seeds;
mod singles;
mod sink;
mod solve;
mod text;
mod wavelet;

use std::sync::atomic::{AtomicBool, Ordering};

pub use lanes::Lanes;

use encode::{Encoder, Pair, Width};
use sink::{Count, Sink};
use solve::{Solver, Tools};
use text::Code;

/// A run of `len` equal elements: `a[self.a..][..len] == b[self.b..][..len]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    /// Where it starts in `a`.
    pub a: usize,
    /// Where it starts in `b`.
    pub b: usize,
    /// How long it is.
    pub len: usize,
}

/// The computation was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halt;

/// A flag that another thread may raise to end a computation early.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stop<'f>(Option<&'f AtomicBool>);

impl<'f> Stop<'f> {
    /// Stops once `flag` is true.
    #[must_use]
    pub fn when(flag: &'f AtomicBool) -> Self {
        Self(Some(flag))
    }

    fn check(self) -> Result<(), Halt> {
        match self.0 {
            Some(flag) if flag.load(Ordering::Relaxed) => Err(Halt),
            _ => Ok(()),
        }
    }
}

/// One sequence, as it reaches the matcher.
#[derive(Clone, Copy, Debug)]
pub enum Seq<'s> {
    /// Text below U+0080, a byte a character.
    Ascii(&'s [u8]),
    /// Text as code points; lone surrogates are elements like any other.
    Chars(&'s [u32]),
    /// Integers.
    Ints(&'s [i64]),
}

impl Seq<'_> {
    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Ascii(s) => s.len(),
            Self::Chars(s) => s.len(),
            Self::Ints(s) => s.len(),
        }
    }

    /// Whether both hold the same elements, both being of one kind.
    fn equals(self, other: Self) -> bool {
        match (self, other) {
            (Self::Ascii(a), Self::Ascii(b)) => a == b,
            (Self::Chars(a), Self::Chars(b)) => a == b,
            (Self::Ints(a), Self::Ints(b)) => a == b,
            _ => false,
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Buffers that are used again from pair to pair; one for each thread.
#[derive(Debug, Default)]
pub struct Matcher {
    encoder: Encoder,
    tools: Tools,
    out: Vec<Block>,
}

impl Matcher {
    /// A matcher that uses no wider registers than `lanes`, for tests and measurements.
    #[must_use]
    pub fn limited_to(lanes: Lanes) -> Self {
        let mut matcher = Self::default();
        matcher.tools.limit(lanes);
        matcher
    }

    /// The matching blocks in order, touching blocks joined, without difflib's closing one.
    ///
    /// # Errors
    /// [`Halt`] when `stop` is raised.
    pub fn blocks(
        &mut self,
        a: Seq<'_>,
        b: Seq<'_>,
        autojunk: bool,
        stop: Stop<'_>,
    ) -> Result<&[Block], Halt> {
        let mut found = std::mem::take(&mut self.out);
        found.clear();
        let done = self.solve(a, b, autojunk, &mut found, stop);
        self.out = found;
        done?;
        join(&mut self.out);
        Ok(&self.out)
    }

    /// How many elements the matching blocks hold together.
    ///
    /// # Errors
    /// [`Halt`] when `stop` is raised.
    pub fn matched(
        &mut self,
        a: Seq<'_>,
        b: Seq<'_>,
        autojunk: bool,
        stop: Stop<'_>,
    ) -> Result<usize, Halt> {
        let mut count = Count::default();
        self.solve(a, b, autojunk, &mut count, stop)?;
        Ok(count.0)
    }

    fn solve(
        &mut self,
        a: Seq<'_>,
        b: Seq<'_>,
        autojunk: bool,
        out: &mut impl Sink,
        stop: Stop<'_>,
    ) -> Result<(), Halt> {
        if a.is_empty() || b.is_empty() {
            return Ok(());
        }
        if a.equals(b) {
            out.put(Block {
                a: 0,
                b: 0,
                len: a.len(),
            });
            return Ok(());
        }
        let tools = &mut self.tools;
        match self.encoder.encode(a, b, autojunk) {
            Width::Byte => solve_pair(&self.encoder.bytes, tools, out, stop),
            Width::Half => solve_pair(&self.encoder.halves, tools, out, stop),
            Width::Full => solve_pair(&self.encoder.fulls, tools, out, stop),
        }
    }
}

fn solve_pair<C: Code>(
    pair: &Pair<C>,
    tools: &mut Tools,
    out: &mut impl Sink,
    stop: Stop<'_>,
) -> Result<(), Halt> {
    let whole = (&pair.a, &pair.b);
    let (seeds, full) = if pair.has_popular {
        ((&pair.a_seeds, &pair.b_seeds), Some(whole))
    } else {
        (whole, None)
    };
    Solver {
        seeds,
        full,
        codes: pair.codes,
        tools,
        out,
        origin: (0, 0),
        credit: 0,
        has_few_windows: false,
        patience: 0,
    }
    .solve(stop)
}

/// The count above which an element of a `b` of `len` elements is popular, if any can be.
fn popular_limit(len: usize) -> Option<usize> {
    (len >= 200).then_some(len / 100 + 1)
}

/// Joins blocks that touch; `blocks` are in order.
fn join(blocks: &mut Vec<Block>) {
    blocks.dedup_by(|next, last| {
        let touch = last.a + last.len == next.a && last.b + last.len == next.b;
        if touch {
            last.len += next.len;
        }
        touch
    });
}
