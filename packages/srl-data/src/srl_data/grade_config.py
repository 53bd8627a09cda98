"""Config of `srl-data grade`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from srl_data.command.config import Positional
from srl_data.passes.run import PassSection
from srl_data.records import OnError


class GradeConfig(PassSection):
    """Config of `srl-data grade`."""

    file: Annotated[Path, Positional()]
    """Records with a completion and what its reward reads: a file (JSON, JSON Lines, CSV, Parquet,
    Arrow), a glob or a folder; - is standard input."""
    output: Path | None = None
    """Where the graded records go, with a manifest beside; default standard output."""
    reward: str = "step"
    """step, format, boxed_think, r1_zero, question_only, answer, exact, aime, gsm8k, math; or your
    own function as module:name or file.py:name."""
    mode: Literal["mark", "keep"] = "mark"
    """Write every record with its reward, or only those that are good enough."""
    min_reward: float | None = Field(default=None, allow_inf_nan=False)
    """With --mode keep: the least reward that is kept; default: only exact records."""
    completion_field: str | None = None
    """The field with the model's text, or its chat messages. Default: completion, or content in a
    record without one, as in a teacher's traces."""
    target_field: str | None = None
    """The field with the gold text; default target_step for step, answer for the others."""
    metric: Literal["ratio", "indel", "levenshtein", "token_set"] | None = None
    """Similarity of the step reward; default difflib's ratio."""
    grader: Literal["exact", "aime", "boxed_integer", "gsm8k", "math", "drgrpo"] | None = None
    """How answer, question_only and r1_zero compare; default each record's own, else math. drgrpo
    is Dr. GRPO's published rules, of form too."""
    format_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """What r1_zero gives for the form; default 0."""
    answer_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """What r1_zero gives for a right answer in good form; default 1."""
    autojunk: bool | None = None
    """difflib's popularity heuristic, for the step reward; default off."""
    strip_number: bool | None = None
    """Compare steps without their leading numbers; default on."""
    max_chars: Annotated[int, Field(ge=1)] | None = None
    """Characters of a step that are compared; default 20,000."""
    think_prefilled: bool | None = None
    """Whether the prompts ended with <think>; default as each record's prompt tells."""
    on_error: OnError = "fail"

    @property
    def reward_options(self) -> dict[str, object]:
        """The options that were given, by the names of the reward's constructor."""
        names = (
            *("metric", "grader", "autojunk", "strip_number", "max_chars", "think_prefilled"),
            *("format_weight", "answer_weight"),
        )
        return {name: value for name in names if (value := getattr(self, name)) is not None}
