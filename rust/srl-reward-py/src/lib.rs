//! The extension module `srl_reward._native`: glue over `srl-core`, nothing else.

use pyo3::prelude::*;

mod held;
mod sequence;
mod step;
mod text;

/// The native half of `srl_reward`; `_native.pyi` documents it.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    sequence::register(module)?;
    text::register(module)?;
    Ok(())
}
