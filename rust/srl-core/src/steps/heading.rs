//! One line, read as the heading of a step: its number, its style, and where its text begins.
//!
//! Knows nothing of the lines around it: which headings count is decided in `steps`.

use std::ops::Range;

/// Numbers of more digits are years and quantities, not steps.
const MAX_DIGITS: usize = 3;

/// Where the bold of a heading stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bold {
    /// None that matters: `1. text`, `Step 1: text`, and every `#` heading.
    None,
    /// Around the number: `**Step 1:** text`, `**1. Title** text`.
    Around,
    /// After the number: `1. **Title** text`.
    After,
}

/// What makes two headings of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    hashes: usize,
    word: bool,
    bold: Bold,
    /// `.`, `)` or `:` after a bare number; 0 after `Step N`, where it may vary.
    delimiter: u8,
}

impl Style {
    /// How much a heading stands out: plain number 0, plain `Step N` 1, bold 2, `#` 3.
    pub(super) fn strength(self) -> u8 {
        match self {
            Style { hashes: 1.., .. } => 3,
            Style {
                bold: Bold::Around | Bold::After,
                ..
            } => 2,
            Style { word: true, .. } => 1,
            Style { .. } => 0,
        }
    }
}

/// A heading found at the start of a line; offsets are bytes from the line's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heading {
    pub(super) style: Style,
    pub(super) number: u32,
    pub(super) title: Option<Range<usize>>,
    /// Where the text begins once the number is stripped.
    pub(super) body: usize,
    /// The stripped number stood inside a bold that goes on: `**Step 1: Title**`.
    pub(super) reopen_bold: bool,
}

/// Reads `line` (without its line feed) as a heading at column 0.
pub(super) fn parse(line: &str) -> Option<Heading> {
    let bytes = line.as_bytes();
    if !matches!(bytes.first()?, b'#' | b'*' | b'0'..=b'9' | b's' | b'S') {
        return None;
    }
    let (hashes, at) = skip_hashes(line)?;
    let around = bytes[at..].starts_with(b"**");
    let at = at + if around { 2 } else { 0 };
    let (word, at) = skip_word(line, at);
    let (number, at) = read_number(bytes, at)?;
    let strong = around || hashes > 0;
    let end = if word {
        end_of_word(line, at, strong)?
    } else {
        end_of_number(line, at, strong)?
    };
    Some(finish(
        line,
        &Front {
            hashes,
            word,
            around,
            number,
        },
        &end,
    ))
}

/// What stands up to the number.
struct Front {
    hashes: usize,
    word: bool,
    around: bool,
    number: u32,
}

/// Where the number's punctuation ends.
struct End {
    at: usize,
    delimiter: u8,
    closed: bool,
}

fn finish(line: &str, front: &Front, end: &End) -> Heading {
    let bytes = line.as_bytes();
    let closed = end.closed || (front.around && bytes[end.at..].starts_with(b"**"));
    let at = end.at + if closed && !end.closed { 2 } else { 0 };
    let body = skip_blanks(line, at);
    let bold_text = bytes[body..].starts_with(b"**");
    let bold = match (front.hashes, front.around, bold_text && !front.word) {
        (1.., _, _) | (0, false, false) => Bold::None,
        (0, true, _) => Bold::Around,
        (0, false, true) => Bold::After,
    };
    let reopen_bold = front.around && !closed && body < line.trim_end().len();
    let title = match (bold, front.hashes) {
        (Bold::After, _) => up_to_bold(line, body + 2),
        (Bold::Around, _) if reopen_bold => up_to_bold(line, body),
        (Bold::None, 1..) => Some(body..line.len()),
        _ => None,
    };
    let style = Style {
        hashes: front.hashes,
        word: front.word,
        bold,
        delimiter: end.delimiter,
    };
    let title = title.and_then(|range| trim_title(line, range));
    Heading {
        style,
        number: front.number,
        title,
        body,
        reopen_bold,
    }
}

fn skip_hashes(line: &str) -> Option<(usize, usize)> {
    let hashes = line.bytes().take_while(|&byte| byte == b'#').count();
    let at = skip_blanks(line, hashes);
    match hashes {
        0 => Some((0, 0)),
        1..=6 if at > hashes => Some((hashes, at)),
        _ => None,
    }
}

fn skip_word(line: &str, at: usize) -> (bool, usize) {
    let has_word = line
        .get(at..at + 4)
        .is_some_and(|word| word.eq_ignore_ascii_case("step"));
    if !has_word {
        return (false, at);
    }
    let after = skip_blanks(line, at + 4);
    if after > at + 4 {
        (true, after)
    } else {
        (false, at)
    }
}

fn read_number(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
    let digits = bytes[at..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if digits == 0 || digits > MAX_DIGITS || bytes[at] == b'0' {
        return None;
    }
    let value = bytes[at..at + digits]
        .iter()
        .fold(0, |sum, byte| sum * 10 + u32::from(byte - b'0'));
    Some((value, at + digits))
}

/// `1.`, `1)`, and where it stands out `1:`; then the line's end, a blank, or bold.
fn end_of_number(line: &str, at: usize, strong: bool) -> Option<End> {
    let delimiter = *line.as_bytes().get(at)?;
    if !(matches!(delimiter, b'.' | b')') || (strong && delimiter == b':')) {
        return None;
    }
    let rest = &line[at + 1..];
    let ends = rest.is_empty() || rest.starts_with(char::is_whitespace) || rest.starts_with("**");
    ends.then_some(End {
        at: at + 1,
        delimiter,
        closed: false,
    })
}

/// `Step 1:`, `Step 1.`, `Step 1 - `, `**Step 1** `, and `Step 1` with nothing after it.
fn end_of_word(line: &str, at: usize, strong: bool) -> Option<End> {
    let closed = line[at..].starts_with("**");
    let at = at + if closed { 2 } else { 0 };
    let next = skip_blanks(line, at);
    let punctuation = line[next..]
        .chars()
        .next()
        .filter(|c| matches!(c, ':' | '.' | ')' | '-' | '–' | '—'));
    if let Some(punctuation) = punctuation {
        let after = next + punctuation.len_utf8();
        let dash = !matches!(punctuation, ':' | '.' | ')');
        let apart = line[after..].chars().next().is_none_or(char::is_whitespace);
        if apart || !dash && (line[after..].starts_with("**") || punctuation == ':') {
            return Some(End {
                at: after,
                delimiter: 0,
                closed,
            });
        }
    }
    let alone = next >= line.trim_end().len();
    (alone || (next > at && strong) || closed).then_some(End {
        at,
        delimiter: 0,
        closed,
    })
}

fn skip_blanks(line: &str, at: usize) -> usize {
    line.len() - line[at..].trim_start().len()
}

fn up_to_bold(line: &str, from: usize) -> Option<Range<usize>> {
    line[from..].find("**").map(|length| from..from + length)
}

fn trim_title(line: &str, range: Range<usize>) -> Option<Range<usize>> {
    let outer = |c: char| c.is_whitespace() || c == '*';
    let kept = line[range.clone()].trim_start_matches(outer);
    let start = range.end - kept.len();
    let kept = kept.trim_end_matches(|c| outer(c) || matches!(c, ':' | '.'));
    (!kept.is_empty()).then_some(start..start + kept.len())
}
