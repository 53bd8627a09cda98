//! The solvers against the naive oracle.
#![allow(clippy::unwrap_used, clippy::trivially_copy_pass_by_ref)]

use proptest::prelude::*;
use srl_core::seqmatch::classic::Index;
use srl_core::seqmatch::{Block, Lanes, Matcher, Seq, Stop, oracle};

fn none(_: &i64) -> bool {
    false
}

fn blocks(a: &[i64], b: &[i64], autojunk: bool) -> Vec<Block> {
    Matcher::default()
        .blocks(Seq::Ints(a), Seq::Ints(b), autojunk, Stop::default())
        .unwrap()
        .to_vec()
}

/// Two sequences over one alphabet, the second sometimes an edited copy of the first.
fn pair(alphabet: i64, len: usize) -> impl Strategy<Value = (Vec<i64>, Vec<i64>)> {
    let sequence = move || proptest::collection::vec(0..alphabet, 0..=len);
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), -1..alphabet), 0..12);
    (sequence(), sequence(), edits, any::<bool>()).prop_map(|(a, b, edits, copy)| {
        if !copy {
            return (a, b);
        }
        let mut edited = a.clone();
        for (place, value) in edits {
            let at = place.index(edited.len() + 1);
            if value < 0 && at < edited.len() {
                edited.remove(at);
            } else {
                edited.insert(at, value.max(0));
            }
        }
        (a, edited)
    })
}

/// What the textbook method finds, which is quick enough for thousands of elements.
fn textbook(a: &[i64], b: &[i64], autojunk: bool) -> Vec<Block> {
    let code = |s: &[i64]| {
        let code = |&x: &i64| u32::try_from(x).unwrap();
        s.iter().map(code).collect::<Vec<_>>()
    };
    let top = a.iter().chain(b).copied().max().unwrap_or(0);
    let junk = vec![false; usize::try_from(top).unwrap() + 1];
    Index::new(code(b), &junk, autojunk)
        .matching_blocks(&code(a), Stop::default())
        .unwrap()
}

/// A sequence of `len` elements, then a copy in which every `gap`th stretch or so is another.
fn stretches(len: usize, alphabet: i64, gap: usize, mut seed: u64) -> (Vec<i64>, Vec<i64>) {
    let mut draw = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let letters = usize::try_from(alphabet).unwrap();
    let b: Vec<i64> = (0..len)
        .map(|_| i64::try_from(draw(letters)).unwrap())
        .collect();
    let mut a = Vec::new();
    while a.len() < len {
        let (from, size) = (draw(len), 1 + draw(gap));
        let stretch = if draw(3) == 0 { from } else { a.len() };
        a.extend(b[stretch.min(len - 1)..(stretch + size).min(len)].iter());
        a.push(i64::try_from(draw(letters)).unwrap());
    }
    (a, b)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn long_pairs_agree_whatever_the_registers(
        len in 60_usize..2_600,
        alphabet in prop_oneof![Just(2_i64), Just(3), Just(12), Just(60), Just(400), Just(3_000)],
        gap in prop_oneof![Just(6_usize), Just(40), Just(300)],
        seed: u64,
        autojunk: bool,
    ) {
        let (a, b) = stretches(len, alphabet, gap, seed);
        let expected = textbook(&a, &b, autojunk);
        for lanes in [Lanes::Portable, Lanes::Avx2] {
            let mut matcher = Matcher::limited_to(lanes);
            let (a, b) = (Seq::Ints(&a), Seq::Ints(&b));
            prop_assert_eq!(matcher.blocks(a, b, autojunk, Stop::default()).unwrap(), &expected[..]);
            let matched: usize = expected.iter().map(|block| block.len).sum();
            prop_assert_eq!(matcher.matched(a, b, autojunk, Stop::default()).unwrap(), matched);
        }
    }
}

#[test]
fn more_common_elements_than_two_bytes_can_number_agree() {
    let b: Vec<i64> = (0..70_000).chain(0..400).collect();
    let mut a: Vec<i64> = b
        .iter()
        .copied()
        .filter(|x| x % 97 != 0 && x % 61 < 58)
        .collect();
    a.extend(100..160);
    for autojunk in [false, true] {
        let expected = textbook(&a, &b, autojunk);
        assert_eq!(blocks(&a, &b, autojunk), expected);
    }
}

proptest! {
    #[test]
    fn short_pairs_agree((a, b) in pair(3, 24), autojunk: bool) {
        prop_assert_eq!(blocks(&a, &b, autojunk), oracle::matching_blocks(&a, &b, &none, autojunk));
    }

    #[test]
    fn middling_pairs_agree(
        (a, b) in prop_oneof![pair(2, 90), pair(5, 120), pair(30, 150)],
    ) {
        prop_assert_eq!(blocks(&a, &b, true), oracle::matching_blocks(&a, &b, &none, true));
    }

    #[test]
    fn pairs_around_the_popularity_limit_agree(
        (a, b) in prop_oneof![pair(4, 260), pair(40, 320), pair(150, 420)], autojunk: bool,
    ) {
        prop_assert_eq!(blocks(&a, &b, autojunk), oracle::matching_blocks(&a, &b, &none, autojunk));
    }

    #[test]
    fn junk_agrees((a, b) in prop_oneof![pair(4, 60), pair(60, 260)], junk_below in 1i64..4, autojunk: bool) {
        let is_junk = |x: &i64| *x < junk_below;
        let junk: Vec<bool> = (0..60).map(|x| is_junk(&x)).collect();
        let code = |s: &[i64]| s.iter().map(|&x| u32::try_from(x).unwrap()).collect::<Vec<_>>();
        let index = Index::new(code(&b), &junk, autojunk);
        prop_assert_eq!(
            index.matching_blocks(&code(&a), Stop::default()).unwrap(),
            oracle::matching_blocks(&a, &b, &is_junk, autojunk)
        );
    }
}
