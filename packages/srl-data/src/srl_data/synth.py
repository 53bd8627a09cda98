"""`srl-data synth arithmetic`: the files of the quickstart's task.

For `--output DIR/NAME.jsonl`: the training instances there, `NAME.val.jsonl` with instances of
held-out problems, `NAME.eval.jsonl` with those problems and their answer keys; of the training
problems `NAME.sft.jsonl` with whole solutions as supervised pairs and `NAME.answers.jsonl` with
answer keys; `NAME.warmup.jsonl` with sloppy supervised pairs if asked for. A manifest stands beside
each.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from srl_data.arithmetic import (
    DIFFICULTIES,
    ArithmeticProblem,
    Difficulty,
    problems,
    sloppy_pairs,
)
from srl_data.command.config import Section
from srl_data.command.progress import track
from srl_data.instances import Targets
from srl_data.manifest import Manifest, Source, beside, with_manifests, write_manifest
from srl_data.records import write_records
from srl_data.splits import check_outputs

COMMAND = "srl-data synth arithmetic"


class SynthConfig(Section):
    """Config of `srl-data synth arithmetic`."""

    output: Path
    """Where the training instances go; the other files stand beside it."""
    num_problems: int = Field(default=100, ge=1)
    """Problems with expert solutions to train on."""
    val_size: int = Field(default=80, ge=0)
    """Held-out problems; never in the training or warm-start files of any seed."""
    num_warmup: int = Field(default=0, ge=0)
    """Sloppy supervised pairs that teach the format."""
    difficulty: Literal["easy", "medium", "hard", "mixed", "long"] = "hard"
    """2 digits; 2 to 3; 2 to 4; 2 to 4 with subtraction; 5 to 6 with subtraction."""
    digits_min: int | None = None
    """Fewest digits, over the difficulty's."""
    digits_max: int | None = None
    """Most digits, over the difficulty's."""
    targets: Targets = "all"
    """Which of a solution's N steps are to be predicted."""
    carry_error: float = Field(default=0.7, ge=0, le=1)
    """How often the warm-start pairs forget a carry."""
    digit_error: float = Field(default=0.05, ge=0, le=1)
    """How often the warm-start pairs misread a digit."""
    seed: int = 42
    """Other seeds give other problems."""

    def resolved_difficulty(self) -> Difficulty:
        """The named difficulty with the digit counts given on top; ConfigError if impossible."""
        named = DIFFICULTIES[self.difficulty]
        low = named.digits_min if self.digits_min is None else self.digits_min
        high = named.digits_max if self.digits_max is None else self.digits_max
        return Difficulty(low, high, named.operations)


def instances_of(source: Iterable[ArithmeticProblem], targets: Targets) -> Iterator[BaseModel]:
    """The instances of many problems, in order."""
    return chain.from_iterable(problem.instances(targets) for problem in source)


def plan(config: SynthConfig) -> dict[Path, Iterator[BaseModel]]:
    """Every file to write with the stream of its records."""
    level = config.resolved_difficulty()
    train = list(problems(config.seed, config.num_problems, level, "train"))
    files = {
        config.output: instances_of(train, config.targets),
        beside(config.output, "sft"): (problem.pair() for problem in train),
        beside(config.output, "answers"): (problem.prompt_answer() for problem in train),
    }
    if config.val_size:
        held_out = list(problems(config.seed, config.val_size, level, "heldout"))
        files[beside(config.output, "val")] = instances_of(held_out, config.targets)
        files[beside(config.output, "eval")] = (problem.prompt_answer() for problem in held_out)
    if config.num_warmup:
        files[beside(config.output, "warmup")] = iter(
            sloppy_pairs(
                config.seed, config.num_warmup, level, config.carry_error, config.digit_error
            )
        )
    return files


def synth(config: SynthConfig) -> dict[Path, Manifest]:
    """Write the files and their manifests; returns the manifests by file."""
    options = config.model_dump(mode="json", exclude={"output"})
    return write_files(plan(config), COMMAND, "generator arithmetic, format 1", options)


def write_files(
    files: Mapping[Path, Iterator[BaseModel]],
    command: str,
    source: str,
    options: Mapping[str, object],
) -> dict[Path, Manifest]:
    """Write each file's records and its manifest; returns the manifests by file."""
    check_outputs(with_manifests(files))
    written = {}
    for path, records in files.items():
        count = write_records(path, track(records, path.name, unit="records"))
        written[path] = write_manifest(
            path,
            command=command,
            source=Source(name=source),
            options=options,
            counts={"records": count},
            records=count,
        )
    return written
