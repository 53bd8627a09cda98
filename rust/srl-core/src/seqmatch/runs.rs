//! Maximal equal runs as one integer each, and how a chosen block splits a list of them.
//!
//! The key of a run orders by length, then by earlier start in `a`, then in `b`: the greatest key
//! of a rectangle is difflib's next block. Starts count from an origin, 21 bits each.

use super::Block;

/// Side below which a rectangle's runs fit into keys.
pub(crate) const KEY_SIDE: usize = 1 << 21;

const FIELD: u64 = KEY_SIDE as u64 - 1;

/// Length, then complemented start in `a`, then complemented start in `b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Run(u64);

impl Run {
    #[inline]
    pub(crate) fn new(a: usize, b: usize, len: usize) -> Self {
        debug_assert!(a < KEY_SIDE && b < KEY_SIDE && len < KEY_SIDE);
        Self((len as u64) << 42 | (FIELD - a as u64) << 21 | (FIELD - b as u64))
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "21 bits each")]
    pub(crate) fn block(self) -> Block {
        let a = FIELD - (self.0 >> 21 & FIELD);
        let b = FIELD - (self.0 & FIELD);
        Block {
            a: a as usize,
            b: b as usize,
            len: (self.0 >> 42) as usize,
        }
    }
}

/// A stretch of the run list with its greatest key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) best: Run,
}

impl Span {
    pub(crate) fn of(runs: &[Run], from: usize) -> Self {
        let best = runs[from..].iter().copied().max().unwrap_or_default();
        Self {
            from,
            to: runs.len(),
            best,
        }
    }
}

/// Splits the runs of `span`, which ends the list, around `block` (same origin): clipped to the
/// right of it they come first, then those to the left; what is shorter than `shortest` goes.
///
/// A run has a part on one side only: with parts on both it would be longer than `block`.
pub(crate) fn split(
    runs: &mut Vec<Run>,
    spare: &mut Vec<Run>,
    span: Span,
    block: Block,
    shortest: usize,
) -> (Span, Span) {
    spare.clear();
    let mut kept = span.from;
    let (mut best_left, mut best_right) = (Run::default(), Run::default());
    for at in span.from..span.to {
        let run = runs[at].block();
        if run.a < block.a && run.b < block.b {
            let len = run.len.min(block.a - run.a).min(block.b - run.b);
            if len >= shortest {
                let left = Run::new(run.a, run.b, len);
                best_left = best_left.max(left);
                spare.push(left);
            }
            continue;
        }
        let (a_end, b_end) = (block.a + block.len, block.b + block.len);
        let cut = a_end.saturating_sub(run.a).max(b_end.saturating_sub(run.b));
        if run.len >= shortest + cut {
            let right = Run::new(run.a + cut, run.b + cut, run.len - cut);
            best_right = best_right.max(right);
            runs[kept] = right;
            kept += 1;
        }
    }
    runs.truncate(kept);
    runs.extend_from_slice(spare);
    let right = Span {
        from: span.from,
        to: kept,
        best: best_right,
    };
    (
        Span {
            from: kept,
            to: runs.len(),
            best: best_left,
        },
        right,
    )
}
