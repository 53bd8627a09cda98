//! From sequences to codes: the narrowest width that their common elements fit in.
//!
//! ASCII pairs keep their bytes. Else the elements that both sequences have are numbered in the
//! order of `b`, and all others get the code of their side, which matches nothing. Where autojunk
//! finds popular elements, a second pair of texts has these taken out.

use std::collections::HashMap;

use super::Seq;
use super::text::{Code, Text};

/// A pair as codes of one width.
#[derive(Debug, Default)]
pub(crate) struct Pair<C> {
    pub(crate) a: Text<C>,
    pub(crate) b: Text<C>,
    /// `a` and `b` without popular elements, where there are any.
    pub(crate) a_seeds: Text<C>,
    pub(crate) b_seeds: Text<C>,
    pub(crate) has_popular: bool,
    /// Codes that both texts may have lie below this.
    pub(crate) codes: usize,
    counts: Vec<u32>,
}

impl<C: Code> Pair<C> {
    fn fill(&mut self, a: impl Iterator<Item = C>, b: impl Iterator<Item = C>, autojunk: bool) {
        self.a.fill(a, C::A_ONLY);
        self.b.fill(b, C::B_ONLY);
        let limit = if autojunk {
            super::popular_limit(self.b.len())
        } else {
            None
        };
        self.has_popular = limit.is_some_and(|limit| self.take_out_popular(limit));
    }

    /// Takes over what [`Numbers::number`] has made of the ids.
    fn fill_numbered(&mut self, a: &[u32], b: &[u32], common: usize, autojunk: bool) {
        let code = |other: C| {
            move |&number: &u32| match number {
                UNSEEN | IN_A => other,
                number => C::from_index(number - FIRST),
            }
        };
        self.codes = common;
        let (a, b) = (a.iter().map(code(C::A_ONLY)), b.iter().map(code(C::B_ONLY)));
        self.fill(a, b, autojunk);
    }

    /// Fills the second pair; false when nothing is popular.
    fn take_out_popular(&mut self, limit: usize) -> bool {
        let known = |code: &&C| **code != C::B_ONLY;
        let top = self
            .b
            .codes()
            .iter()
            .filter(known)
            .map(|code| code.index())
            .max();
        let counts = &mut self.counts;
        counts.clear();
        counts.resize(top.map_or(0, |top| top + 1), 0);
        for code in self.b.codes().iter().filter(known) {
            counts[code.index()] += 1;
        }
        if counts.iter().all(|count| *count as usize <= limit) {
            return false;
        }
        let is_popular = |code: C| {
            counts
                .get(code.index())
                .is_some_and(|count| *count as usize > limit)
        };
        let without = |other: C| move |&code: &C| if is_popular(code) { other } else { code };
        self.a_seeds
            .fill(self.a.codes().iter().map(without(C::A_ONLY)), C::A_ONLY);
        self.b_seeds
            .fill(self.b.codes().iter().map(without(C::B_ONLY)), C::B_ONLY);
        true
    }
}

/// A pair of any width.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Width {
    Byte,
    Half,
    Full,
}

/// The buffers of the three widths and of the numbering, used again from pair to pair.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    pub(crate) bytes: Pair<u8>,
    pub(crate) halves: Pair<u16>,
    pub(crate) fulls: Pair<u32>,
    numbers: Numbers,
    a_ids: Vec<u32>,
    b_ids: Vec<u32>,
}

impl Encoder {
    /// Encodes the pair into the buffers of the width it returns.
    pub(crate) fn encode(&mut self, a: Seq<'_>, b: Seq<'_>, autojunk: bool) -> Width {
        match (a, b) {
            (Seq::Ascii(a), Seq::Ascii(b)) => {
                self.bytes.codes = 256;
                self.bytes
                    .fill(a.iter().copied(), b.iter().copied(), autojunk);
                return Width::Byte;
            }
            (Seq::Ints(a), Seq::Ints(b)) => small_ids(a, b, &mut self.a_ids, &mut self.b_ids),
            _ => {
                chars(a, &mut self.a_ids);
                chars(b, &mut self.b_ids);
            }
        }
        let common = self.numbers.number(&mut self.a_ids, &mut self.b_ids);
        let (a, b) = (&self.a_ids, &self.b_ids);
        match common {
            0..=0xFE => {
                self.bytes.fill_numbered(a, b, common, autojunk);
                Width::Byte
            }
            0xFF..=0xFFFE => {
                self.halves.fill_numbered(a, b, common, autojunk);
                Width::Half
            }
            _ => {
                self.fulls.fill_numbered(a, b, common, autojunk);
                Width::Full
            }
        }
    }
}

