//! Glue for `srl_core::seqmatch`: calls, threads, and Ctrl-C.
//!
//! The GIL is released while a match is computed, every input held. Work that may take long runs
//! on scoped threads while the calling one waits and looks for signals.

#![allow(
    clippy::needless_pass_by_value,
    clippy::redundant_closure_for_method_calls,
    reason = "what PyO3 extracts from lists is owned; check_signals is tied to one lifetime"
)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyKeyboardInterrupt, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use srl_core::seqmatch::classic::{Index, Rect};
use srl_core::seqmatch::{Block, Halt, Matcher, Stop};

use crate::held::{Held, Pair, read_ints};

/// Adds this module's functions to `_native`.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(all_ints, module)?)?;
    module.add_function(wrap_pyfunction!(ratio, module)?)?;
    module.add_function(wrap_pyfunction!(known_ratio, module)?)?;
    module.add_function(wrap_pyfunction!(ratio_batch, module)?)?;
    module.add_function(wrap_pyfunction!(blocks, module)?)?;
    module.add_class::<JunkIndex>()
}

/// Elements of work, above which a computation is given threads of its own and Ctrl-C ends it;
/// an element takes 3 to 10 nanoseconds on common text.
const LONG: usize = 1 << 18;

/// Work below which a batch stays on one thread: about half a millisecond.
const SHORT: usize = 1 << 16;

const THREADS_VARIABLE: &str = "SRL_REWARD_THREADS";

/// How often signals are looked for.
const LOOK: Duration = Duration::from_millis(50);

fn elements(pair: &Pair) -> usize {
    pair.0.len() + pair.1.len()
}

/// Elements of work below which handing the GIL over takes longer than the work.
const TINY: usize = 1 << 7;

/// Computes one pair with the GIL released, unless it is tiny; a long one can be interrupted.
fn compute<R: Send>(
    py: Python<'_>,
    pair: &Pair,
    work: impl Fn(&mut Matcher, &Pair, Stop<'_>) -> Result<R, Halt> + Send + Sync,
) -> PyResult<R> {
    let size = elements(pair);
    let plainly = || with_matcher(size, |matcher| work(matcher, pair, Stop::default()));
    if size < TINY {
        return plainly().map_err(halted);
    }
    if size < LONG {
        return py.detach(plainly).map_err(halted);
    }
    let mut results = parallel(py, (1, size), 1, &|matcher, _, stop| {
        work(matcher, pair, stop)
    })?;
    results.pop().ok_or_else(|| halted(Halt))
}

fn halted(_: Halt) -> PyErr {
    PyKeyboardInterrupt::new_err(())
}

/// Matchers at rest, with their buffers. Only ever tried: a child forked while another thread
/// held the lock makes its own.
#[allow(
    clippy::vec_box,
    reason = "a matcher is large, and moves in and out at every call"
)]
static AT_REST: Mutex<Vec<Box<Matcher>>> = Mutex::new(Vec::new());

/// Elements of a pair above which a matcher's buffers are given back.
const HUGE: usize = 1 << 21;

/// Lends a matcher to `work`, which says how long its longest pair is.
fn with_matcher<R>(longest: usize, work: impl FnOnce(&mut Matcher) -> R) -> R {
    let rested = AT_REST
        .try_lock()
        .ok()
        .and_then(|mut matchers| matchers.pop());
    let mut matcher = rested.unwrap_or_default();
    let result = work(&mut matcher);
    if let (true, Ok(mut matchers)) = (longest < HUGE, AT_REST.try_lock()) {
        matchers.push(matcher);
    }
    result
}

