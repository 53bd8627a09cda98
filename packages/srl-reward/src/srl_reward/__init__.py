"""Step-similarity rewards: exact difflib in Rust, strict output parsing, answer extraction.

Everything named in `__all__` is the public API. Nothing here imports torch.
"""

from srl_reward.answer import extract_aime_answer, extract_boxed, extract_gsm8k_answer
from srl_reward.answer_reward import AnswerReward, QuestionOnlyReward
from srl_reward.custom import FunctionReward, load_reward
from srl_reward.format_reward import BoxedThinkReward, FormatReward, R1ZeroReward
from srl_reward.grading import Verdict
from srl_reward.output import (
    InvalidOutput,
    InvalidReason,
    ParsedOutput,
    after_thinking,
    is_think_prefilled,
    parse_step_output,
    render_step_output,
)
from srl_reward.registry import REWARDS, RegisteredReward, make_reward
from srl_reward.reward import Reward, Scored
from srl_reward.sequence import SequenceMatcher, matching_blocks, ratio, ratio_batch
from srl_reward.step_reward import StepReward, target_fault
from srl_reward.steps import (
    NonConforming,
    NonConformingReason,
    Solution,
    Step,
    leading_step_number,
    parse_solution,
    split_steps,
    strip_step_number,
)

__all__ = [
    "REWARDS",
    "AnswerReward",
    "BoxedThinkReward",
    "FormatReward",
    "FunctionReward",
    "InvalidOutput",
    "InvalidReason",
    "NonConforming",
    "NonConformingReason",
    "ParsedOutput",
    "QuestionOnlyReward",
    "R1ZeroReward",
    "RegisteredReward",
    "Reward",
    "Scored",
    "SequenceMatcher",
    "Solution",
    "Step",
    "StepReward",
    "Verdict",
    "after_thinking",
    "extract_aime_answer",
    "extract_boxed",
    "extract_gsm8k_answer",
    "is_think_prefilled",
    "leading_step_number",
    "load_reward",
    "make_reward",
    "matching_blocks",
    "parse_solution",
    "parse_step_output",
    "ratio",
    "ratio_batch",
    "render_step_output",
    "split_steps",
    "strip_step_number",
    "target_fault",
]
