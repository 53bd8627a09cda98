"""Dr. GRPO's published rules for form and answers, written anew.

The rules are those of `understand_r1_zero/math_grader.py` of sail-sg/understand-r1-zero (arXiv
2503.20783), in their fast mode, which CS336's assignment took over as `r1_zero_reward_fn` and
`question_only_reward_fn`. They are kept with their quirks: this package exists to compare with what
others report. Left out: their slow mode, which asks math-verify besides.
"""
