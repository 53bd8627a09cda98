//! A wavelet matrix: order statistics of any range of an array, in time of the bits of a value.

/// The bits of the values, from the highest on; each level keeps those with a zero bit first.
#[derive(Debug, Default)]
pub(crate) struct Wavelet {
    levels: Vec<Level>,
    spare: Vec<u32>,
}

#[derive(Debug, Default)]
struct Level {
    /// Words of bits, each with the ones before it.
    words: Vec<(u64, u32)>,
    zeros: usize,
}

impl Level {
    /// Ones before `at`.
    #[inline]
    fn rank(&self, at: usize) -> usize {
        let (word, before) = self.words[at / 64];
        let below = word & !(u64::MAX << (at % 64));
        before as usize + below.count_ones() as usize
    }

    fn fill(&mut self, values: &[u32], bit: usize) {
        self.words.clear();
        let mut before = 0;
        for chunk in values.chunks(64) {
            let bits = chunk.iter().rev().map(|value| u64::from(value >> bit & 1));
            let word = bits.fold(0, |word, bit| word << 1 | bit);
            self.words.push((word, before));
            before += word.count_ones();
        }
        self.words.push((0, before));
        self.zeros = values.len() - before as usize;
    }
}

impl Wavelet {
    /// Takes in `values`, which it reorders.
    pub(crate) fn fill(&mut self, values: &mut Vec<u32>) {
        let top = values.iter().copied().max().unwrap_or(0);
        let bits = (u32::BITS - top.leading_zeros()) as usize;
        self.levels.resize_with(bits, Level::default);
        for (depth, level) in self.levels.iter_mut().enumerate() {
            let bit = bits - 1 - depth;
            level.fill(values, bit);
            self.spare.clear();
            self.spare
                .extend(values.iter().filter(|value| **value >> bit & 1 == 0));
            self.spare
                .extend(values.iter().filter(|value| **value >> bit & 1 == 1));
            std::mem::swap(values, &mut self.spare);
        }
    }

    /// The greatest value below `limit` in the range, if there is one.
    pub(crate) fn last_below(&self, range: (usize, usize), limit: usize) -> Option<usize> {
        let below = self.count_below(range, limit);
        (below > 0).then(|| self.nth(range, below - 1))
    }

    /// The least value from `least` on in the range, if there is one.
    pub(crate) fn first_from(&self, range: (usize, usize), least: usize) -> Option<usize> {
        let below = self.count_below(range, least);
        (below < range.1 - range.0).then(|| self.nth(range, below))
    }

    fn count_below(&self, (mut from, mut to): (usize, usize), limit: usize) -> usize {
        if limit >> self.levels.len() > 0 {
            return to - from;
        }
        let mut count = 0;
        for (depth, level) in self.levels.iter().enumerate() {
            let (from_ones, to_ones) = (level.rank(from), level.rank(to));
            if limit >> (self.levels.len() - 1 - depth) & 1 == 1 {
                count += (to - to_ones) - (from - from_ones);
                (from, to) = (level.zeros + from_ones, level.zeros + to_ones);
            } else {
                (from, to) = (from - from_ones, to - to_ones);
            }
        }
        count
    }

    /// The value with `nth` others of the range below it.
    fn nth(&self, (mut from, mut to): (usize, usize), mut nth: usize) -> usize {
        let mut value = 0;
        for level in &self.levels {
            let (from_ones, to_ones) = (level.rank(from), level.rank(to));
            let zeros = (to - to_ones) - (from - from_ones);
            value <<= 1;
            if nth < zeros {
                (from, to) = (from - from_ones, to - to_ones);
            } else {
                nth -= zeros;
                value |= 1;
                (from, to) = (level.zeros + from_ones, level.zeros + to_ones);
            }
        }
        value
    }
}
