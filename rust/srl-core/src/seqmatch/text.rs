//! Padded code buffers and the eight-byte comparisons over them.
//!
//! Both texts of a pair carry [`PAD`] codes on either side which differ between `a` and `b`, so
//! that a comparison stops at a text's end by itself and eight-byte loads need no bounds.

/// Codes before the first and after the last element.
const PAD: usize = 64;

/// A fixed-width element code. The two highest values stand for elements that one text alone has.
pub(crate) trait Code: Copy + Eq + Default {
    /// Its size.
    const BYTES: usize;
    /// For elements of `a` that cannot match, and the padding of `a`.
    const A_ONLY: Self;
    /// For elements of `b` that cannot match, and the padding of `b`.
    const B_ONLY: Self;

    /// The code as an index.
    fn index(self) -> usize;

    /// The code of an index below `A_ONLY`.
    fn from_index(index: u32) -> Self;
}

macro_rules! code {
    ($type:ty) => {
        #[allow(clippy::cast_possible_truncation, reason = "indices lie below A_ONLY")]
        impl Code for $type {
            const BYTES: usize = size_of::<$type>();
            const A_ONLY: Self = <$type>::MAX - 1;
            const B_ONLY: Self = <$type>::MAX;

            #[inline]
            fn index(self) -> usize {
                self as usize
            }

            #[inline]
            fn from_index(index: u32) -> Self {
                index as Self
            }
        }
    };
}

code!(u8);
code!(u16);
code!(u32);

/// One text as codes, padded.
#[derive(Debug, Default)]
pub(crate) struct Text<C> {
    padded: Vec<C>,
    len: usize,
}

impl<C: Code> Text<C> {
    /// Takes over `codes`; `pad` is `A_ONLY` for the first text and `B_ONLY` for the second.
    pub(crate) fn fill(&mut self, codes: impl Iterator<Item = C>, pad: C) {
        self.padded.clear();
        self.padded.extend([pad; PAD]);
        self.padded.extend(codes);
        self.len = self.padded.len() - PAD;
        self.padded.extend([pad; PAD]);
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The elements without the padding.
    #[inline]
    pub(crate) fn codes(&self) -> &[C] {
        &self.padded[PAD..PAD + self.len]
    }

    /// The eight bytes that start at element `at`, which is at most `len`.
    #[inline]
    pub(crate) fn word(&self, at: usize) -> u64 {
        debug_assert!(at <= self.len);
        // SAFETY: `padded` holds PAD = 64 codes beyond element `len`, so eight bytes lie within it
        // from any element up to `len`; a u64 may have any bits and the read is unaligned.
        unsafe {
            self.padded
                .as_ptr()
                .add(PAD + at)
                .cast::<u64>()
                .read_unaligned()
        }
    }

    /// The elements from `at` on that the masks keep: one word, or two where they are `LONG`.
    #[inline]
    pub(crate) fn key<const LONG: bool>(&self, at: usize, masks: (u64, u64)) -> (u64, u64) {
        let second = if LONG {
            self.word((at + 8 / C::BYTES).min(self.len)) & masks.1
        } else {
            0
        };
        (self.word(at) & masks.0, second)
    }

    /// The 64 bytes that start at element `at`, which is at most `len`.
    #[inline(always)]
    fn bytes(&self, at: usize) -> &[u8; 64] {
        debug_assert!(at <= self.len);
        // SAFETY: `padded` holds PAD = 64 codes beyond element `len`, so 64 bytes lie within it
        // from any element up to `len`; any bits are bytes.
        unsafe { &*self.padded.as_ptr().add(PAD + at).cast::<[u8; 64]>() }
    }

    /// The eight bytes that end before element `at`, which is at most `len`.
    #[inline]
    pub(crate) fn word_before(&self, at: usize) -> u64 {
        debug_assert!(at <= self.len);
        // SAFETY: PAD = 64 codes lie before element 0, so eight bytes lie within `padded` before
        // any element up to `len`; a u64 may have any bits and the read is unaligned.
        unsafe {
            self.padded
                .as_ptr()
                .add(PAD + at - 8 / C::BYTES)
                .cast::<u64>()
                .read_unaligned()
        }
    }
}

/// How many elements are equal from `a[i]` and `b[j]` on, at most `limit`.
#[inline(always)]
pub(crate) fn common_after<C: Code>(
    a: &Text<C>,
    i: usize,
    b: &Text<C>,
    j: usize,
    limit: usize,
) -> usize {
    let mut len = 0;
    while len < limit {
        let (bytes, all) = equal_bytes(a.bytes(i + len), b.bytes(j + len));
        len += bytes / C::BYTES;
        if bytes < all {
            break;
        }
    }
    len.min(limit)
}

/// How many of the first bytes are equal, and how many were looked at.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[allow(clippy::cast_ptr_alignment, reason = "the loads ask for no alignment")]
fn equal_bytes(a: &[u8; 64], b: &[u8; 64]) -> (usize, usize) {
    use std::arch::x86_64::{__m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8};
    let mut equal = 0;
    for quarter in 0..4 {
        // SAFETY: SSE2 is part of x86-64, and 16 bytes lie at each quarter of 64.
        let bits = unsafe {
            let a = a.as_ptr().add(16 * quarter).cast::<__m128i>();
            let b = b.as_ptr().add(16 * quarter).cast::<__m128i>();
            _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(a), _mm_loadu_si128(b)))
        };
        equal |= u64::from(bits.cast_unsigned()) << (16 * quarter);
    }
    (equal.trailing_ones() as usize, 64)
}

