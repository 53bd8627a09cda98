//! The rows of one processor family, as AVX2 writes them.
//!
//! Each is only made in functions that are compiled for its instructions, which are only called
//! where the processor has been seen to have them: that is what every `unsafe` here rests on.

use std::arch::x86_64::{
    __m256i, _mm_cvtsi32_si128, _mm256_alignr_epi8, _mm256_and_si256, _mm256_andnot_si256,
    _mm256_castsi256_pd, _mm256_cmpeq_epi64, _mm256_loadu_si256, _mm256_movemask_pd,
    _mm256_or_si256, _mm256_permute2x128_si256, _mm256_setzero_si256, _mm256_sll_epi64,
    _mm256_srl_epi64, _mm256_storeu_si256, _mm256_testz_si256,
};

use super::{Job, Row, Twice};

#[target_feature(enable = "avx2,bmi1,bmi2")]
pub(super) unsafe fn run<J: Job>(on: &mut J::On, words: usize, job: J) -> J::Result {
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
    // SAFETY: the instructions are there where the row is.
    unsafe {
        let halves = _mm256_permute2x128_si256::<0x21>(lower, x);
        _mm256_alignr_epi8::<8>(x, halves)
    }
}

#[inline(always)]
fn shl_256(x: __m256i, up: __m256i, by: u32) -> __m256i {
    // SAFETY: the instructions are there where the row is.
    unsafe {
        let (by, back) = (
            _mm_cvtsi32_si128(by.cast_signed()),
            _mm_cvtsi32_si128(64 - by.cast_signed()),
        );
        _mm256_or_si256(_mm256_sll_epi64(x, by), _mm256_srl_epi64(up, back))
    }
}

impl Row for Avx2 {
    const WORDS: usize = 4;

    #[inline(always)]
    fn empty() -> Self {
        // SAFETY: the instructions are there where the row is.
        Self(unsafe { _mm256_setzero_si256() })
    }

    #[inline(always)]
    fn load(words: &[u64], at: usize) -> Self {
        let row = &words[at..at + 4];
        // SAFETY: the slice has as many words as the row; the instructions are there.
        Self(unsafe { _mm256_loadu_si256(row.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, words: &mut [u64], at: usize) {
        let row = &mut words[at..at + 4];
        // SAFETY: the slice has as many words as the row; the instructions are there.
        unsafe { _mm256_storeu_si256(row.as_mut_ptr().cast(), self.0) }
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: the instructions are there where the row is.
        Self(unsafe { _mm256_and_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn and_not(self, other: Self) -> Self {
        // SAFETY: the instructions are there where the row is.
        Self(unsafe { _mm256_andnot_si256(other.0, self.0) })
    }

    #[inline(always)]
    fn shl_in(self, lower: Self, by: u32) -> Self {
        Self(shl_256(self.0, up(self.0, lower.0), by))
    }

    #[inline(always)]
    fn is_empty(self) -> bool {
        // SAFETY: the instructions are there where the row is.
        unsafe { _mm256_testz_si256(self.0, self.0) == 1 }
    }

    #[inline(always)]
    fn filled(self) -> u32 {
        // SAFETY: the instructions are there where the row is.
        let empty = unsafe {
            let empty = _mm256_cmpeq_epi64(self.0, _mm256_setzero_si256());
            _mm256_movemask_pd(_mm256_castsi256_pd(empty))
        };
        !empty.cast_unsigned() & 0xF
    }

    #[inline(always)]
    fn word(self, at: usize) -> u64 {
        let mut words = [0; 4];
        self.store(&mut words, 0);
        words[at % 4]
    }

    #[inline(always)]
    fn columns(range: (usize, usize), zero: usize) -> Self {
        Self::load(&<[u64; 4]>::columns(range, zero), 0)
    }
}
