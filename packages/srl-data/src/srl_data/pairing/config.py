"""Config of `srl-data pairs`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from srl_data.command.config import Flag
from srl_data.passes.run import PassSection
from srl_data.records import OnError


class PairsConfig(PassSection):
    """Config of `srl-data pairs`."""

    source: Annotated[str, Flag(aliases=("infile",))] = Field(min_length=1)
    """Traces of a teacher, or a table of problems and solutions: a file (JSON, JSON Lines, CSV,
    Parquet, Arrow), a glob, a folder, or a data set on the hub."""
    output: Annotated[Path, Flag(aliases=("outfile",))]
    """Where the pairs go, with a manifest beside."""
    revision: str | None = None
    """Commit, branch or tag of a hub data set."""
    template: str = "chat"
    """The prompt template to train with, whose form the responses take: r1_zero writes
    <think>…</think> <answer>…</answer>; others write the thinking, where there is some, and then
    the answer. A name, a text file with {problem}, or module:function."""
    field: str | None = None
    """The column with the solution, or with a list of them. Default: content, deepseek_attempt,
    gemini_attempt, attempt, generations, completion, response, output or solution, the first that
    there is."""
    thinking_field: str | None = None
    """The column with the thinking before the solution. Default: the one that belongs to the
    solution's, such as reasoning_content to content, where there is one."""
    thinking: bool | None = None
    """Begin responses with <think>…</think>. Default: where there is thinking, in a column or
    within the solutions, and where the template asks for it."""
    problem_field: str | None = None
    """The column with the problem. Default: problem, question, prompt or instruction."""
    answer_field: str | None = None
    """The column with the final answer, kept in each pair's meta. Default: answer, else what the
    solution's last box holds."""
    only_correct: bool = False
    """Keep only what srl-data grade, or the data set's own column of grades, marks as correct."""
    on_error: OnError = "fail"
