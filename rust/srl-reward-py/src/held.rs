//! How sequences come out of Python's hands: strings and lists of integers, without a needless copy.
//!
//! Strings are read where they lie when they are ASCII and copied once as code points when they
//! are not. Left out: sequences whose elements only Python can compare.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyList, PyString, PyTuple};
use pyo3::{ffi, intern};
use srl_core::seqmatch::Seq;

/// The two sequences of a comparison.
pub(crate) type Pair = (Held, Held);

/// One sequence out of Python's hands: what it borrows is kept alive by the caller's reference.
pub(crate) enum Held {
    Ascii(&'static [u8]),
    Chars(Vec<u32>),
    Ints(Vec<i64>),
}

impl Held {
    pub(crate) fn seq(&self) -> Seq<'_> {
        match self {
            Self::Ascii(bytes) => Seq::Ascii(bytes),
            Self::Chars(chars) => Seq::Chars(chars),
            Self::Ints(ints) => Seq::Ints(ints),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.seq().len()
    }

    /// Reads a string, or a list or tuple of `int`; None for anything else, whose elements only
    /// Python can compare. Subclasses may iterate or compare otherwise, so they are not read.
    ///
    /// # Safety
    /// The caller keeps `value` alive for as long as it uses the result.
    pub(crate) unsafe fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        if let Ok(text) = value.cast_exact::<PyString>() {
            // SAFETY: the caller keeps `value`, which is `text`, alive.
            return unsafe { Self::read_text(text) }.map(Some);
        }
        Ok(read_ints(value).map(Self::Ints))
    }

    /// # Safety
    /// As for [`Self::read`].
    pub(crate) unsafe fn read_pair(
        a: &Bound<'_, PyAny>,
        b: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Pair>> {
        // SAFETY: the caller keeps both alive.
        let (Some(a), Some(b)) = (unsafe { (Self::read(a)?, Self::read(b)?) }) else {
            return Ok(None);
        };
        Ok(Some((a, b)))
    }

    /// # Safety
    /// The caller keeps `text` alive for as long as it uses the result.
    unsafe fn read_text(text: &Bound<'_, PyString>) -> PyResult<Self> {
        let py = text.py();
        if is_ascii(text)? {
            let mut len: ffi::Py_ssize_t = 0;
            // SAFETY: `text` is a live str; for ASCII the pointer is to the string's own bytes,
            // which never move and live as long as the string.
            let start = unsafe { ffi::PyUnicode_AsUTF8AndSize(text.as_ptr(), &raw mut len) };
            if start.is_null() {
                return Err(PyErr::fetch(py));
            }
            // SAFETY: CPython says that `len` bytes lie there; strings are immutable.
            let bytes = unsafe { std::slice::from_raw_parts(start.cast(), usize::try_from(len)?) };
            return Ok(Self::Ascii(bytes));
        }
        let len = text.len()?;
        let mut chars = Vec::with_capacity(len);
        // SAFETY: the buffer holds `len` code points, which is what is asked for, no null after.
        let copied =
            unsafe { ffi::PyUnicode_AsUCS4(text.as_ptr(), chars.as_mut_ptr(), len.try_into()?, 0) };
        if copied.is_null() {
            return Err(PyErr::fetch(py));
        }
        // SAFETY: CPython has just written all `len` of them.
        unsafe { chars.set_len(len) };
        Ok(Self::Chars(chars))
    }
}

/// What `text.isascii()` says, without a bound method made for the question.
fn is_ascii(text: &Bound<'_, PyString>) -> PyResult<bool> {
    static METHOD: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = text.py();
    let method = METHOD.get_or_try_init(py, || {
        let method = py.get_type::<PyString>().getattr(intern!(py, "isascii"))?;
        Ok::<_, PyErr>(method.unbind())
    })?;
    // SAFETY: both are live objects, and the list of arguments ends with a null.
    let answer = unsafe {
        let none = std::ptr::null_mut::<ffi::PyObject>();
        let answer = ffi::PyObject_CallFunctionObjArgs(method.as_ptr(), text.as_ptr(), none);
        Bound::from_owned_ptr_or_err(py, answer)?
    };
    Ok(answer.is(&*PyBool::new(py, true)))
}

/// The integers of an exact list or tuple that holds nothing else and none beyond 64 bits.
pub(crate) fn read_ints(value: &Bound<'_, PyAny>) -> Option<Vec<i64>> {
    type Get = unsafe extern "C" fn(*mut ffi::PyObject, ffi::Py_ssize_t) -> *mut ffi::PyObject;
    let (len, get): (usize, Get) = if let Ok(list) = value.cast_exact::<PyList>() {
        (list.len(), ffi::PyList_GetItem)
    } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        (tuple.len(), ffi::PyTuple_GetItem)
    } else {
        return None;
    };
    let mut ints = Vec::with_capacity(len);
    for at in 0..len {
        // SAFETY: `at` is within the list or tuple, which nothing changes while we hold the GIL:
        // no code of Python's runs here. What is returned is borrowed from it.
        let item = unsafe { get(value.as_ptr(), ffi::Py_ssize_t::try_from(at).ok()?) };
        // SAFETY: `item` is a live object.
        ints.push(unsafe { read_int(item) }?);
    }
    Some(ints)
}

/// The value of an exact `int` or `bool`; a subclass may compare otherwise.
///
/// # Safety
/// `item` is a live object.
unsafe fn read_int(item: *mut ffi::PyObject) -> Option<i64> {
    // SAFETY: the caller vouches for `item`; an int that does not fit sets `overflow`, no error.
    unsafe {
        if ffi::PyLong_CheckExact(item) == 0 && ffi::PyBool_Check(item) == 0 {
            return None;
        }
        let mut overflow = 0;
        let value = ffi::PyLong_AsLongLongAndOverflow(item, &raw mut overflow);
        (overflow == 0).then_some(value)
    }
}
