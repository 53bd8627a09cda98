//! The parts of a text whose lines are never headings: code fences and LaTeX displays.
//!
//! An opener without its closer is plain text. A LaTeX span never crosses a blank line, so a stray
//! `$$` spoils one paragraph at most. One pass from left to right; linear.

use std::ops::Range;

/// Byte ranges, in order and apart, of the fences and the LaTeX that reach over a line's end.
pub(super) fn spans(text: &str) -> Vec<Range<usize>> {
    let mut scanner = Scanner::new(text);
    while scanner.at < scanner.bytes.len() {
        scanner.line();
    }
    scanner.spans
}

struct Scanner<'t> {
    bytes: &'t [u8],
    at: usize,
    spans: Vec<Range<usize>>,
    /// Fences ahead, as (start of line, fence), the last first.
    fences: Vec<(usize, Fence)>,
    /// For each fence still ahead, the longest bare one from there on: backticks, tildes.
    longest: Vec<[usize; 2]>,
    /// End of the current paragraph, once known.
    paragraph: usize,
    /// Which closers this paragraph is known to lack.
    lacks: [bool; CLOSERS.len()],
}

const CLOSERS: [&[u8]; 4] = [b"\\]", b"\\)", b"$$", b"\\end{"];

#[derive(Clone, Copy)]
struct Fence {
    tilde: bool,
    length: usize,
    bare: bool,
}

impl<'t> Scanner<'t> {
    fn new(text: &'t str) -> Self {
        let bytes = text.as_bytes();
        let mut fences: Vec<_> = line_starts(bytes)
            .filter_map(|start| {
                Some((
                    start,
                    fence(&text[start..start + line_at(bytes, start).len()])?,
                ))
            })
            .collect();
        fences.reverse();
        let mut longest = Vec::with_capacity(fences.len());
        let mut best = [0, 0];
        for (_, fence) in &fences {
            let slot = &mut best[usize::from(fence.tilde)];
            *slot = (*slot).max(if fence.bare { fence.length } else { 0 });
            longest.push(best);
        }
        let lacks = [false; CLOSERS.len()];
        Scanner {
            bytes,
            at: 0,
            spans: Vec::new(),
            fences,
            longest,
            paragraph: 0,
            lacks,
        }
    }

    /// Reads on from a line's start, to the next line's start.
    fn line(&mut self) {
        let opener = self.fence_here();
        if let Some(end) = opener.and_then(|fence| self.closing_fence(fence)) {
            self.spans.push(self.at..end);
            self.at = end;
            return;
        }
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'\n' => {
                    self.at += 1;
                    return;
                }
                b'\\' | b'$' => self.latex(),
                _ => self.at += 1,
            }
        }
    }

    /// The fence that starts on this line, if any; those before it are forgotten.
    fn fence_here(&mut self) -> Option<Fence> {
        while self
            .fences
            .last()
            .is_some_and(|(start, _)| *start < self.at)
        {
            self.pop_fence();
        }
        let (start, fence) = *self.fences.last()?;
        if start > self.at {
            return None;
        }
        self.pop_fence();
        Some(fence)
    }

    fn pop_fence(&mut self) {
        self.fences.pop();
        self.longest.pop();
    }

    /// The end of the line that closes `fence`.
    fn closing_fence(&mut self, fence: Fence) -> Option<usize> {
        let longest = self.longest.last()?[usize::from(fence.tilde)];
        if longest < fence.length {
            return None;
        }
        while let Some((start, next)) = self.fences.last().copied() {
            self.pop_fence();
            if next.bare && next.tilde == fence.tilde && next.length >= fence.length {
                return Some(line_end(self.bytes, start));
            }
        }
        None
    }

    /// Reads a backslash or a dollar: a span if it opens one that closes, else one token.
    fn latex(&mut self) {
        let rest = &self.bytes[self.at..];
        let closer = match rest {
            [b'\\', b'[', ..] => 0,
            [b'\\', b'(', ..] => 1,
            [b'$', b'$', ..] => 2,
            _ if rest.starts_with(b"\\begin{") => 3,
            [b'\\', b'\n', ..] | [b'$', ..] => return self.at += 1,
            _ => return self.at = (self.at + 2).min(self.bytes.len()),
        };
        let start = self.at;
        self.at += 2;
        if let Some(end) = self.closer(closer) {
            if self.bytes[start..end].contains(&b'\n') {
                self.spans.push(start..end);
            }
            self.at = end;
        }
    }

    fn closer(&mut self, kind: usize) -> Option<usize> {
        if self.at >= self.paragraph {
            self.paragraph = paragraph_end(self.bytes, self.at);
            self.lacks = [false; CLOSERS.len()];
        }
        if self.lacks[kind] {
            return None;
        }
        let found = find_token(&self.bytes[..self.paragraph], self.at, CLOSERS[kind]);
        self.lacks[kind] = found.is_none();
        found
    }
}

/// The end of the first `token` from `at` on that no backslash escapes.
fn find_token(bytes: &[u8], mut at: usize, token: &[u8]) -> Option<usize> {
    while at < bytes.len() {
        if bytes[at..].starts_with(token) {
            return Some(at + token.len());
        }
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    None
}

/// The start of the next blank line after `at`, or the text's end.
fn paragraph_end(bytes: &[u8], at: usize) -> usize {
    let mut start = line_end(bytes, at);
    while start < bytes.len() {
        let line = line_at(bytes, start);
        if line.iter().all(u8::is_ascii_whitespace) {
            return start;
        }
        start = line_end(bytes, start);
    }
    bytes.len()
}

fn fence(line: &str) -> Option<Fence> {
    let line = line.trim();
    let mark = line.chars().next().filter(|&c| c == '`' || c == '~')?;
    let info = line.trim_start_matches(mark);
    let length = line.len() - info.len();
    let opens = length >= 3 && !(mark == '`' && info.contains('`'));
    opens.then_some(Fence {
        tilde: mark == '~',
        length,
        bare: info.is_empty(),
    })
}

/// Where each line starts.
pub(super) fn line_starts(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let mut next = Some(0).filter(|_| !bytes.is_empty());
    std::iter::from_fn(move || {
        let start = next?;
        next = Some(line_end(bytes, start)).filter(|&end| end < bytes.len());
        Some(start)
    })
}

/// The line that starts at `start`, without its line feed.
pub(super) fn line_at(bytes: &[u8], start: usize) -> &[u8] {
    let end = line_end(bytes, start);
    bytes[start..end]
        .strip_suffix(b"\n")
        .unwrap_or(&bytes[start..end])
}

/// Just past the line feed that ends the line `at` stands in.
fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..]
        .iter()
        .position(|&byte| byte == b'\n')
        .map_or(bytes.len(), |length| at + length + 1)
}
