//! Reading a model's output: one `<think>…</think>`, then an action that holds one step.
//!
//! Linear in the output's length. Left out: judging what the action says.

use std::ops::Range;

use crate::steps;

/// The tag that opens the thinking.
pub const OPEN: &str = "<think>";
/// The tag that closes it.
pub const CLOSE: &str = "</think>";

/// A valid output; byte ranges, outer white space excluded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedOutput {
    /// The text between the tags; may be empty.
    pub thinking: Range<usize>,
    /// The text after the closing tag.
    pub action: Range<usize>,
    /// The step number the action leads with.
    pub number: Option<u32>,
}

/// Why an output is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InvalidReason {
    /// It was cut off by length.
    Truncated,
    /// There is no opening tag, here or in the prompt.
    MissingThink,
    /// Text stands before the opening tag.
    TextBeforeThink,
    /// The thinking is never closed.
    UnclosedThink,
    /// A second opening tag stands inside the thinking.
    NestedThink,
    /// A second opening tag stands after the thinking.
    RepeatedThink,
    /// A closing tag stands before the opening one, or a second one after it.
    MisplacedThink,
    /// Nothing follows the thinking but white space or a bare step number.
    EmptyAction,
    /// The action holds several steps.
    SeveralSteps,
}

impl InvalidReason {
    /// The reason's name in records and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            InvalidReason::Truncated => "truncated",
            InvalidReason::MissingThink => "missing_think",
            InvalidReason::TextBeforeThink => "text_before_think",
            InvalidReason::UnclosedThink => "unclosed_think",
            InvalidReason::NestedThink => "nested_think",
            InvalidReason::RepeatedThink => "repeated_think",
            InvalidReason::MisplacedThink => "misplaced_think",
            InvalidReason::EmptyAction => "empty_action",
            InvalidReason::SeveralSteps => "several_steps",
        }
    }
}

/// Parses `text` as an output; `prefilled` says that the prompt ended with the opening tag,
/// `truncated` that generation stopped at its length limit.
///
/// # Errors
///
/// [`InvalidReason`], the first that holds, read from left to right.
pub fn parse_step_output(
    text: &str,
    prefilled: bool,
    truncated: bool,
) -> Result<ParsedOutput, InvalidReason> {
    if truncated {
        return Err(InvalidReason::Truncated);
    }
    let (thinking, after) = parse_think(text, prefilled)?;
    let action = trimmed(text, after..text.len());
    let stripped = steps::strip_number(&text[action.clone()]);
    if stripped.start == stripped.end {
        return Err(InvalidReason::EmptyAction);
    }
    let body = &text[action.clone()];
    if steps::has_several_steps(body) {
        return Err(InvalidReason::SeveralSteps);
    }
    Ok(ParsedOutput {
        thinking,
        number: steps::leading_number(body),
        action,
    })
}

/// The thinking's range, and the byte after its closing tag.
///
/// # Errors
///
/// [`InvalidReason`], one of those about tags.
pub fn parse_think(text: &str, prefilled: bool) -> Result<(Range<usize>, usize), InvalidReason> {
    let opened = if prefilled { 0 } else { opening(text)? };
    let close = match next_tag(text, opened) {
        None => return Err(InvalidReason::UnclosedThink),
        Some((_, Tag::Open)) => return Err(InvalidReason::NestedThink),
        Some((at, Tag::Close)) => at,
    };
    let after = close + CLOSE.len();
    match next_tag(text, after) {
        Some((_, Tag::Open)) => Err(InvalidReason::RepeatedThink),
        Some((_, Tag::Close)) => Err(InvalidReason::MisplacedThink),
        None => Ok((trimmed(text, opened..close), after)),
    }
}

/// Whether a rendered prompt ends with an open `<think>`, white space aside.
#[must_use]
pub fn is_think_prefilled(prompt: &str) -> bool {
    prompt.trim_end().ends_with(OPEN)
}

enum Tag {
    Open,
    Close,
}

/// The byte after the opening tag.
fn opening(text: &str) -> Result<usize, InvalidReason> {
    match next_tag(text, 0) {
        Some((_, Tag::Close)) if text.contains(OPEN) => Err(InvalidReason::MisplacedThink),
        None | Some((_, Tag::Close)) => Err(InvalidReason::MissingThink),
        Some((at, Tag::Open)) if !text[..at].trim().is_empty() => {
            Err(InvalidReason::TextBeforeThink)
        }
        Some((at, Tag::Open)) => Ok(at + OPEN.len()),
    }
}

/// The first tag from byte `from` on.
fn next_tag(text: &str, from: usize) -> Option<(usize, Tag)> {
    text[from..].match_indices('<').find_map(|(at, _)| {
        let rest = &text[from + at..];
        if rest.starts_with(OPEN) {
            Some((from + at, Tag::Open))
        } else {
            rest.starts_with(CLOSE).then_some((from + at, Tag::Close))
        }
    })
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let rest = text[range.clone()].trim_start();
    let start = range.end - rest.len();
    start..start + rest.trim_end().len()
}
