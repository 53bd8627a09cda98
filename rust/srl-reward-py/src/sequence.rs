//! Glue.

use pyo3::prelude::*;

/// Adds this module's functions to `_native`.
pub(crate) fn register(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
