//! Final answers: the last box, AIME integers, GSM8K's `####` line.
//!
//! Linear time. Left out: whether two expressions are equal, which takes a computer algebra system.

use std::ops::Range;

/// The content of the last complete `\boxed{…}` or `\fbox{…}`: the one that starts last among
/// those that close and are not empty (`within \boxed{}` asks for an answer and gives none); where
/// all are empty, the last of them. Braces nest, `\{` and `\}` are no braces, white space may stand before the
/// brace. A box without braces (`\boxed 5`) is none, since TeX would box one digit.
#[must_use]
pub fn extract_boxed(text: &str) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut open: Vec<(usize, bool)> = Vec::new();
    let mut last: Option<Range<usize>> = None;
    let mut last_empty: Option<Range<usize>> = None;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => {
                if let Some(content) = box_start(bytes, at) {
                    open.push((content, true));
                    at = content;
                } else {
                    at += escape_length(bytes, at);
                }
                continue;
            }
            b'{' => open.push((at + 1, false)),
            b'}' => {
                if let Some((start, true)) = open.pop() {
                    let kind = if is_blank(&text[start..at]) {
                        &mut last_empty
                    } else {
                        &mut last
                    };
                    if kind.as_ref().is_none_or(|box_| box_.start < start) {
                        *kind = Some(start..at);
                    }
                }
            }
            _ => {}
        }
        at += 1;
    }
    last.or(last_empty)
}

const BLANKS: [&str; 19] = [
    "{", "}", "$", "~", ".", "…", "_", "\\_", "\\,", "\\;", "\\:", "\\!", "\\ ", "\\quad",
    "\\qquad", "\\text{", "\\ldots", "\\dots", "\\cdots",
];

/// Whether a box holds spacing, dots or lines to be filled in, and no answer.
fn is_blank(content: &str) -> bool {
    let mut rest = content.trim_start();
    while !rest.is_empty() {
        // The longest first: `\qquad` is no `\q`.
        let Some(blank) = BLANKS.iter().rev().find(|blank| rest.starts_with(**blank)) else {
            return false;
        };
        rest = rest[blank.len()..].trim_start();
    }
    true
}

/// The byte after the brace of a box that starts at `at`.
fn box_start(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at + 1..];
    let name = [&b"boxed"[..], b"fbox"]
        .into_iter()
        .find(|name| rest.starts_with(name))?;
    let blanks = rest[name.len()..]
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace())
        .count();
    let brace = at + 1 + name.len() + blanks;
    (bytes.get(brace) == Some(&b'{')).then_some(brace + 1)
}

/// How far to go from a backslash: past a brace it escapes, else to the next byte.
fn escape_length(bytes: &[u8], at: usize) -> usize {
    let next_starts_box = bytes.get(at + 1) == Some(&b'\\') && box_start(bytes, at + 1).is_some();
    match bytes.get(at + 1) {
        Some(b'{' | b'}') => 2,
        Some(b'\\') if !next_starts_box => 2,
        _ => 1,
    }
}

/// The AIME answer in the last complete box: an integer from 0 to 999, or nothing.
///
/// Leading zeros, `33.`, `33.0`, a degree sign, spacing, grouping and text commands, and what
/// stands left of a last `=` are allowed; signs, commas, fractions, powers and units are not.
#[must_use]
pub fn extract_aime_answer(text: &str) -> Option<u16> {
    aime_integer(&text[extract_boxed(text)?])
}

fn aime_integer(content: &str) -> Option<u16> {
    if content.matches(',').count() > content.matches("\\,").count() {
        return None;
    }
    let outer = unwrap(right_side(unwrap_balanced(content))?);
    let inner = unwrap(right_side(outer)?);
    integer(inner)
}

/// Whether a text bounds or denies: `n <`, `x \not`, `m \ne n`.
fn bounds(content: &str) -> bool {
    let signs = ["<", ">", "!", "≤", "≥", "≠"];
    let commands = [
        "\\ne",
        "\\neq",
        "\\not",
        "\\le",
        "\\leq",
        "\\ge",
        "\\geq",
        "\\lt",
        "\\gt",
        "\\leqslant",
        "\\geqslant",
    ];
    let is_command = |name: &str| {
        content.match_indices(name).any(|(at, _)| {
            let next = content[at + name.len()..].chars().next();
            !next.is_some_and(|next| next.is_ascii_alphabetic())
        })
    };
    content.ends_with('\\')
        || signs.iter().any(|sign| content.contains(sign))
        || commands.iter().any(|name| is_command(name))
}

/// What stands right of the last `=` outside braces; none where a bound or a denial stands left.
fn right_side(content: &str) -> Option<&str> {
    let bytes = content.as_bytes();
    let mut depth = 0_usize;
    for at in (0..bytes.len()).rev() {
        match bytes[at] {
            b'}' => depth += 1,
            b'{' => depth = depth.saturating_sub(1),
            b'=' if depth == 0 => return (!bounds(&content[..at])).then(|| &content[at + 1..]),
            _ => {}
        }
    }
    Some(content)
}