/// `count` jobs on `threads` scoped threads, in order, while this thread watches for signals.
fn parallel<R: Send>(
    py: Python<'_>,
    (count, longest): (usize, usize),
    threads: usize,
    job: &(impl Fn(&mut Matcher, usize, Stop<'_>) -> Result<R, Halt> + Sync),
) -> PyResult<Vec<R>> {
    let stop = AtomicBool::new(false);
    let next = AtomicUsize::new(0);
    let chunk = (count / (threads * 8)).clamp(1, 64);
    let work = |sender: &Sender<(usize, Vec<R>)>| {
        with_matcher(longest, |matcher| {
            loop {
                let from = next.fetch_add(chunk, Ordering::Relaxed);
                let here = from..(from + chunk).min(count);
                let done = here.map(|at| job(matcher, at, Stop::when(&stop))).collect();
                let Ok(done) = done else { return };
                if from >= count || sender.send((from, done)).is_err() {
                    return;
                }
            }
        });
    };
    let chunks = py.detach(|| {
        std::thread::scope(|scope| {
            let (sender, receiver) = channel();
            for _ in 0..threads {
                let (sender, work) = (sender.clone(), &work);
                scope.spawn(move || work(&sender));
            }
            drop(sender);
            collect(&receiver, &stop)
        })
    })?;
    Ok(in_order(chunks))
}

/// Receives until the workers are done; a signal's exception stops them.
fn collect<T>(receiver: &Receiver<T>, stop: &AtomicBool) -> PyResult<Vec<T>> {
    let mut chunks = Vec::new();
    let mut looked = Instant::now();
    loop {
        match receiver.recv_timeout(LOOK.saturating_sub(looked.elapsed())) {
            Ok(done) => chunks.push(done),
            Err(RecvTimeoutError::Disconnected) => return Ok(chunks),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if looked.elapsed() >= LOOK {
            let raised = Python::attach(|py| py.check_signals());
            stop.store(raised.is_err(), Ordering::Relaxed);
            raised?;
            looked = Instant::now();
        }
    }
}

fn in_order<R>(mut chunks: Vec<(usize, Vec<R>)>) -> Vec<R> {
    chunks.sort_unstable_by_key(|(from, _)| *from);
    chunks.into_iter().flat_map(|(_, done)| done).collect()
}

#[pyfunction]
fn all_ints(sequence: &Bound<'_, PyAny>) -> bool {
    read_ints(sequence).is_some()
}

/// Similarity in [0, 1]: `difflib.SequenceMatcher(None, a, b, autojunk).ratio()`, exactly.
///
/// The order of the arguments matters, as it does for difflib. Raises `TypeError` for an element
/// that is not hashable.
#[pyfunction]
#[pyo3(signature = (a, b, *, autojunk = true))]
fn ratio(a: &Bound<'_, PyAny>, b: &Bound<'_, PyAny>, autojunk: bool) -> PyResult<f64> {
    match known_ratio(a, b, autojunk)? {
        Some(ratio) => Ok(ratio),
        None => ratio_of_any(a, b, autojunk),
    }
}

/// The same, or None for sequences whose elements only Python can compare.
#[pyfunction]
#[pyo3(signature = (a, b, autojunk))]
fn known_ratio(
    a: &Bound<'_, PyAny>,
    b: &Bound<'_, PyAny>,
    autojunk: bool,
) -> PyResult<Option<f64>> {
    // SAFETY: the arguments outlive this call.
    let Some(pair) = (unsafe { Held::read_pair(a, b)? }) else {
        return Ok(None);
    };
    let matches = compute(a.py(), &pair, |matcher, (a, b), stop| {
        matcher.matched(a.seq(), b.seq(), autojunk, stop)
    })?;
    Ok(Some(as_ratio(matches, elements(&pair))))
}

/// The ratio as difflib's own loop over our matcher finds it.
fn ratio_of_any(a: &Bound<'_, PyAny>, b: &Bound<'_, PyAny>, autojunk: bool) -> PyResult<f64> {
    let py = a.py();
    let module = py.import(intern!(py, "srl_reward.sequence"))?;
    let matcher =
        module
            .getattr(intern!(py, "SequenceMatcher"))?
            .call1((py.None(), a, b, autojunk))?;
    matcher.call_method0(intern!(py, "ratio"))?.extract()
}

/// difflib's `2.0 * matches / length`, and 1 for nothing against nothing.
#[allow(clippy::cast_precision_loss, reason = "lengths lie far below 2^53")]
fn as_ratio(matches: usize, length: usize) -> f64 {
    if length == 0 {
        1.0
    } else {
        2.0 * matches as f64 / length as f64
    }
}

#[pyfunction]
#[pyo3(signature = (a, b, autojunk))]
fn blocks(
    a: &Bound<'_, PyAny>,
    b: &Bound<'_, PyAny>,
    autojunk: bool,
) -> PyResult<Option<Vec<(usize, usize, usize)>>> {
    // SAFETY: the arguments outlive this call.
    let Some(pair) = (unsafe { Held::read_pair(a, b)? }) else {
        return Ok(None);
    };
    let found = compute(a.py(), &pair, |matcher, (a, b), stop| {
        matcher
            .blocks(a.seq(), b.seq(), autojunk, stop)
            .map(<[Block]>::to_vec)
    })?;
    Ok(Some(found.iter().map(as_tuple).collect()))
}

fn as_tuple(block: &Block) -> (usize, usize, usize) {
    (block.a, block.b, block.len)
}

#[pyfunction]
#[pyo3(signature = (a, b, *, autojunk = true, threads = None))]
fn ratio_batch(
    py: Python<'_>,
    a: Vec<Bound<'_, PyAny>>,
    b: Vec<Bound<'_, PyAny>>,
    autojunk: bool,
    threads: Option<usize>,
) -> PyResult<Option<Vec<f64>>> {
    if a.len() != b.len() {
        let (a, b) = (a.len(), b.len());
        let message = format!("a and b must pair up, got {a} and {b} sequences");
        return Err(PyValueError::new_err(message));
    }
    // SAFETY: the vectors hold a reference to each sequence until this call returns.
    let read = |(a, b)| unsafe { Held::read_pair(a, b) }.transpose();
    let Some(pairs) = a
        .iter()
        .zip(&b)
        .map(read)
        .collect::<Option<PyResult<Vec<Pair>>>>()
    else {
        return Ok(None);
    };
    let pairs = pairs?;
    let job = |matcher: &mut Matcher, at: usize, stop: Stop<'_>| {
        let (a, b): &Pair = &pairs[at];
        let matches = matcher.matched(a.seq(), b.seq(), autojunk, stop)?;
        Ok(as_ratio(matches, a.len() + b.len()))
    };
    let work: usize = pairs.iter().map(elements).sum();
    let longest = pairs.iter().map(elements).max().unwrap_or(0);
    let wish = wished_threads(threads)?;
    let threads = if work < SHORT {
        1
    } else {
        wish.unwrap_or_else(processors)
    };
    if work < LONG && threads == 1 {
        let each = |matcher: &mut Matcher, at| job(matcher, at, Stop::default());
        let all = |matcher: &mut Matcher| (0..pairs.len()).map(|at| each(matcher, at)).collect();
        let done: Result<Vec<f64>, Halt> = py.detach(|| with_matcher(longest, all));
        return done.map(Some).map_err(halted);
    }
    parallel(py, (pairs.len(), longest), threads.min(pairs.len()), &job).map(Some)
}

/// The caller's wish, or that of `SRL_REWARD_THREADS`.
fn wished_threads(threads: Option<usize>) -> PyResult<Option<usize>> {
    let refuse = |name: &str, value: &str| {
        let message = format!("{name} is {value:?}: expected a positive integer");
        PyValueError::new_err(message)
    };
    match (threads, std::env::var(THREADS_VARIABLE)) {
        (Some(0), _) => Err(refuse("threads", "0")),
        (None, Ok(text)) => match text.trim().parse() {
            Ok(count) if count > 0 => Ok(Some(count)),
            _ => Err(refuse(THREADS_VARIABLE, &text)),
        },
        _ => Ok(threads),
    }
}

/// The processors this process may use.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The general matcher over codes: junk, popular elements and bounds.
#[pyclass(frozen)]
struct JunkIndex {
    index: Index,
}

#[pymethods]
impl JunkIndex {
    #[new]
    fn new(b: Vec<u32>, junk: Vec<bool>, autojunk: bool) -> PyResult<Self> {
        if let Some(code) = b.iter().find(|code| **code as usize >= junk.len()) {
            let message = format!("code {code} has no entry among {} junk marks", junk.len());
            return Err(PyValueError::new_err(message));
        }
        Ok(Self {
            index: Index::new(b, &junk, autojunk),
        })
    }

    fn blocks(&self, py: Python<'_>, a: Vec<u32>) -> PyResult<Vec<(usize, usize, usize)>> {
        let job = |_: &mut Matcher, _: usize, stop: Stop<'_>| self.index.matching_blocks(&a, stop);
        let found = parallel(py, (1, 0), 1, &job)?
            .pop()
            .ok_or_else(|| halted(Halt))?;
        Ok(found.iter().map(as_tuple).collect())
    }

    fn longest(
        &self,
        py: Python<'_>,
        a: Vec<u32>,
        a_bounds: (usize, usize),
        b_bounds: (usize, usize),
    ) -> PyResult<(usize, usize, usize)> {
        let rect = Rect {
            a_lo: a_bounds.0,
            a_hi: a_bounds.1,
            b_lo: b_bounds.0,
            b_hi: b_bounds.1,
        };
        if !rect.is_within(a.len(), self.index.len()) {
            let message = format!("bounds {a_bounds:?} and {b_bounds:?} out of order or outside");
            return Err(PyValueError::new_err(message));
        }
        let found = py.detach(|| self.index.longest(&a, rect, Stop::default()));
        found.map(|block| as_tuple(&block)).map_err(halted)
    }
}
