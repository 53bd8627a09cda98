//! Rows of bits, a bit a column, in the widest registers that the processor has.
//!
//! Every operation is a few instructions on whole rows. The portable rows are arrays of words; on
//! x86-64 the same is written with AVX2 and AVX-512, whose moves across words the compiler does
//! not find by itself. Which of them runs is decided when the program does.

/// Words of the widest rows.
pub(crate) const MOST_WORDS: usize = 32;

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
    #[inline(always)]
    fn filled(self) -> u32 {
        let words = self.words();
        (0..Self::WORDS).fold(0, |filled, word| filled | u32::from(words[word] != 0) << word)
    }

    /// The bits `from..to`.
    #[inline(always)]
    fn columns((from, to): (usize, usize)) -> Self {
        let mut words = [0; MOST_WORDS];
        for (word, bits) in words.iter_mut().enumerate() {
            *bits = below(to, word) & !below(from, word);
        }
        Self::load(&words, 0)
    }

    /// The words, and empty ones up to the most there can be.
    #[inline(always)]
    fn words(self) -> [u64; MOST_WORDS] {
        let mut words = [0; MOST_WORDS];
        self.store(&mut words, 0);
        words
    }

    /// The lowest bit of a row that is not empty.
    #[inline(always)]
    fn lowest(self) -> usize {
        let word = self.filled().trailing_zeros() as usize;
        word * 64 + self.words()[word % MOST_WORDS].trailing_zeros() as usize
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
            let below = if word == 0 { lower[W - 1] } else { self[word - 1] };
            self[word] << by | below >> (64 - by)
        })
    }

    #[inline(always)]
    fn is_empty(self) -> bool {
        self.iter().fold(0, |any, word| any | word) == 0
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
}

/// Work that is written once for rows of any width.
pub(crate) trait Job {
    type On;
    type Result;

    fn run<R: Row>(self, on: &mut Self::On) -> Self::Result;
}

