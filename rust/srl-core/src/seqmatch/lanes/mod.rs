//! Rows of bits, a bit a column, in the widest registers that the processor has.
//!
//! Every operation is a few instructions on whole rows. The portable rows are arrays of words; on
//! x86-64 the same is written with AVX2, whose moves across words the compiler does not find by
//! itself: up to twice as fast on unrelated texts. Which of them runs is decided when the program
//! does. AVX-512 was tried and left out: it gained three to six percent.

#[cfg(target_arch = "x86_64")]
mod x86;

/// A row of `64 * WORDS` bits; bit 0 is the lowest of word 0.
pub(crate) trait Row: Copy {
    const WORDS: usize;

    fn empty() -> Self;

    /// The row whose words begin at `words[at]`.
    fn load(words: &[u64], at: usize) -> Self;

    fn store(self, words: &mut [u64], at: usize);

    fn and(self, other: Self) -> Self;

    fn and_not(self, other: Self) -> Self;

    /// All bits moved up by `by`, from 1 to 63; what leaves `lower` at its top comes in.
    fn shl_in(self, lower: Self, by: u32) -> Self;

    /// All bits moved up by `by`, from 1 to 63.
    #[inline(always)]
    fn shl(self, by: u32) -> Self {
        self.shl_in(Self::empty(), by)
    }

    fn is_empty(self) -> bool;

    /// A bit for each word that has any.
    fn filled(self) -> u32;

    /// One of the words.
    fn word(self, at: usize) -> u64;

    /// The bits `from..to`, where bit 0 stands for bit 64 times `zero`.
    fn columns(range: (usize, usize), zero: usize) -> Self;

    /// The lowest bit of a row that is not empty.
    #[inline(always)]
    fn lowest(self) -> usize {
        let word = self.filled().trailing_zeros() as usize;
        word * 64 + self.word(word).trailing_zeros() as usize
    }
}

/// The bits of a word that lie below column `end`.
#[inline(always)]
pub(crate) fn below(end: usize, word: usize) -> u64 {
    match end.saturating_sub(word * 64) {
        0 => 0,
        bits => u64::MAX >> 64_usize.saturating_sub(bits),
    }
}

/// Words, wherever nothing wider is known.
impl<const W: usize> Row for [u64; W] {
    const WORDS: usize = W;

    #[inline(always)]
    fn empty() -> Self {
        [0; W]
    }

    #[inline(always)]
    fn load(words: &[u64], at: usize) -> Self {
        Self::try_from(&words[at..at + W]).unwrap_or([0; W])
    }

    #[inline(always)]
    fn store(self, words: &mut [u64], at: usize) {
        words[at..at + W].copy_from_slice(&self);
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        std::array::from_fn(|word| self[word] & other[word])
    }

    #[inline(always)]
    fn and_not(self, other: Self) -> Self {
        std::array::from_fn(|word| self[word] & !other[word])
    }

    #[inline(always)]
    fn shl_in(self, lower: Self, by: u32) -> Self {
        std::array::from_fn(|word| {
            let below = if word == 0 {
                lower[W - 1]
            } else {
                self[word - 1]
            };
            self[word] << by | below >> (64 - by)
        })
    }

    #[inline(always)]
    fn is_empty(self) -> bool {
        self.iter().fold(0, |any, word| any | word) == 0
    }

    #[inline(always)]
    fn filled(self) -> u32 {
        self.iter()
            .rev()
            .fold(0, |filled, word| filled << 1 | u32::from(*word != 0))
    }

    #[inline(always)]
    fn word(self, at: usize) -> u64 {
        self[at % W]
    }

    #[inline(always)]
    fn columns((from, to): (usize, usize), zero: usize) -> Self {
        std::array::from_fn(|word| below(to, zero + word) & !below(from, zero + word))
    }
}

/// Two rows side by side.
#[derive(Clone, Copy)]
pub(crate) struct Twice<R>(R, R);

impl<R: Row> Row for Twice<R> {
    const WORDS: usize = 2 * R::WORDS;

    #[inline(always)]
    fn empty() -> Self {
        Self(R::empty(), R::empty())
    }

    #[inline(always)]
    fn load(words: &[u64], at: usize) -> Self {
        let row = &words[at..at + Self::WORDS];
        Self(R::load(row, 0), R::load(row, R::WORDS))
    }

    #[inline(always)]
    fn store(self, words: &mut [u64], at: usize) {
        let row = &mut words[at..at + Self::WORDS];
        self.0.store(row, 0);
        self.1.store(row, R::WORDS);
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(self.0.and(other.0), self.1.and(other.1))
    }

    #[inline(always)]
    fn and_not(self, other: Self) -> Self {
        Self(self.0.and_not(other.0), self.1.and_not(other.1))
    }

    #[inline(always)]
    fn shl_in(self, lower: Self, by: u32) -> Self {
        Self(self.0.shl_in(lower.1, by), self.1.shl_in(self.0, by))
    }

    #[inline(always)]
    fn is_empty(self) -> bool {
        self.0.is_empty() & self.1.is_empty()
    }

    #[inline(always)]
    fn filled(self) -> u32 {
        self.0.filled() | self.1.filled() << R::WORDS
    }

    #[inline(always)]
    fn word(self, at: usize) -> u64 {
        if at < R::WORDS {
            self.0.word(at)
        } else {
            self.1.word(at - R::WORDS)
        }
    }

    #[inline(always)]
    fn columns(range: (usize, usize), zero: usize) -> Self {
        Self(R::columns(range, zero), R::columns(range, zero + R::WORDS))
    }
}

/// Work that is written once for rows of any width.
pub(crate) trait Job {
    type On;
    type Result;

    fn run<R: Row>(self, on: &mut Self::On) -> Self::Result;
}

/// The registers that rows are held in. All give the same blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lanes {
    /// Whatever the compiler makes of words.
    Portable,
    /// 256 bits, by AVX2.
    Avx2,
}

impl Lanes {
    /// The widest that this processor has.
    #[must_use]
    pub fn widest() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
        {
            return Self::Avx2;
        }
        Self::Portable
    }
}

/// Lanes that this processor has; there is no other way to make them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Available(Lanes);

impl Default for Available {
    fn default() -> Self {
        Self(Lanes::widest())
    }
}

impl Available {
    pub(crate) fn at_most(lanes: Lanes) -> Self {
        Self(lanes.min(Lanes::widest()))
    }

    /// Runs `job` with rows of `words` words, a power of two up to 32.
    #[inline]
    pub(crate) fn run<J: Job>(self, on: &mut J::On, words: usize, job: J) -> J::Result {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor was asked when `self` was made.
            Lanes::Avx2 => unsafe { x86::run(on, words, job) },
            _ => match words {
                1 => job.run::<[u64; 1]>(on),
                2 => job.run::<[u64; 2]>(on),
                4 => job.run::<[u64; 4]>(on),
                8 => job.run::<[u64; 8]>(on),
                16 => job.run::<[u64; 16]>(on),
                _ => job.run::<[u64; 32]>(on),
            },
        }
    }
}