/// Outer dollars and parentheses of maths mode, which may stand around an equation.
fn unwrap_balanced(content: &str) -> &str {
    let content = content.trim();
    let pairs = [("$", "$"), ("\\(", "\\)")];
    pairs
        .into_iter()
        .find_map(|(open, close)| content.strip_prefix(open)?.strip_suffix(close))
        .unwrap_or(content)
}

const GROUPS: [&str; 9] = [
    "{",
    "\\text{",
    "\\textbf{",
    "\\textrm{",
    "\\mathbf{",
    "\\mathrm{",
    "\\boldsymbol{",
    "\\bm{",
    "\\mbox{",
];
const SPACES: [&str; 10] = [
    "\\,",
    "\\;",
    "\\:",
    "\\!",
    "\\ ",
    "\\quad",
    "\\qquad",
    "\\displaystyle",
    "~",
    "$",
];
const DEGREES: [&str; 4] = ["^\\circ", "^{\\circ}", "°", "\\degree"];

/// Takes spacing, degree signs and groups off both ends.
fn unwrap(content: &str) -> &str {
    let mut rest = content;
    loop {
        let trimmed = trim_spaces(rest);
        let next = DEGREES
            .iter()
            .find_map(|sign| trimmed.strip_suffix(sign))
            .or_else(|| {
                let inner = trimmed.strip_suffix('}')?;
                GROUPS.iter().find_map(|group| inner.strip_prefix(group))
            });
        match next {
            Some(inner) => rest = inner,
            None => return trimmed,
        }
    }
}

fn trim_spaces(mut rest: &str) -> &str {
    loop {
        let trimmed = rest.trim();
        let either_end = |space: &str| {
            trimmed
                .strip_prefix(space)
                .or_else(|| trimmed.strip_suffix(space))
        };
        // A final backslash is what trimming leaves of a control space.
        let next = SPACES
            .iter()
            .find_map(|space| either_end(space))
            .or(trimmed.strip_suffix('\\'));
        match next {
            Some(inner) => rest = inner,
            None => return trimmed,
        }
    }
}

/// ASCII digits, then optionally a point and zeros; at most 999.
fn integer(text: &str) -> Option<u16> {
    let (digits, decimals) = text.split_once('.').unwrap_or((text, ""));
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || decimals.bytes().any(|byte| byte != b'0') {
        return None;
    }
    let significant = digits.trim_start_matches('0');
    match significant.len() {
        0 => Some(0),
        1..=3 => significant.parse().ok(),
        _ => None,
    }
}

/// The number after the last `####`, as GSM8K writes it: without `$`, thousands commas, a final
/// point and decimal zeros. A unit may follow, with no further number or operator in it and no
/// `million`, and bold marks may stand around. None where no number stands there.
#[must_use]
pub fn extract_gsm8k_answer(text: &str) -> Option<String> {
    let after = &text[text.rfind("####")? + 4..];
    let line = after.trim_start_matches([' ', '\t']).lines().next()?;
    let (negative, rest) = sign_and_currency(line.trim().trim_matches('*').trim());
    let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ',' || c == '.');
    let (number, unit) = rest.split_at(rest.len() - number.len());
    if !is_unit(unit) {
        return None;
    }
    // A stop or comma at the end is the sentence's.
    let number = number.strip_suffix(['.', ',']).unwrap_or(number);
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let whole = thousands(whole)?;
    if !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        significant => significant,
    };
    let decimals = decimals.trim_end_matches('0');
    let is_zero = whole == "0" && decimals.is_empty();
    let sign = if negative && !is_zero { "-" } else { "" };
    let point = if decimals.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{decimals}"))
}

/// Takes a minus sign and a dollar sign off the front, in either order.
fn sign_and_currency(line: &str) -> (bool, &str) {
    let dollar = |text| str::strip_prefix(text, '$').unwrap_or(text).trim_start();
    let rest = dollar(line);
    rest.strip_prefix('-')
        .map_or((false, rest), |rest| (true, dollar(rest.trim_start())))
}

const MULTIPLIERS: [&str; 6] = [
    "hundred", "thousand", "million", "billion", "trillion", "dozen",
];

/// What may follow a number: words and signs such as `%`, but nothing that makes another number.
/// GSM8K's own evaluation takes `18` out of `#### 18 dollars` too.
fn is_unit(text: &str) -> bool {
    let lower = text.to_lowercase();
    !MULTIPLIERS.iter().any(|word| lower.contains(word))
        && !text.contains(|c: char| c.is_numeric() || "+-*/=^<>:_#".contains(c))
}

/// Digits, with commas before each group of three or none at all.
fn thousands(whole: &str) -> Option<String> {
    let mut groups = whole.split(',');
    let first = groups.next()?;
    let digits = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
    let grouped = !whole.contains(',') || (1..=3).contains(&first.len());
    let valid = grouped && !first.is_empty() && digits(first);
    let rest_valid = groups.all(|group| group.len() == 3 && digits(group));
    (valid && rest_valid).then(|| whole.replace(',', ""))
}
