"""Configs of the commands that build splits of problems with answers."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from srl_data.command.config import Flag
from srl_data.decontamination import OverlapSection
from srl_data.passes.run import PassSection
from srl_data.records import OnError


class SplitsConfig(OverlapSection, PassSection):
    """What all of these commands take."""

    output_dir: Annotated[Path, Flag(aliases=("output",))]
    """Where train.jsonl, val.jsonl and test.jsonl go, each with its manifest."""
    source: str
    """A file, a glob, a folder, or a data set on the hub."""
    subset: str | None = None
    """One of several subsets of a hub data set, or of a folder that was downloaded from it."""
    revision: str = "main"
    """Commit, branch or tag of the hub data set; the commit behind it is recorded."""
    cache_dir: Path | None = None
    """Where the hub's downloads are kept. Default: the cache of `datasets`."""
    snapshot_dir: Path | None = None
    """Where the source's rows are kept with their checksums, for later runs without a network.
    Default: snapshot in --output-dir."""
    eval_n: int = Field(default=0, ge=0)
    """Questions held out of train, into val.jsonl."""
    sample_n: int = Field(default=0, ge=0)
    """Draw so many questions for train; 0: all."""
    seed: int = 31415
    """Decides which questions are held out and drawn."""
    problem_field: str | None = None
    """The column with the problem. Default: problem, question, prompt or instruction."""
    answer_field: str | None = None
    """The column with the answer."""
    solution_field: str | None = None
    """The column with a solution: its last box, or its #### line, is the answer where no
    --answer-field is named; it is kept in each record's meta."""
    messages_field: str | None = None
    """A column of chat messages: the last question is the problem, its answer the solution."""
    decontaminate: tuple[str, ...] = ()
    """An evaluation set, as SOURCE or NAME=SOURCE, or test for the set's own: training problems
    that overlap with it are left out. May be given several times."""
    on_error: OnError = "fail"

    @model_validator(mode="after")
    def _columns_agree(self) -> "SplitsConfig":
        if self.messages_field and (self.problem_field or self.solution_field):
            raise ValueError(
                "--messages-field gives both problem and solution; leave --problem-field and "
                "--solution-field out"
            )
        return self

    @property
    def snapshot(self) -> Path:
        """The snapshot's folder."""
        return self.snapshot_dir or self.output_dir / "snapshot"


class Gsm8kConfig(SplitsConfig):
    """Config of `srl-data build gsm8k`."""

    output_dir: Annotated[Path, Flag(aliases=("output",))] = Path("artifacts/gsm8k")
    """Where train.jsonl, val.jsonl and test.jsonl go, each with its manifest."""
    source: str = "openai/gsm8k"
    """A folder with train.jsonl and test.jsonl, or any other of that form, or the hub."""
    subset: str | None = "main"
    """Of the hub's data set: main, or socratic."""
    eval_n: int = Field(default=512, ge=0)
    """Questions held out of train, into val.jsonl."""


class MathConfig(SplitsConfig):
    """Config of `srl-data build math`."""

    output_dir: Annotated[Path, Flag(aliases=("output",))] = Path("artifacts/math")
    """Where train.jsonl, test.jsonl and math500.jsonl go, each with its manifest."""
    source: str = "EleutherAI/hendrycks_math"
    """The MATH folder (train/algebra/1.json, …), any file or folder of its rows, or the hub."""
    decontaminate: tuple[str, ...] = ()
    """An evaluation set, as SOURCE or NAME=SOURCE, or test or math500 for the set's own: training
    problems that overlap with it are left out. May be given several times."""


class NuminaMathConfig(SplitsConfig):
    """Config of `srl-data build numinamath`."""

    output_dir: Annotated[Path, Flag(aliases=("output",))] = Path("artifacts/numinamath")
    """Where train.jsonl and test.jsonl go, each with its manifest."""
    source: str = "AI-MO/NuminaMath-CoT"
    """Files or a folder of its rows, or the hub."""
    sample_n: int = Field(default=5000, ge=0)
    """Questions drawn for train; 0: all."""
    solution_field: str | None = "solution"
    """The column with the solution, whose last box is the answer."""
