//! Parsers of model text: nothing panics, ranges are slices, a conforming solution's steps are
//! single steps again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use srl_core::answer::{extract_aime_answer, extract_boxed, extract_gsm8k_answer};
use srl_core::output::{is_think_prefilled, parse_step_output};
use srl_core::steps::{Preamble, parse_solution, split_steps, strip_number};

fuzz_target!(|text: &str| {
    for preamble in [Preamble::Keep, Preamble::Drop] {
        for step in split_steps(text, preamble) {
            let own = &text[step.span];
            assert_eq!(own, own.trim());
        }
        for step in parse_solution(text, preamble).unwrap_or_default() {
            assert_eq!(split_steps(&text[step.span], Preamble::Keep).len(), 1);
        }
    }
    let stripped = strip_number(text);
    let _ = &text[stripped.start..stripped.end];
    for prefilled in [false, true] {
        if let Ok(output) = parse_step_output(text, prefilled, false) {
            assert!(!text[output.action].is_empty() && output.thinking.end <= text.len());
        }
    }
    if let Some(range) = extract_boxed(text) {
        let _ = &text[range];
    }
    let _ = (
        extract_aime_answer(text),
        extract_gsm8k_answer(text),
        is_think_prefilled(text),
    );
});
