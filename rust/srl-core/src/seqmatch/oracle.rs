//! The naive oracle: what difflib means, written as plainly as it can be.
//!
//! Every position pair is tried, every run is measured element by element. Quadratic to cubic, no
//! index, no shared code with the solvers beside it: the tests and the fuzz targets compare them
//! with this.

use super::Block;

/// A rectangle of the two sequences, half open on both sides.
#[derive(Clone, Copy)]
struct Window {
    a: (usize, usize),
    b: (usize, usize),
}

/// Whether an element takes no part in the search for the longest run.
struct Classes<'t, T> {
    junk: &'t dyn Fn(&T) -> bool,
    popular: Vec<T>,
}

impl<T: PartialEq> Classes<'_, T> {
    fn is_seed(&self, element: &T) -> bool {
        !(self.junk)(element) && !self.popular.contains(element)
    }
}

/// The matching blocks of `a` and `b`, in order, touching blocks joined, without difflib's
/// closing block of length zero. `junk` says which elements of `b` the caller calls junk.
pub fn matching_blocks<T: PartialEq + Clone>(
    a: &[T],
    b: &[T],
    junk: &dyn Fn(&T) -> bool,
    autojunk: bool,
) -> Vec<Block> {
    let popular = if autojunk {
        popular(b, junk)
    } else {
        Vec::new()
    };
    let classes = Classes { junk, popular };
    let mut blocks = Vec::new();
    let whole = Window {
        a: (0, a.len()),
        b: (0, b.len()),
    };
    collect(a, b, &classes, whole, &mut blocks);
    join(&blocks)
}

/// Elements of `b` that make up more than one percent of it, once it has 200.
fn popular<T: PartialEq + Clone>(b: &[T], junk: &dyn Fn(&T) -> bool) -> Vec<T> {
    let mut found: Vec<T> = Vec::new();
    if b.len() < 200 {
        return found;
    }
    for element in b {
        let count = b.iter().filter(|other| *other == element).count();
        if count > b.len() / 100 + 1 && !junk(element) && !found.contains(element) {
            found.push(element.clone());
        }
    }
    found
}

fn collect<T: PartialEq>(
    a: &[T],
    b: &[T],
    classes: &Classes<'_, T>,
    window: Window,
    blocks: &mut Vec<Block>,
) {
    let block = longest(a, b, classes, window);
    if block.len == 0 {
        return;
    }
    if window.a.0 < block.a && window.b.0 < block.b {
        let left = Window {
            a: (window.a.0, block.a),
            b: (window.b.0, block.b),
        };
        collect(a, b, classes, left, blocks);
    }
    blocks.push(block);
    if block.a + block.len < window.a.1 && block.b + block.len < window.b.1 {
        let right = Window {
            a: (block.a + block.len, window.a.1),
            b: (block.b + block.len, window.b.1),
        };
        collect(a, b, classes, right, blocks);
    }
}

/// The longest run of seeds, earliest in `a`, then in `b`; widened by equal elements that are not
/// junk, then by equal junk.
fn longest<T: PartialEq>(a: &[T], b: &[T], classes: &Classes<'_, T>, window: Window) -> Block {
    let mut best = Block {
        a: window.a.0,
        b: window.b.0,
        len: 0,
    };
    for i in window.a.0..window.a.1 {
        for j in window.b.0..window.b.1 {
            let room = (window.a.1 - i).min(window.b.1 - j);
            let run = (0..room)
                .take_while(|&k| a[i + k] == b[j + k] && classes.is_seed(&b[j + k]))
                .count();
            if run > best.len {
                best = Block {
                    a: i,
                    b: j,
                    len: run,
                };
            }
        }
    }
    let widened = widen(a, b, window, best, &|element| !(classes.junk)(element));
    widen(a, b, window, widened, &|element| (classes.junk)(element))
}

fn widen<T: PartialEq>(
    a: &[T],
    b: &[T],
    window: Window,
    mut block: Block,
    may: &dyn Fn(&T) -> bool,
) -> Block {
    while block.a > window.a.0
        && block.b > window.b.0
        && may(&b[block.b - 1])
        && a[block.a - 1] == b[block.b - 1]
    {
        block = Block {
            a: block.a - 1,
            b: block.b - 1,
            len: block.len + 1,
        };
    }
    while block.a + block.len < window.a.1
        && block.b + block.len < window.b.1
        && may(&b[block.b + block.len])
        && a[block.a + block.len] == b[block.b + block.len]
    {
        block.len += 1;
    }
    block
}

fn join(blocks: &[Block]) -> Vec<Block> {
    let mut joined: Vec<Block> = Vec::new();
    for block in blocks {
        match joined.last_mut() {
            Some(last) if last.a + last.len == block.a && last.b + last.len == block.b => {
                last.len += block.len;
            }
            _ => joined.push(*block),
        }
    }
    joined
}
