//! Splitting a solution into its numbered steps.
//!
//! A heading stands at column 0: `1. text`, `1. **Title** text`, `**Step 1:** text`, `Step 1:`,
//! `### 1. Title`, `### Step 1: Title` and their like. The first one's style says what a heading
//! is; numbering in any other style is text, and so is what stands in code fences and LaTeX.
//!
//! A second list in the headings' own style that starts again at 1 belongs to the step around it.
//! [`parse_solution`] takes that reading only where the main numbering resumes after it and could
//! not have resumed otherwise; [`split_steps`], which also reads a model's text, always does.
//!
//! Left out: steps without numbers, and judging whether numbered items are steps of a solution.

mod heading;
mod opaque;

use std::borrow::Borrow;
use std::ops::Range;

use heading::Heading;

/// A step: its number, its title if it has one, and the bytes of its own text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The number in its heading.
    pub number: u32,
    /// The title's bytes, without bold and final colon.
    pub title: Option<Range<usize>>,
    /// The step's bytes, heading included, outer white space excluded.
    pub span: Range<usize>,
}

/// What becomes of the text before the first heading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preamble {
    /// It is the beginning of the first step.
    Keep,
    /// It is left out.
    Drop,
}

/// Why a solution has no steps to learn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No line is a heading.
    NoHeadings,
    /// The first heading's number isn't 1.
    DoesNotStartAtOne,
    /// The numbering starts again at 1, and it can't be told from a list inside a step.
    Restarted,
    /// A number is left out or comes twice.
    NotConsecutive,
    /// A list in plainer style comes first, the steps after it.
    RivalNumbering,
    /// There is only one step.
    SingleStep,
    /// A heading has neither title nor text.
    EmptyStep,
}

impl Reason {
    /// The reason's name in records and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NoHeadings => "no_headings",
            Reason::DoesNotStartAtOne => "does_not_start_at_one",
            Reason::Restarted => "restarted",
            Reason::NotConsecutive => "not_consecutive",
            Reason::RivalNumbering => "rival_numbering",
            Reason::SingleStep => "single_step",
            Reason::EmptyStep => "empty_step",
        }
    }
}

/// A refused solution: why, and where it matters the number expected and the number found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NonConforming {
    /// Why it is refused.
    pub reason: Reason,
    /// The number the next heading should have had.
    pub expected: Option<u32>,
    /// The number it had.
    pub found: Option<u32>,
}

impl NonConforming {
    fn new(reason: Reason) -> Self {
        NonConforming {
            reason,
            expected: None,
            found: None,
        }
    }

    fn numbered(reason: Reason, expected: u32, found: u32) -> Self {
        NonConforming {
            reason,
            expected: Some(expected),
            found: Some(found),
        }
    }
}

/// A heading and the byte its line starts at.
struct Placed {
    start: usize,
    heading: Heading,
}

/// Splits any text into its steps; none if no line is a heading. Numbers may start anywhere and
/// leave gaps. Linear in the length of `text`.
#[must_use]
pub fn split_steps(text: &str, preamble: Preamble) -> Vec<Step> {
    cut(text, preamble, outer(text))
}

/// Whether [`split_steps`] would find more than one step; reads no further than the second.
#[must_use]
pub fn has_several_steps(text: &str) -> bool {
    outer(text).nth(1).is_some()
}

/// Splits a solution whose steps are numbered 1, 2, … and refuses any other with the reason.
///
/// # Errors
///
/// [`NonConforming`], with the first [`Reason`] met.
pub fn parse_solution(text: &str, preamble: Preamble) -> Result<Vec<Step>, NonConforming> {
    let all: Vec<Placed> = placed(text).collect();
    let Some(first) = all.first() else {
        return Err(NonConforming::new(Reason::NoHeadings));
    };
    if first.heading.number != 1 {
        let found = first.heading.number;
        return Err(NonConforming::numbered(Reason::DoesNotStartAtOne, 1, found));
    }
    let rival = has_rival(&all);
    let headings = of_first_style(all);
    let main = main_numbering(&headings)?;
    if rival {
        return Err(NonConforming::new(Reason::RivalNumbering));
    }
    if main.len() == 1 {
        return Err(NonConforming::new(Reason::SingleStep));
    }
    let steps = cut(text, preamble, main.iter().copied());
    match main
        .iter()
        .zip(&steps)
        .find(|(placed, step)| is_empty(text, placed, step))
    {
        Some((_, step)) => Err(NonConforming {
            found: Some(step.number),
            ..NonConforming::new(Reason::EmptyStep)
        }),
        None => Ok(steps),
    }
}

/// The number that `text` leads with, as a heading on its first line.
#[must_use]
pub fn leading_number(text: &str) -> Option<u32> {
    Some(heading::parse(first_line(text.trim_start()))?.number)
}

/// A text without its leading step number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stripped {
    /// Put `**` before it: the number stood at the start of a bold title.
    pub reopen_bold: bool,
    /// The byte the rest starts at.
    pub start: usize,
    /// The byte it ends at, outer white space excluded.
    pub end: usize,
}