/// Runs `job` with rows of `words` words, a power of two up to [`MOST_WORDS`].
#[inline]
pub(crate) fn widest<J: Job>(on: &mut J::On, words: usize, job: J) -> J::Result {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
            // SAFETY: the processor has just been asked.
            return unsafe { x86::avx512(on, words, job) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has just been asked.
            return unsafe { x86::avx2(on, words, job) };
        }
    }
    match words {
        1 => job.run::<[u64; 1]>(on),
        2 => job.run::<[u64; 2]>(on),
        4 => job.run::<[u64; 4]>(on),
        8 => job.run::<[u64; 8]>(on),
        16 => job.run::<[u64; 16]>(on),
        _ => job.run::<[u64; 32]>(on),
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod x86 {
    //! The rows of one processor family. Each is only made in functions that are compiled for its
    //! instructions and called where the processor has been seen to have them.
    #![allow(unsafe_code, reason = "vector instructions")]

    use std::arch::x86_64::{
        __m256i, __m512i, _mm512_maskz_compress_epi64, _mm_cvtsi128_si64, _mm512_castsi512_si128, _mm_cvtsi32_si128, _mm256_and_si256, _mm256_andnot_si256,
_mm256_loadu_si256, _mm256_or_si256, _mm256_permute2x128_si256,
        _mm256_alignr_epi8, _mm256_setzero_si256, _mm256_sll_epi64, _mm256_srl_epi64,
        _mm256_storeu_si256, _mm256_testz_si256, _mm512_alignr_epi64, _mm512_and_si512,
        _mm512_andnot_si512, _mm512_loadu_si512, _mm512_or_si512, _mm512_setzero_si512,
        _mm512_sll_epi64, _mm512_srl_epi64, _mm512_storeu_si512, _mm512_test_epi64_mask,
    };

    use super::{Job, Row, Twice};

    #[target_feature(enable = "avx512f,avx512vl,avx2,bmi1,bmi2")]
    pub(super) unsafe fn avx512<J: Job>(on: &mut J::On, words: usize, job: J) -> J::Result {
        match words {
            1 => job.run::<[u64; 1]>(on),
            2 => job.run::<[u64; 2]>(on),
            4 => job.run::<Avx2>(on),
            8 => job.run::<Avx512>(on),
            16 => job.run::<Twice<Avx512>>(on),
            _ => job.run::<Twice<Twice<Avx512>>>(on),
        }
    }

    #[target_feature(enable = "avx2,bmi1,bmi2")]
    pub(super) unsafe fn avx2<J: Job>(on: &mut J::On, words: usize, job: J) -> J::Result {
        match words {
            1 => job.run::<[u64; 1]>(on),
            2 => job.run::<[u64; 2]>(on),
            4 => job.run::<Avx2>(on),
            8 => job.run::<Twice<Avx2>>(on),
            16 => job.run::<Twice<Twice<Avx2>>>(on),
            _ => job.run::<Twice<Twice<Twice<Avx2>>>>(on),
        }
    }

    /// 256 columns by AVX2.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(__m256i);

    /// The words of `x` one up, the highest of `lower` first.
    #[inline(always)]
    fn up(x: __m256i, lower: __m256i) -> __m256i {
        // SAFETY: AVX2 is there where an `Avx2` is.
        unsafe {
            let halves = _mm256_permute2x128_si256::<0x21>(lower, x);
            _mm256_alignr_epi8::<8>(x, halves)
        }
    }

    #[inline(always)]
    fn shl_256(x: __m256i, up: __m256i, by: u32) -> __m256i {
        // SAFETY: AVX2 is there where an `Avx2` is.
        unsafe {
            let (by, back) = (_mm_cvtsi32_si128(by as i32), _mm_cvtsi32_si128(64 - by as i32));
            _mm256_or_si256(_mm256_sll_epi64(x, by), _mm256_srl_epi64(up, back))
        }
    }

    impl Row for Avx2 {
        const WORDS: usize = 4;

        #[inline(always)]
        fn empty() -> Self {
            Self(unsafe { _mm256_setzero_si256() })
        }

        #[inline(always)]
        fn load(words: &[u64], at: usize) -> Self {
            let row = &words[at..at + 4];
            Self(unsafe { _mm256_loadu_si256(row.as_ptr().cast()) })
        }

        #[inline(always)]
        fn store(self, words: &mut [u64], at: usize) {
            let row = &mut words[at..at + 4];
            unsafe { _mm256_storeu_si256(row.as_mut_ptr().cast(), self.0) }
        }

        #[inline(always)]
        fn and(self, other: Self) -> Self {
            Self(unsafe { _mm256_and_si256(self.0, other.0) })
        }

        #[inline(always)]
        fn and_not(self, other: Self) -> Self {
            Self(unsafe { _mm256_andnot_si256(other.0, self.0) })
        }

        #[inline(always)]
        fn shl_in(self, lower: Self, by: u32) -> Self {
            Self(shl_256(self.0, up(self.0, lower.0), by))
        }

        #[inline(always)]
        fn is_empty(self) -> bool {
            unsafe { _mm256_testz_si256(self.0, self.0) == 1 }
        }
    }

    /// 512 columns by AVX-512.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(__m512i);

    impl Row for Avx512 {
        const WORDS: usize = 8;

        #[inline(always)]
        fn empty() -> Self {
            Self(unsafe { _mm512_setzero_si512() })
        }

        #[inline(always)]
        fn load(words: &[u64], at: usize) -> Self {
            let row = &words[at..at + 8];
            Self(unsafe { _mm512_loadu_si512(row.as_ptr().cast()) })
        }

        #[inline(always)]
        fn store(self, words: &mut [u64], at: usize) {
            let row = &mut words[at..at + 8];
            unsafe { _mm512_storeu_si512(row.as_mut_ptr().cast(), self.0) }
        }

        #[inline(always)]
        fn and(self, other: Self) -> Self {
            Self(unsafe { _mm512_and_si512(self.0, other.0) })
        }

        #[inline(always)]
        fn and_not(self, other: Self) -> Self {
            Self(unsafe { _mm512_andnot_si512(other.0, self.0) })
        }

        #[inline(always)]
        fn shl_in(self, lower: Self, by: u32) -> Self {
            unsafe {
                let lower = _mm512_alignr_epi64::<7>(self.0, lower.0);
                let (by, back) = (_mm_cvtsi32_si128(by as i32), _mm_cvtsi32_si128(64 - by as i32));
                Self(_mm512_or_si512(
                    _mm512_sll_epi64(self.0, by),
                    _mm512_srl_epi64(lower, back),
                ))
            }
        }

        #[inline(always)]
        fn is_empty(self) -> bool {
            unsafe { _mm512_test_epi64_mask(self.0, self.0) == 0 }
        }

        #[inline(always)]
        fn filled(self) -> u32 {
            unsafe { _mm512_test_epi64_mask(self.0, self.0) }.into()
        }

        #[inline(always)]
        fn lowest(self) -> usize {
            unsafe {
                let filled = _mm512_test_epi64_mask(self.0, self.0);
                let first = _mm512_maskz_compress_epi64(filled, self.0);
                let bits = _mm_cvtsi128_si64(_mm512_castsi512_si128(first)) as u64;
                (filled.trailing_zeros() * 64 + bits.trailing_zeros()) as usize
            }
        }
    }
}
