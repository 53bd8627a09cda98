//! Glue over `srl_core::{steps, output, answer}`: strings in, slices of the same strings out.
//!
//! Offsets are code points on Python's side. A string with lone surrogates is read with U+FFFD in
//! their place, and slices are taken from the original, so nothing is ever refused or changed.

use std::borrow::Cow;
use std::ops::Range;

use pyo3::exceptions::PyUnicodeEncodeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use srl_core::answer;
use srl_core::output;
use srl_core::steps::{self, NonConforming, Preamble};

use crate::step::{Step, slice};

/// Texts shorter than this are read without releasing the GIL.
const RELEASE_BYTES: usize = 1 << 14;

/// (reason, expected, found).
type RefusalTuple = (&'static str, Option<u32>, Option<u32>);
/// (thinking, what follows) and no reason, or none and the reason.
type ThinkTuple<'py> = (
    Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>,
    Option<&'static str>,
);
/// (thinking, action, number).
type OutputTuple<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>, Option<u32>);

/// A Python string and its UTF-8, surrogates replaced.
struct Text<'a, 'py> {
    object: &'a Bound<'py, PyString>,
    utf8: Cow<'a, str>,
}

impl<'a, 'py> Text<'a, 'py> {
    fn new(object: &'a Bound<'py, PyString>) -> PyResult<Self> {
        let utf8 = match object.to_str() {
            Ok(text) => Cow::Borrowed(text),
            Err(error) if error.is_instance_of::<PyUnicodeEncodeError>(object.py()) => {
                Cow::Owned(without_surrogates(object)?)
            }
            Err(error) => return Err(error),
        };
        Ok(Text { object, utf8 })
    }

    /// Runs `read` on the text, without the GIL where that pays.
    fn read<T: Send>(&self, read: impl Send + FnOnce(&str) -> T) -> T {
        let text: &str = &self.utf8;
        if text.len() < RELEASE_BYTES {
            read(text)
        } else {
            self.object.py().detach(|| read(text))
        }
    }

    fn slice_bytes(&self, range: &Range<usize>) -> PyResult<Bound<'py, PyAny>> {
        let mut points = CodePoints::new(&self.utf8);
        let start = points.before(range.start);
        slice(self.object, (start, points.before(range.end)))
    }

    fn steps(&self, steps: &[steps::Step]) -> PyResult<Vec<Py<Step>>> {
        let mut points = CodePoints::new(&self.utf8);
        let cut = |step: &steps::Step| {
            let start = points.before(step.span.start);
            let title = step
                .title
                .as_ref()
                .map(|title| (points.before(title.start), points.before(title.end)));
            let span = (start, points.before(step.span.end));
            Py::new(
                self.object.py(),
                Step::cut(step.number, self.object, title, span),
            )
        };
        steps.iter().map(cut).collect()
    }
}

/// Turns ascending bytes of a text into code points.
struct CodePoints<'t> {
    text: &'t str,
    is_ascii: bool,
    at: usize,
    count: usize,
}

impl<'t> CodePoints<'t> {
    fn new(text: &'t str) -> Self {
        CodePoints {
            text,
            is_ascii: text.is_ascii(),
            at: 0,
            count: 0,
        }
    }

    /// The code points before `byte`, which is no less than the one asked for before.
    fn before(&mut self, byte: usize) -> usize {
        if self.is_ascii {
            return byte;
        }
        self.count += self.text[self.at..byte].chars().count();
        self.at = byte;
        self.count
    }
}

/// UTF-8 of a string with lone surrogates, each replaced by U+FFFD; both take three bytes.
fn without_surrogates(object: &Bound<'_, PyString>) -> PyResult<String> {
    let encoded = object.call_method1("encode", ("utf-8", "surrogatepass"))?;
    let mut bytes = encoded.cast_into::<PyBytes>()?.as_bytes().to_vec();
    for at in 1..bytes.len() {
        if bytes[at - 1] == 0xED && bytes[at] >= 0xA0 {
            bytes[at - 1..=at + 1].copy_from_slice("\u{FFFD}".as_bytes());
        }
    }
    Ok(String::from_utf8(bytes)?)
}

fn preamble(keep: bool) -> Preamble {
    if keep { Preamble::Keep } else { Preamble::Drop }
}