/// How many of the first bytes are equal, and how many were looked at.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn equal_bytes(a: &[u8; 64], b: &[u8; 64]) -> (usize, usize) {
    let word = |bytes: &[u8; 64]| u64::from_ne_bytes(std::array::from_fn(|at| bytes[at]));
    match word(a) ^ word(b) {
        0 => (8, 8),
        differ => (first_difference(differ), 8),
    }
}

/// How many elements are equal before `a[i]` and `b[j]`, at most `limit`.
#[inline(always)]
pub(crate) fn common_before<C: Code>(
    a: &Text<C>,
    i: usize,
    b: &Text<C>,
    j: usize,
    limit: usize,
) -> usize {
    let mut len = 0;
    while len < limit {
        let differ = a.word_before(i - len) ^ b.word_before(j - len);
        if differ != 0 {
            len += last_difference(differ) / C::BYTES;
            break;
        }
        len += 8 / C::BYTES;
    }
    len.min(limit)
}

/// Equal bytes before the first that differs, in memory order.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn first_difference(differ: u64) -> usize {
    let bits = if cfg!(target_endian = "little") {
        differ.trailing_zeros()
    } else {
        differ.leading_zeros()
    };
    bits as usize / 8
}

/// Equal bytes after the last that differs, in memory order.
#[inline]
fn last_difference(differ: u64) -> usize {
    let bits = if cfg!(target_endian = "little") {
        differ.leading_zeros()
    } else {
        differ.trailing_zeros()
    };
    bits as usize / 8
}

/// The first `elements` of a word, the rest zero.
#[inline]
pub(crate) fn window_mask<C: Code>(elements: usize) -> u64 {
    let bits = 8 * C::BYTES * elements;
    if bits >= 64 {
        return u64::MAX;
    }
    if cfg!(target_endian = "little") {
        (1 << bits) - 1
    } else {
        u64::MAX << (64 - bits)
    }
}

/// The first `elements` of two words, the rest zero.
#[inline]
pub(crate) fn window_masks<C: Code>(elements: usize) -> (u64, u64) {
    let first = 8 / C::BYTES;
    let second = match elements.saturating_sub(first) {
        0 => 0,
        more => window_mask::<C>(more),
    };
    (window_mask::<C>(elements.min(first)), second)
}

/// Spreads a key over the high bits.
#[inline]
pub(crate) fn mix(key: (u64, u64)) -> u64 {
    let folded = key.0 ^ key.1.rotate_left(29).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    folded.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
