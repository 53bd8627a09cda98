"""Why a solution gives no steps, in words."""

REASONS = {
    "malformed_row": "not a JSON object (skipped by --on-error skip)",
    "missing_problem": "the problem is absent or empty",
    "missing_solution": "the solution is absent or empty",
    "missing_answer": "the answer's column is absent or empty (--answer-field)",
    "not_unicode": "a half of a surrogate pair, which no UTF-8 file can hold",
    "unclosed_thinking": "the solution opens its thinking and never closes it",
    "only_thinking": "the solution is thinking and nothing else (--from thinking cuts that)",
    "no_thinking": "no thinking between marks (--from thinking)",
    "no_headings": "no headings (--by headings)",
    "too_few_steps": "a bare answer, or too short for --min-steps",
    "too_many_steps": "more steps than --max-steps",
    "answer_first": "the answer's box stands before the reasoning: only a last step is left",
    "empty_step": "a heading without text",
    "ambiguous_numbers": "its own lists cannot be told from the steps in any style",
    "not_original": "the steps' texts, joined, would not be the original",
}
