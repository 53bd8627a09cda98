"""Config of `srl-data stepify`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from srl_data.command.config import Flag
from srl_data.passes.run import PassSection
from srl_data.records import OnError
from srl_data.stepify.cut import By, CutOptions
from srl_data.stepify.solution_text import From
from srl_data.stepify.teacher_config import TeacherSection


class StepifyConfig(PassSection):
    """Config of `srl-data stepify`."""

    source: str
    """A file (JSON, JSON Lines, CSV, Parquet, Arrow), a glob, a folder, or a hub data set."""
    output: Path | None = None
    """Where the solutions in steps go; may be left out with --preview."""
    revision: str | None = None
    """Commit, branch or tag of a hub data set."""
    field: str | None = None
    """The column with the solution, or with a list of them. Default: solution, answer,
    deepseek_attempt, response or output, the first that there is."""
    problem_field: str | None = None
    """The column with the problem. Default: problem, question, prompt or instruction."""
    answer_field: str | None = None
    """The column with the final answer. Default: what the solution's last box holds."""
    by: By = "auto"
    """What solutions are cut at. auto takes the author's headings, else paragraphs, lines,
    sentences: the coarsest that give enough steps."""
    cut_from: Annotated[From, Flag("from")] = "solution"
    """What is cut: the solution without its thinking, or (an experiment) the thinking itself."""
    corrections: bool = False
    """Cut before self-corrections (Wait, Alternatively), an experiment for --from thinking."""
    rows: bool = False
    """Let rows of aligned LaTeX blocks be steps: the one exception to no cut inside LaTeX."""
    min_chars: int | None = Field(default=None, ge=0)
    """Shorter steps are joined to a neighbour. Default: 12 for text without headings, equations
    aside; an author's own steps stay."""
    max_chars: int | None = Field(default=None, ge=1)
    """Longer steps are cut at finer boundaries, where they have any. Default: 1200 for text
    without headings; an author's own steps stay."""
    min_steps: int = Field(default=2, ge=2)
    """Solutions with fewer steps are left out."""
    max_steps: int = Field(default=100, ge=2)
    """Solutions with more steps are left out."""
    limit: int | None = Field(default=None, ge=1)
    """Read only the first so many rows."""
    preview: int = Field(default=0, ge=0)
    """Show so many records as a model will see them; without --output nothing is written."""
    seed: int = 42
    """Decides which solutions the report compares."""
    on_error: OnError = "fail"
    teacher: TeacherSection = TeacherSection()

    @model_validator(mode="after")
    def _lengths_in_order(self) -> "StepifyConfig":
        if self.max_chars is not None and (self.min_chars or 0) > self.max_chars:
            raise ValueError(f"min_chars {self.min_chars} exceeds max_chars {self.max_chars}")
        if self.max_steps < self.min_steps:
            raise ValueError(f"min_steps {self.min_steps} exceeds max_steps {self.max_steps}")
        if self.output is None and not self.preview:
            raise ValueError("give --output FILE, or --preview N to look without writing")
        if self.teacher.titles and self.teacher.model is None:
            raise ValueError("--titles asks a teacher for them; name it with --model")
        if self.teacher.model is not None and self.workers > 1:
            raise ValueError(
                f"--workers {self.workers} is for cutting by rule; with a teacher (--model) give "
                "--concurrency"
            )
        return self

    def options(self) -> CutOptions:
        """How a solution is cut."""
        return CutOptions(
            by=self.by,
            min_chars=self.min_chars,
            max_chars=self.max_chars,
            min_steps=self.min_steps,
            max_steps=self.max_steps,
            corrections=self.corrections,
            rows=self.rows,
        )
