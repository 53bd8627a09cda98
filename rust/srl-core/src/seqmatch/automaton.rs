//! The longest block of a rectangle by a suffix automaton, for input too repetitive for seeds.
//!
//! The automaton of the columns is built in time linear in them, and the rows walk it in linear
//! time, however often anything repeats and however many elements follow a string: the edges of a
//! state are a list, and in a hash map besides where they are many. Each state knows where its
//! strings first end, so the earliest column is at hand.

use std::collections::HashMap;

use super::Block;
use super::rect::Rect;
use super::text::{Code, Text};

const NONE: u32 = u32::MAX;
const ROOT: u32 = 0;

/// Edges from which a state's are looked up rather than walked through.
const WIDE: u32 = 32;

/// Stands for the elements that `a` has not: no code of `a`, whatever part of `b` is looked at.
const FOREIGN: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    /// Of its longest string.
    pub(crate) len: u32,
    /// The state of the longest suffix that ends in more places; the root's is none.
    pub(crate) link: u32,
    /// Where its strings first end.
    pub(crate) first_end: u32,
    edges: u32,
}

#[derive(Clone, Copy, Debug)]
struct Edge {
    code: u32,
    to: u32,
    next: u32,
    /// How many there are from here on.
    count: u32,
}

/// States and edges, used again from call to call.
#[derive(Debug, Default)]
pub(crate) struct Automaton {
    states: Vec<State>,
    edges: Vec<Edge>,
    /// The edges of wide states, by state and code.
    wide: HashMap<(u32, u32), u32>,
    /// The state of the text up to each position.
    ends: Vec<u32>,
    /// The root's edges by code.
    root: Vec<u32>,
    root_foreign: u32,
}

impl Automaton {
    /// The longest block of `rect`, or None where nothing matches.
    pub(crate) fn longest<C: Code>(
        &mut self,
        a: &Text<C>,
        b: &Text<C>,
        rect: Rect,
    ) -> Option<Block> {
        self.build(&b.codes()[rect.b_lo..rect.b_hi]);
        let mut best = (0, 0, 0);
        let (mut state, mut len) = (ROOT, 0);
        for (i, code) in a.codes()[rect.a_lo..rect.a_hi].iter().enumerate() {
            (state, len) = self.step(state, len, *code);
            if len > best.0 {
                best = (len, i + 1, self.states[state as usize].first_end);
            }
        }
        let (len, a_end, b_last) = (best.0 as usize, best.1, best.2 as usize);
        let (a, b) = (rect.a_lo + a_end, rect.b_lo + b_last + 1);
        (len > 0).then(|| Block {
            a: a - len,
            b: b - len,
            len,
        })
    }

    pub(crate) fn states(&self) -> &[State] {
        &self.states
    }

    /// The state of the text up to each position.
    pub(crate) fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// The longest suffix of what was read that can be read on with `code`.
    #[inline]
    pub(crate) fn step<C: Code>(&self, mut state: u32, mut len: u32, code: C) -> (u32, u32) {
        if code == C::A_ONLY {
            return (ROOT, 0);
        }
        let code = position(code.index());
        loop {
            let to = self.target(state, code);
            if to != NONE {
                return (to, len + 1);
            }
            if state == ROOT {
                return (ROOT, 0);
            }
            state = self.states[state as usize].link;
            len = self.states[state as usize].len;
        }
    }

    /// Builds the automaton of `b`.
    pub(crate) fn build<C: Code>(&mut self, b: &[C]) {
        self.states.clear();
        self.ends.clear();
        self.edges.clear();
        self.wide = HashMap::new();
        let known = b.iter().filter(|code| **code != C::B_ONLY);
        let top = known.map(|code| code.index()).max();
        let number = |code: C| {
            if code == C::B_ONLY {
                FOREIGN
            } else {
                position(code.index())
            }
        };
        self.root_foreign = NONE;
        self.root.clear();
        self.root.resize(top.map_or(0, |top| top + 1), NONE);
        self.states.push(State {
            len: 0,
            link: NONE,
            first_end: 0,
            edges: NONE,
        });
        let mut last = ROOT;
        for (j, code) in b.iter().enumerate() {
            last = self.extend(last, number(*code), position(j));
            self.ends.push(last);
        }
    }