/// Code points; an integer sequence beside text has none of them.
fn chars(seq: Seq<'_>, ids: &mut Vec<u32>) {
    ids.clear();
    match seq {
        Seq::Ascii(s) => ids.extend(s.iter().map(|&c| u32::from(c))),
        Seq::Chars(s) => ids.extend_from_slice(s),
        Seq::Ints(s) => ids.extend(s.iter().map(|_| NOT_A_CHAR)),
    }
}

/// Beyond every code point.
const NOT_A_CHAR: u32 = 0x11_0000;

/// Ids up to this index a table; other integers go through a hash map first.
const TABLE: u64 = 1 << 21;

/// Integers as ids that are equal just where the integers are.
fn small_ids(a: &[i64], b: &[i64], a_ids: &mut Vec<u32>, b_ids: &mut Vec<u32>) {
    let both = || a.iter().chain(b);
    let least = both().copied().min().unwrap_or(0);
    let spread = both().copied().max().unwrap_or(0).abs_diff(least);
    a_ids.clear();
    b_ids.clear();
    if spread < TABLE {
        let id = |&value: &i64| u32::try_from(value.abs_diff(least)).unwrap_or(NOT_A_CHAR);
        a_ids.extend(a.iter().map(id));
        b_ids.extend(b.iter().map(id));
        return;
    }
    let mut seen = HashMap::new();
    let mut id = |&value: &i64| {
        let fresh = u32::try_from(seen.len()).unwrap_or(u32::MAX);
        *seen.entry(value).or_insert(fresh)
    };
    a_ids.extend(a.iter().map(&mut id));
    b_ids.extend(b.iter().map(&mut id));
}

/// Of `b` alone.
const UNSEEN: u32 = 0;
/// Of `a`, and not of `b` as far as it has been read.
const IN_A: u32 = 1;
/// Numbers of common elements start here.
const FIRST: u32 = 2;

/// What is known of each id; all zero between pairs.
#[derive(Debug, Default)]
struct Numbers {
    table: Vec<u32>,
    touched: Vec<u32>,
}

impl Numbers {
    /// Puts numbers in place of the ids: those that occur in both from [`FIRST`] on, in the order
    /// of `b`, and less for all others. Returns how many there are.
    fn number(&mut self, a: &mut [u32], b: &mut [u32]) -> usize {
        let top = 1 + a.iter().chain(&*b).copied().max().unwrap_or(0) as usize;
        if self.table.len() < top {
            // Fresh zeroed pages cost nothing until they are touched.
            self.table = vec![UNSEEN; top.next_power_of_two()];
        }
        if self.touched.len() <= a.len() {
            self.touched.resize(a.len() + 1, 0);
        }
        // Nothing here branches on what the elements are: which are new is anyone's guess.
        let mut count = 0;
        for &mut id in &mut *a {
            let entry = &mut self.table[id as usize];
            self.touched[count] = id;
            count += usize::from(*entry == UNSEEN);
            *entry = IN_A;
        }
        let mut next = FIRST;
        for id in b {
            let entry = &mut self.table[*id as usize];
            let is_first = *entry == IN_A;
            *entry = if is_first { next } else { *entry };
            next += u32::from(is_first);
            *id = *entry;
        }
        for id in a {
            *id = self.table[*id as usize];
        }
        for &id in &self.touched[..count] {
            self.table[id as usize] = UNSEEN;
        }
        (next - FIRST) as usize
    }
}
