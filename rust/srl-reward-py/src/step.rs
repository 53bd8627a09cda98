//! `Step`, which holds the solution that it is cut from instead of copies of its parts: a text of
//! nothing but headings becomes millions of steps in well under a second.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

/// One step; `text` is as its author wrote it, heading included: `source[start:end]`.
///
/// Immutable; equal, hashed, pickled and matched by (number, title, text, start, end). A step that
/// was cut from a text keeps that text alive.
#[pyclass(frozen, module = "srl_reward")]
pub(crate) struct Step {
    #[pyo3(get)]
    number: u32,
    #[pyo3(get)]
    start: usize,
    #[pyo3(get)]
    end: usize,
    words: Words,
}

enum Words {
    /// `source[start:end]`, and the title's bounds in `source`.
    Cut {
        source: Py<PyString>,
        title: Option<(usize, usize)>,
    },
    /// What Python gave to the constructor.
    Given {
        text: Py<PyString>,
        title: Option<Py<PyString>>,
    },
}

type Fields<'py> = (
    u32,
    Option<Bound<'py, PyAny>>,
    Bound<'py, PyAny>,
    usize,
    usize,
);

impl Step {
    /// The step `source[span]`, all bounds in code points.
    pub(crate) fn cut(
        number: u32,
        source: &Bound<'_, PyString>,
        title: Option<(usize, usize)>,
        (start, end): (usize, usize),
    ) -> Self {
        let source = source.clone().unbind();
        Self {
            number,
            start,
            end,
            words: Words::Cut { source, title },
        }
    }

    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Fields<'py>> {
        let (title, text) = (self.title(py)?, self.text(py)?);
        Ok((self.number, title, text, self.start, self.end))
    }
}

#[pymethods]
impl Step {
    #[classattr]
    #[pyo3(name = "__match_args__")]
    const MATCH_ARGS: (
        &'static str,
        &'static str,
        &'static str,
        &'static str,
        &'static str,
    ) = ("number", "title", "text", "start", "end");

    #[new]
    fn new(
        number: u32,
        title: Option<Py<PyString>>,
        text: Py<PyString>,
        start: usize,
        end: usize,
    ) -> Self {
        Self {
            number,
            start,
            end,
            words: Words::Given { text, title },
        }
    }

    #[getter]
    fn title<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match &self.words {
            Words::Cut { source, title } => title
                .map(|bounds| slice(source.bind(py), bounds))
                .transpose(),
            Words::Given { title, .. } => {
                Ok(title.as_ref().map(|text| text.bind(py).clone().into_any()))
            }
        }
    }

    #[getter]
    fn text<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.words {
            Words::Cut { source, .. } => slice(source.bind(py), (self.start, self.end)),
            Words::Given { text, .. } => Ok(text.bind(py).clone().into_any()),
        }
    }

    fn __eq__(&self, py: Python<'_>, other: &Self) -> PyResult<bool> {
        let numbers = |step: &Self| (step.number, step.start, step.end);
        if numbers(self) != numbers(other) {
            return Ok(false);
        }
        let own = self.fields(py)?.into_pyobject(py)?;
        own.eq(other.fields(py)?)
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        self.fields(py)?.into_pyobject(py)?.hash()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (number, title, text, start, end) = self.fields(py)?;
        let title = match title {
            Some(title) => title.repr()?.to_string(),
            None => "None".to_owned(),
        };
        let text = text.repr()?;
        Ok(format!(
            "Step(number={number}, title={title}, text={text}, start={start}, end={end})"
        ))
    }

    fn __getnewargs__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.fields(py)?.into_pyobject(py)
    }
}

/// `text[start:end]`, in code points.
///
/// Not by a slice object: pyo3's `PySlice::new` never gives back the integers that it makes.
pub(crate) fn slice<'py>(
    text: &Bound<'py, PyString>,
    (start, end): (usize, usize),
) -> PyResult<Bound<'py, PyAny>> {
    let (start, end) = (isize::try_from(start)?, isize::try_from(end)?);
    // SAFETY: `text` is a string and the GIL is held; the result is a new reference, or null with
    // an exception set.
    unsafe {
        let part = ffi::PyUnicode_Substring(text.as_ptr(), start, end);
        Bound::from_owned_ptr_or_err(text.py(), part)
    }
}
