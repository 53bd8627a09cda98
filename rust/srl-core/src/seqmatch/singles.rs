//! Rectangles whose blocks are single elements, met from left to right.
//!
//! Every code keeps a cursor into its positions in `b`. Rectangles come in order, so a cursor only
//! moves forward: all sweeps of a pair together cost its two lengths.

use super::text::{Code, Text};

const NONE: u32 = u32::MAX;

/// Positions of each code in `b`, chained, and the cursors.
#[derive(Debug, Default)]
pub(crate) struct Singles {
    cursors: Vec<u32>,
    next: Vec<u32>,
    is_built: bool,
}

impl Singles {
    /// Forgets the pair before.
    pub(crate) fn reset(&mut self) {
        self.is_built = false;
    }

    /// The first position of `code` in `b` at `from` or later. Calls come with rising `from`.
    #[inline]
    pub(crate) fn next_at<C: Code>(&mut self, b: &Text<C>, code: C, from: usize) -> Option<usize> {
        if !self.is_built {
            self.build(b);
        }
        let cursor = self.cursors.get_mut(code.index())?;
        while *cursor != NONE && (*cursor as usize) < from {
            *cursor = self.next[*cursor as usize];
        }
        (*cursor != NONE).then_some(*cursor as usize)
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "texts are far below 2^32 elements"
    )]
    fn build<C: Code>(&mut self, b: &Text<C>) {
        let top = b
            .codes()
            .iter()
            .filter(|code| **code != C::B_ONLY)
            .map(|code| code.index())
            .max();
        self.cursors.clear();
        self.cursors.resize(top.map_or(0, |top| top + 1), NONE);
        self.next.resize(b.len(), NONE);
        for (j, code) in b.codes().iter().enumerate().rev() {
            if *code != C::B_ONLY {
                self.next[j] = self.cursors[code.index()];
                self.cursors[code.index()] = j as u32;
            }
        }
        self.is_built = true;
    }
}
