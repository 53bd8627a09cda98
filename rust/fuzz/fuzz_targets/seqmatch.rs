//! The matcher against the naive oracle, over alphabets of every width.
//!
//! The first byte chooses the alphabet, autojunk and how often `b` is repeated, so that short
//! inputs pass the popularity limit too; the rest is cut into `a` and `b` at its second byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use srl_core::seqmatch::{Matcher, Seq, Stop, oracle};

fuzz_target!(|data: &[u8]| {
    let [choice, cut, rest @ ..] = data else { return };
    let (a, b) = rest.split_at(usize::from(*cut).min(rest.len()));
    let repeats = 1 + usize::from(choice >> 5 & 3);
    let spread = i64::from([1, 1, 300, 70_000][usize::from(choice >> 1 & 3)]);
    let modulus = i64::from([256, 2, 3, 17][usize::from(choice >> 3 & 3)]);
    let element = |byte: &u8| (i64::from(*byte) % modulus) * spread;
    let a: Vec<i64> = a.iter().map(element).take(300).collect();
    let b: Vec<i64> = b.iter().map(element).take(300).collect::<Vec<_>>().repeat(repeats);
    let b = &b[..b.len().min(450)];
    let autojunk = choice & 1 == 1;
    let expected = oracle::matching_blocks(&a, b, &|_| false, autojunk);
    let mut matcher = Matcher::default();
    let found = matcher.blocks(Seq::Ints(&a), Seq::Ints(b), autojunk, Stop::default());
    assert_eq!(found, Ok(expected.as_slice()));
});
