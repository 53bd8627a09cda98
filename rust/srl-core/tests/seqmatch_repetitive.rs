//! Input made to be hard: every kind against the textbook method, which the oracle checks.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use srl_core::seqmatch::classic::Index;
use srl_core::seqmatch::{Matcher, Seq, Stop};

fn fibonacci(len: usize) -> Vec<u8> {
    let (mut before, mut word) = (vec![b'b'], vec![b'a']);
    while word.len() < len {
        let next = [word.as_slice(), &before].concat();
        before = std::mem::replace(&mut word, next);
    }
    word.truncate(len);
    word
}

fn thue_morse(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| b'a' + u8::from(i.count_ones() % 2 == 1))
        .collect()
}

fn growing(len: usize, separators: &[u8]) -> Vec<u8> {
    let block = |k: usize| [vec![b'a'; k], vec![separators[k % separators.len()]]].concat();
    (1..).flat_map(block).take(len).collect()
}

fn periodic(len: usize, period: &[u8]) -> Vec<u8> {
    period.iter().copied().cycle().take(len).collect()
}

fn sparse(len: usize, every: u64, mut seed: u64) -> Vec<u8> {
    let mut next = move || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % every
    };
    (0..len)
        .map(|_| if next() == 0 { b'b' } else { b'a' })
        .collect()
}

/// Texts of `len` elements of every kind.
fn texts(len: usize) -> Vec<Vec<u8>> {
    let mut words = periodic(len, b"the cat sat on the mat, and ");
    words[len / 2] = b'X';
    vec![
        vec![b'a'; len],
        [vec![b'a'; len - 1], vec![b'b']].concat(),
        [vec![b'c'], vec![b'a'; len - 1]].concat(),
        periodic(len, b"ab"),
        periodic(len, b"abacabd"),
        periodic(len, b"abacabe"),
        fibonacci(len),
        fibonacci(len).iter().map(|c| b'a' + b'b' - c).collect(),
        thue_morse(len),
        thue_morse(3 * len).iter().step_by(3).copied().collect(),
        growing(len, b"X"),
        growing(len, b"Y"),
        growing(len, b"XYZ").into_iter().rev().collect(),
        sparse(len, 2, 1),
        sparse(len, 2, 2),
        sparse(len, 10, 3),
        sparse(len, 90, 4),
        periodic(len, b"return x;\n        "),
        words,
    ]
}

fn assert_same(a: &[u8], b: &[u8], autojunk: bool) {
    let codes = |text: &[u8]| text.iter().map(|&c| u32::from(c)).collect::<Vec<_>>();
    let index = Index::new(codes(b), &[false; 256], autojunk);
    let expected = index.matching_blocks(&codes(a), Stop::default()).unwrap();
    let chars = |text: &[u8]| {
        text.iter()
            .map(|&c| 0x4E00 + u32::from(c))
            .collect::<Vec<_>>()
    };
    let ints = |text: &[u8]| text.iter().map(|&c| i64::from(c) << 40).collect::<Vec<_>>();
    let (a_chars, b_chars, a_ints, b_ints) = (chars(a), chars(b), ints(a), ints(b));
    let mut matcher = Matcher::default();
    for (a, b) in [
        (Seq::Ascii(a), Seq::Ascii(b)),
        (Seq::Chars(&a_chars), Seq::Chars(&b_chars)),
        (Seq::Ints(&a_ints), Seq::Ints(&b_ints)),
    ] {
        let found = matcher.blocks(a, b, autojunk, Stop::default()).unwrap();
        assert_eq!(found, expected, "{a:?} {b:?}");
    }
}

/// Left of the long block `b` lacks the code that `a` has there, and has elements that `a` lacks.
#[test]
fn elements_of_one_side_alone_match_nothing() {
    let long_block: Vec<u8> = (0..500_u32)
        .map(|k| b'c' + u8::try_from(k * k % 23).unwrap())
        .collect();
    for dashes in [3, 17, 40] {
        let repeated = |last: u8| [vec![b'-'; dashes], vec![last]].concat().repeat(12);
        let a = [repeated(b'c'), long_block.clone()].concat();
        let b = [repeated(b'X'), long_block.clone()].concat();
        assert_same(&a, &b, false);
        assert_same(&b, &a, false);
        assert_same(&a, &b, true);
    }
}

#[test]
fn every_kind_agrees_with_every_other() {
    for len in [70, 210, 260] {
        let texts = texts(len);
        for a in &texts {
            for b in &texts {
                assert_same(a, b, false);
                assert_same(a, &b[..b.len() - 3], true);
            }
        }
    }
}

#[test]
fn long_repetitive_pairs_agree() {
    let texts = texts(1_000);
    for (at, a) in texts.iter().enumerate() {
        for b in texts.iter().skip(at % 6).step_by(6) {
            assert_same(a, &b[5..], false);
        }
    }
}

