//! The solvers against the naive oracle.
#![allow(clippy::unwrap_used, clippy::trivially_copy_pass_by_ref)]

use proptest::prelude::*;
use srl_core::seqmatch::classic::Index;
use srl_core::seqmatch::{Block, Matcher, Seq, Stop, oracle};

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