    /// Appends `code` at position `end`; returns the state of the whole text so far.
    fn extend(&mut self, last: u32, code: u32, end: u32) -> u32 {
        let new = position(self.states.len());
        let len = self.states[last as usize].len + 1;
        self.states.push(State {
            len,
            link: ROOT,
            first_end: end,
            edges: NONE,
        });
        let mut at = last;
        let mut to = NONE;
        while at != NONE {
            to = self.target(at, code);
            if to != NONE {
                break;
            }
            self.add_edge(at, code, new);
            at = self.states[at as usize].link;
        }
        if at != NONE {
            let link = self.split(at, code, to);
            self.states[new as usize].link = link;
        }
        new
    }

    /// The state that ends just the strings of `at` with `code` behind, split off where needed.
    fn split(&mut self, mut at: u32, code: u32, to: u32) -> u32 {
        let len = self.states[at as usize].len + 1;
        if self.states[to as usize].len == len {
            return to;
        }
        let clone = position(self.states.len());
        let edges = self.copy_edges(self.states[to as usize].edges);
        self.states.push(State {
            len,
            edges,
            ..self.states[to as usize]
        });
        if self.count(edges) >= WIDE {
            self.widen(clone);
        }
        self.states[to as usize].link = clone;
        while at != NONE && self.target(at, code) == to {
            self.redirect(at, code, clone);
            at = self.states[at as usize].link;
        }
        clone
    }

    #[inline]
    fn target(&self, state: u32, code: u32) -> u32 {
        if state == ROOT {
            return match self.root.get(code as usize) {
                Some(to) => *to,
                None if code == FOREIGN => self.root_foreign,
                None => NONE,
            };
        }
        self.edge(state, code).1
    }

    /// Which edge of a state other than the root has `code`, and where it leads to.
    #[inline(always)]
    fn edge(&self, state: u32, code: u32) -> (u32, u32) {
        let mut at = self.states[state as usize].edges;
        while at != NONE {
            let edge = self.edges[at as usize];
            if edge.code == code {
                return (at, edge.to);
            }
            at = if edge.count < WIDE {
                edge.next
            } else {
                self.wide_edge(state, code)
            };
        }
        (NONE, NONE)
    }

    /// The same for a wide state. Out of line, for the sake of the many others.
    #[cold]
    #[inline(never)]
    fn wide_edge(&self, state: u32, code: u32) -> u32 {
        self.wide.get(&(state, code)).copied().unwrap_or(NONE)
    }

    /// How many edges there are from one on.
    #[inline]
    fn count(&self, edge: u32) -> u32 {
        self.edges.get(edge as usize).map_or(0, |edge| edge.count)
    }

    fn root_edge(&mut self, code: u32) -> &mut u32 {
        if code == FOREIGN {
            return &mut self.root_foreign;
        }
        &mut self.root[code as usize]
    }

    fn add_edge(&mut self, state: u32, code: u32, to: u32) {
        if state == ROOT {
            *self.root_edge(code) = to;
            return;
        }
        let next = self.states[state as usize].edges;
        let edge = position(self.edges.len());
        let count = self.count(next) + 1;
        self.states[state as usize].edges = edge;
        self.edges.push(Edge {
            code,
            to,
            next,
            count,
        });
        if count > WIDE {
            self.wide.insert((state, code), edge);
        } else if count == WIDE {
            self.widen(state);
        }
    }

    /// Puts all edges of a state into the map.
    #[cold]
    #[inline(never)]
    fn widen(&mut self, state: u32) {
        let mut edge = self.states[state as usize].edges;
        while edge != NONE {
            let Edge { code, next, .. } = self.edges[edge as usize];
            self.wide.insert((state, code), edge);
            edge = next;
        }
    }

    fn redirect(&mut self, state: u32, code: u32, to: u32) {
        if state == ROOT {
            *self.root_edge(code) = to;
            return;
        }
        let (edge, _) = self.edge(state, code);
        self.edges[edge as usize].to = to;
    }

    fn copy_edges(&mut self, mut edge: u32) -> u32 {
        let mut copied = NONE;
        while edge != NONE {
            let original = self.edges[edge as usize];
            let next = copied;
            copied = position(self.edges.len());
            self.edges.push(Edge {
                next,
                count: self.count(next) + 1,
                ..original
            });
            edge = original.next;
        }
        copied
    }
}

/// Codes, positions and states as 32 bits: there are at most two states for each position.
#[allow(
    clippy::cast_possible_truncation,
    reason = "texts are far below 2^31 elements"
)]
#[inline]
fn position(value: usize) -> u32 {
    value as u32
}