#[pyfunction]
fn split_steps(text: &Bound<'_, PyString>, keep_preamble: bool) -> PyResult<Vec<Py<Step>>> {
    let text = Text::new(text)?;
    let steps = text.read(|text| steps::split_steps(text, preamble(keep_preamble)));
    text.steps(&steps)
}

#[pyfunction]
fn parse_solution(
    text: &Bound<'_, PyString>,
    keep_preamble: bool,
) -> PyResult<(Vec<Py<Step>>, Option<RefusalTuple>)> {
    let text = Text::new(text)?;
    match text.read(|text| steps::parse_solution(text, preamble(keep_preamble))) {
        Ok(steps) => Ok((text.steps(&steps)?, None)),
        Err(NonConforming {
            reason,
            expected,
            found,
        }) => Ok((Vec::new(), Some((reason.as_str(), expected, found)))),
    }
}

#[pyfunction]
fn leading_number(text: &Bound<'_, PyString>) -> PyResult<Option<u32>> {
    Ok(steps::leading_number(&Text::new(text)?.utf8))
}

#[pyfunction]
fn strip_step_number<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
    let text = Text::new(text)?;
    let stripped = steps::strip_number(&text.utf8);
    let rest = text.slice_bytes(&(stripped.start..stripped.end))?;
    if stripped.reopen_bold {
        return PyString::new(text.object.py(), "**").as_any().add(rest);
    }
    Ok(rest)
}

#[pyfunction]
fn parse_step_output<'py>(
    text: &Bound<'py, PyString>,
    think_prefilled: bool,
    truncated: bool,
) -> PyResult<(Option<OutputTuple<'py>>, Option<&'static str>)> {
    let text = Text::new(text)?;
    match text.read(|text| output::parse_step_output(text, think_prefilled, truncated)) {
        Ok(output) => {
            let thinking = text.slice_bytes(&output.thinking)?;
            let action = text.slice_bytes(&output.action)?;
            Ok((Some((thinking, action, output.number)), None))
        }
        Err(reason) => Ok((None, Some(reason.as_str()))),
    }
}

#[pyfunction]
fn parse_think<'py>(
    text: &Bound<'py, PyString>,
    think_prefilled: bool,
) -> PyResult<ThinkTuple<'py>> {
    let text = Text::new(text)?;
    match text.read(|text| output::parse_think(text, think_prefilled)) {
        Ok((thinking, after)) => {
            let rest = text.slice_bytes(&(after..text.utf8.len()))?;
            Ok((Some((text.slice_bytes(&thinking)?, rest)), None))
        }
        Err(reason) => Ok((None, Some(reason.as_str()))),
    }
}

#[pyfunction]
fn is_think_prefilled(prompt: &Bound<'_, PyString>) -> PyResult<bool> {
    Ok(output::is_think_prefilled(&Text::new(prompt)?.utf8))
}

#[pyfunction]
fn extract_boxed<'py>(text: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let text = Text::new(text)?;
    let content = text.read(answer::extract_boxed);
    content.map(|range| text.slice_bytes(&range)).transpose()
}

#[pyfunction]
fn extract_aime_answer(text: &Bound<'_, PyString>) -> PyResult<Option<u16>> {
    Ok(Text::new(text)?.read(answer::extract_aime_answer))
}

#[pyfunction]
fn extract_gsm8k_answer(text: &Bound<'_, PyString>) -> PyResult<Option<String>> {
    Ok(Text::new(text)?.read(answer::extract_gsm8k_answer))
}

/// Adds this module's functions to `_native`.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Step>()?;
    module.add_function(wrap_pyfunction!(split_steps, module)?)?;
    module.add_function(wrap_pyfunction!(parse_solution, module)?)?;
    module.add_function(wrap_pyfunction!(leading_number, module)?)?;
    module.add_function(wrap_pyfunction!(strip_step_number, module)?)?;
    module.add_function(wrap_pyfunction!(parse_step_output, module)?)?;
    module.add_function(wrap_pyfunction!(parse_think, module)?)?;
    module.add_function(wrap_pyfunction!(is_think_prefilled, module)?)?;
    module.add_function(wrap_pyfunction!(extract_boxed, module)?)?;
    module.add_function(wrap_pyfunction!(extract_aime_answer, module)?)?;
    module.add_function(wrap_pyfunction!(extract_gsm8k_answer, module)?)
}
