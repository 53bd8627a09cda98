//! Ratcliff–Obershelp matching blocks, exactly as `CPython`'s `difflib.SequenceMatcher` finds them.
//!
//! The next block is the longest run of equal elements, then the earliest in `a`, then the
//! earliest in `b`; the search goes on to its left and to its right. With `autojunk` and at least
//! 200 elements in `b`, elements that make up more than one percent of `b` are popular: they start
//! no run, but a run is widened over them.
//!
//! Left out: opcodes and ratios as floats (Python's part), and elements that are not codes.

pub mod classic;
pub mod oracle;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

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

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Buffers that are used again from pair to pair; one for each thread.
#[derive(Debug, Default)]
pub struct Matcher {
    codes: HashMap<i64, u32>,
}

impl Matcher {
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
    ) -> Result<Vec<Block>, Halt> {
        self.codes.clear();
        let b = self.encode(b);
        let a = self.encode(a);
        let index = classic::Index::new(b, &vec![false; self.codes.len()], autojunk);
        index.matching_blocks(&a, stop)
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
        Ok(self
            .blocks(a, b, autojunk, stop)?
            .iter()
            .map(|block| block.len)
            .sum())
    }

    fn encode(&mut self, seq: Seq<'_>) -> Vec<u32> {
        let codes = &mut self.codes;
        let mut code = |value: i64| {
            let next = u32::try_from(codes.len()).expect("fewer than 2^32 distinct elements");
            *codes.entry(value).or_insert(next)
        };
        match seq {
            Seq::Ascii(s) => s.iter().map(|&c| code(i64::from(c))).collect(),
            Seq::Chars(s) => s.iter().map(|&c| code(i64::from(c))).collect(),
            Seq::Ints(s) => s.iter().map(|&c| code(c)).collect(),
        }
    }
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
