"""Why a row gives no pair, in words."""

REASONS = {
    "missing_problem": "the problem is absent or empty",
    "missing_solution": "the solution is absent or empty",
    "missing_thinking": "no thinking, and the pairs have some (--no-thinking leaves it out)",
    "missing_answer": "no answer for the answer's tags: no box in the solution, no answer's column",
    "not_unicode": "a half of a surrogate pair, which no UTF-8 file can hold",
    "cut_off": "the answer stopped at its length limit",
    "unclosed_thinking": "the solution opens its thinking and never closes it",
    "only_thinking": "the solution is thinking and nothing else",
    "marks_in_text": "marks of thinking or of the answer stand in the text itself",
    "not_graded": "no mark that says whether it is correct (--only-correct)",
    "graded_wrong": "graded as not correct (--only-correct)",
}
ADVICE = {
    "missing_problem": "choose another --problem-field",
    "missing_solution": "choose another --field",
    "missing_thinking": "give --thinking-field, or --no-thinking",
    "missing_answer": "give --answer-field, or another --template",
    "cut_off": "ask the teacher with a larger --max-tokens",
    "not_graded": "mark the records with srl-data grade before",
    "graded_wrong": "leave --only-correct out to see them",
}
"""What to do where no row gives a pair, by the commonest reason."""