/// Runs of one element, each behind an element of its own: many elements follow the same string.
#[test]
fn many_elements_behind_the_same_string_agree() {
    let gap = |own: i64| usize::try_from(1 + own * 7_919 % 20).unwrap();
    let run = |own: i64| [vec![own], vec![0; gap(own)]].concat();
    let b: Vec<i64> = (1..150).flat_map(run).collect();
    let a: Vec<i64> = b.iter().rev().copied().collect();
    let codes = |s: &[i64]| {
        s.iter()
            .map(|&x| u32::try_from(x).unwrap())
            .collect::<Vec<_>>()
    };
    let index = Index::new(codes(&b), &[false; 150], false);
    let expected = index.matching_blocks(&codes(&a), Stop::default()).unwrap();
    let mut matcher = Matcher::default();
    let found = matcher.blocks(Seq::Ints(&a), Seq::Ints(&b), false, Stop::default());
    assert_eq!(found.unwrap(), expected);
}

#[test]
fn a_wide_alphabet_agrees() {
    // More than 254 common elements: two bytes an element; popular ones among them.
    let mut seed = 7_u64;
    let mut next = |below: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut text = |len: usize| -> Vec<u32> {
        (0..len)
            .map(|_| {
                if next(3) == 0 {
                    0x4E00 + next(4)
                } else {
                    0x4E00 + next(600)
                }
            })
            .map(|c| u32::try_from(c).unwrap())
            .collect()
    };
    for len in [300, 1_500] {
        let (a, mut b) = (text(len), text(len));
        b[len / 3..len / 2].copy_from_slice(&a[len / 4..len / 4 + len / 2 - len / 3]);
        for autojunk in [true, false] {
            let base = |text: &[u32]| text.iter().map(|c| c - 0x4E00).collect::<Vec<_>>();
            let index = Index::new(base(&b), &[false; 600], autojunk);
            let expected = index.matching_blocks(&base(&a), Stop::default()).unwrap();
            let mut matcher = Matcher::default();
            let found = matcher.blocks(Seq::Chars(&a), Seq::Chars(&b), autojunk, Stop::default());
            assert_eq!(found.unwrap(), expected);
        }
    }
}

#[test]
fn more_common_elements_than_two_bytes_hold_agree() {
    let a: Vec<i64> = (0..70_000).map(|x| x * 1_000_003 % 70_001).collect();
    let mut b = a.clone();
    b.swap(10, 60_000);
    b.remove(30_000);
    let index_b: Vec<u32> = b.iter().map(|&x| u32::try_from(x).unwrap()).collect();
    let index_a: Vec<u32> = a.iter().map(|&x| u32::try_from(x).unwrap()).collect();
    let index = Index::new(index_b, &vec![false; 70_001], true);
    let expected = index.matching_blocks(&index_a, Stop::default()).unwrap();
    let mut matcher = Matcher::default();
    let found = matcher.blocks(Seq::Ints(&a), Seq::Ints(&b), true, Stop::default());
    assert_eq!(found.unwrap(), expected);
}

#[test]
fn beyond_two_million_elements_it_still_answers() {
    let a: Vec<i64> = (0..2_200_000).map(|x| x * 7_919 % 1_000_003).collect();
    let mut b = a.clone();
    b[1_000] = -1;
    b.truncate(2_150_000);
    let mut matcher = Matcher::default();
    let total = matcher.matched(Seq::Ints(&a), Seq::Ints(&b), false, Stop::default());
    assert_eq!(total.unwrap(), 2_149_999);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn patched_repetition_agrees(
        kinds in (0_usize..19, 0_usize..19),
        len in 20_usize..500,
        patches in proptest::collection::vec((0_usize..900, 1_usize..40, 0_u8..6), 0..8),
        autojunk: bool,
    ) {
        let texts = texts(len);
        let (mut a, mut b) = (texts[kinds.0].clone(), texts[kinds.1].clone());
        let a_len = a.len();
        for (at, size, how) in patches {
            let (at, end) = (at % b.len(), (at % b.len() + size).min(b.len()));
            match how {
                0 if end - at < b.len() => drop(b.drain(at..end)),
                1 => b[at..end].fill(b'q'),
                2 => a[at.min(a_len)..end.min(a_len)].fill(b'p'),
                3 => (at..end).for_each(|k| b[k] = b'A' + u8::try_from(k % 50).unwrap()),
                4 => (at..end.min(a_len)).for_each(|k| a[k] = b'0' + u8::try_from(k % 60).unwrap()),
                _ => { let piece = a[at.min(a.len())..end.min(a.len())].to_vec(); b.splice(at..at, piece); }
            }
        }
        assert_same(&a, &b, autojunk);
    }
}
