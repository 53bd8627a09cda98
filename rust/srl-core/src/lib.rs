//! The pure core of `srl-reward`: sequence matching, step splitting, output parsing, answers.
//!
//! No Python here; `srl-reward-py` is the glue.

pub mod answer;
pub mod output;
pub mod seqmatch;
pub mod steps;