/// Strips outer white space and the leading number: `3. `, `**Step 3:** `, `### 3. ` and the like.
#[must_use]
pub fn strip_number(text: &str) -> Stripped {
    let start = text.len() - text.trim_start().len();
    let end = start + text[start..].trim_end().len();
    let trimmed = &text[start..end];
    let Some(heading) = heading::parse(first_line(trimmed)) else {
        return Stripped {
            reopen_bold: false,
            start,
            end,
        };
    };
    let rest = trimmed[heading.body..].trim_start();
    Stripped {
        reopen_bold: heading.reopen_bold,
        start: end - rest.len(),
        end,
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}

/// Every heading of any style outside fences and LaTeX, found as it is asked for.
fn placed(text: &str) -> impl Iterator<Item = Placed> + '_ {
    let bytes = text.as_bytes();
    let mut spans = opaque::spans(text).into_iter().peekable();
    opaque::line_starts(bytes).filter_map(move |start| {
        while spans.next_if(|span| span.end <= start).is_some() {}
        if spans.peek().is_some_and(|span| span.start < start) {
            return None;
        }
        let line = &text[start..start + opaque::line_at(bytes, start).len()];
        heading::parse(line).map(|heading| Placed { start, heading })
    })
}

/// The headings of the first one's style, without the lists inside steps.
fn outer(text: &str) -> impl Iterator<Item = Placed> + '_ {
    let mut style = None;
    let (mut last, mut inner) = (0, false);
    placed(text).filter(move |placed| {
        let number = placed.heading.number;
        if *style.get_or_insert(placed.heading.style) != placed.heading.style {
            return false;
        }
        // What counts up by one goes on; what starts again at 1 is inside the step before it.
        if number != last + 1 {
            inner = number == 1;
        }
        last = number;
        !inner
    })
}

fn of_first_style(mut headings: Vec<Placed>) -> Vec<Placed> {
    if let Some(style) = headings.first().map(|first| first.heading.style) {
        headings.retain(|placed| placed.heading.style == style);
    }
    headings
}

/// Whether a style that stands out more than the first counts 1, 2 later on.
fn has_rival(headings: &[Placed]) -> bool {
    let strength = |placed: &Placed| placed.heading.style.strength();
    let stronger = headings
        .iter()
        .filter(|placed| strength(placed) > strength(&headings[0]));
    let mut pending = None;
    for placed in stronger {
        match placed.heading.number {
            1 => pending = Some(placed.heading.style),
            2 if pending == Some(placed.heading.style) => return true,
            _ => {}
        }
    }
    false
}

/// The longest runs of headings that count up by one.
fn runs(headings: &[Placed]) -> impl Iterator<Item = Range<usize>> + '_ {
    let number = |index: usize| headings[index].heading.number;
    let mut start = 0;
    std::iter::from_fn(move || {
        let first = start;
        if first == headings.len() {
            return None;
        }
        start += 1;
        while start < headings.len() && number(start) == number(start - 1) + 1 {
            start += 1;
        }
        Some(first..start)
    })
}

/// The headings numbered 1, 2, … without the lists inside steps.
fn main_numbering(headings: &[Placed]) -> Result<Vec<&Placed>, NonConforming> {
    let mut main: Vec<&Placed> = Vec::with_capacity(headings.len());
    let mut restarted = false;
    let mut expected = 1;
    for run in runs(headings) {
        let number = headings[run.start].heading.number;
        if number == expected {
            expected += u32::try_from(run.len()).unwrap_or(u32::MAX);
            main.extend(&headings[run]);
            restarted = false;
        } else if number == 1 {
            restarted = true;
        } else {
            let reason = if restarted {
                Reason::Restarted
            } else {
                Reason::NotConsecutive
            };
            return Err(NonConforming::numbered(reason, expected, number));
        }
    }
    if restarted {
        Err(NonConforming::numbered(Reason::Restarted, expected, 1))
    } else {
        Ok(main)
    }
}

/// Cuts `text` before each of the headings.
fn cut(
    text: &str,
    preamble: Preamble,
    headings: impl IntoIterator<Item = impl Borrow<Placed>>,
) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for placed in headings {
        let Placed { start, heading } = placed.borrow();
        end_last(text, &mut steps, *start);
        let shift = |range: &Range<usize>| start + range.start..start + range.end;
        steps.push(Step {
            number: heading.number,
            title: heading.title.as_ref().map(shift),
            span: *start..*start,
        });
    }
    end_last(text, &mut steps, text.len());
    if let (Preamble::Keep, Some(first)) = (preamble, steps.first_mut()) {
        first.span.start = text.len() - text.trim_start().len();
    }
    steps
}

/// Ends the last step before `end`.
fn end_last(text: &str, steps: &mut [Step], end: usize) {
    if let Some(Step { span, .. }) = steps.last_mut() {
        span.end = span.start + text[span.start..end].trim_end().len();
    }
}

fn is_empty(text: &str, placed: &Placed, step: &Step) -> bool {
    let body = (placed.start + placed.heading.body).min(step.span.end);
    let rest = &text[body..step.span.end];
    rest.chars()
        .all(|c| c.is_whitespace() || matches!(c, '*' | ':' | '.'))
}
