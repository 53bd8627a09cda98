//! The matcher against the textbook method and, where it is short, the naive oracle; over alphabets
//! of every code width, in every kind of registers.
//!
//! The first byte chooses the alphabet, autojunk and how often `b` is repeated, so that short
//! inputs pass the popularity limit too; the second how long the stretches are that are written
//! out, so that inputs reach every method; the rest is cut into `a` and `b` at its first byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use srl_core::seqmatch::classic::Index;
use srl_core::seqmatch::{Lanes, Matcher, Seq, Stop, oracle};

/// Elements up to which the oracle is quick enough.
const SHORT: usize = 48;

fuzz_target!(|data: &[u8]| {
    let [choice, stretch, cut, rest @ ..] = data else { return };
    let (a, b) = rest.split_at(usize::from(*cut).min(rest.len()));
    let repeats = 1 + usize::from(choice >> 5 & 3);
    let spread = i64::from([1, 1, 300, 70_000][usize::from(choice >> 1 & 3)]);
    let modulus = i64::from([256, 2, 3, 17][usize::from(choice >> 3 & 3)]);
    // Each byte stands for a run of consecutive elements, as long as the second byte says.
    let run = 1 + i64::from(stretch % 12);
    let elements = |byte: &u8| {
        let first = i64::from(*byte) * run;
        (first..first + run).map(|x| x % modulus * spread).collect::<Vec<_>>()
    };
    let a: Vec<i64> = a.iter().flat_map(elements).take(2_400).collect();
    let mut b: Vec<i64> = b.iter().flat_map(elements).take(2_400).collect();
    b = b.repeat(repeats);
    b.truncate(2_400);
    let autojunk = choice & 1 == 1;
    let code = |s: &[i64]| s.iter().map(|&x| u32::try_from(x / spread).unwrap()).collect::<Vec<_>>();
    let expected = Index::new(code(&b), &[false; 256], autojunk)
        .matching_blocks(&code(&a), Stop::default())
        .unwrap();
    if a.len() + b.len() <= SHORT {
        assert_eq!(expected, oracle::matching_blocks(&a, &b, &|_| false, autojunk));
    }
    for lanes in [Lanes::Portable, Lanes::Avx2] {
        let mut matcher = Matcher::limited_to(lanes);
        let found = matcher.blocks(Seq::Ints(&a), Seq::Ints(&b), autojunk, Stop::default());
        assert_eq!(found, Ok(expected.as_slice()));
    }
});
