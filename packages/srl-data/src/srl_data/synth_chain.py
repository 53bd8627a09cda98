"""`srl-data synth chain`: the files of a task whose steps have to be thought out.

For `--output DIR/NAME.jsonl`: the training instances there; of the same problems
`NAME.answers.jsonl` with answer keys and `NAME.sft.jsonl` with whole solutions; of others
`NAME.val.jsonl` with instances, `NAME.val_answers.jsonl` and `NAME.test.jsonl` with answer keys; if
asked for `NAME.warmup.jsonl`, the stream that a start model reads. `NAME.step.txt` and
`NAME.whole.txt` are the prompt templates. A manifest stands beside each file of records.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from srl_data.chain import MAX_OPERATIONS, STEPS_TEMPLATE, WHOLE_TEMPLATE, ChainProblem, problems
from srl_data.chain_stream import CAREFUL, Habits, sloppy_pairs
from srl_data.command.config import Section
from srl_data.files import write_text
from srl_data.manifest import Manifest, beside, named_after
from srl_data.records import SftPair
from srl_data.splits import check_outputs
from srl_data.synth import write_files

COMMAND = "srl-data synth chain"
DRILLED = 2
"""Most operations of a drill."""
HELD_OUT_SEED = 0
"""Held-out problems are the same for every seed, so that runs of several seeds are paired."""

Share = Annotated[float, Field(ge=0, le=1)]


class ChainConfig(Section):
    """Config of `srl-data synth chain`."""

    output: Path
    """Where the training instances go; the other files stand beside it."""
    num_problems: int = Field(default=100, ge=1)
    """Problems with expert solutions to train on."""
    operations: int = Field(default=5, ge=1, le=MAX_OPERATIONS)
    """Operations of a problem, which are the expert's steps."""
    val_size: int = Field(default=100, ge=0)
    """Validation problems, the same for every seed; 0 for no file."""
    test_size: int = Field(default=150, ge=0)
    """Test problems, the same for every seed; 0 for no file."""
    num_drills: int = Field(default=0, ge=0)
    """Careful pairs of one or two operations, before the sloppy ones of the warm-up file."""
    num_warmup: int = Field(default=0, ge=0)
    """Sloppy pairs of one to `operations` operations, steps and whole answers."""
    whole_share: Share = 0.5
    """How many of the warm-up pairs are whole answers; the others are single steps."""
    careful: tuple[Share, Share, Share] = (0.7, 0.5, 0.4)
    """How often a sloppy pair works a result out, for +, - and *; else it guesses."""
    forget_carry: Share = 0.4
    """How often such a working forgets the carry."""
    wrong_digit: Share = 0.01
    """How often a digit of it is misread."""
    seed: int = 42
    """Other seeds give other training problems and another stream."""

    @property
    def habits(self) -> Habits:
        """How the sloppy stream is written."""
        return Habits(self.careful, self.forget_carry, self.wrong_digit)


def template_files(output: Path) -> dict[Path, str]:
    """The prompt templates beside the training instances, by file."""
    return {
        named_after(output, "step.txt"): STEPS_TEMPLATE,
        named_after(output, "whole.txt"): WHOLE_TEMPLATE,
    }


def warmup(config: ChainConfig) -> Iterator[SftPair]:
    """Drills, then the sloppy stream."""
    share, short = config.whole_share, min(DRILLED, config.operations)
    drills = sloppy_pairs(config.seed, config.num_drills, short, CAREFUL, share, name="drill")
    sloppy = sloppy_pairs(
        config.seed, config.num_warmup, config.operations, config.habits, share, name="sloppy"
    )
    return chain(drills, sloppy)


def instances_of(source: list[ChainProblem]) -> Iterator[BaseModel]:
    """The instances of many problems, in order."""
    return chain.from_iterable(problem.instances() for problem in source)


def plan_chain(config: ChainConfig) -> dict[Path, Iterator[BaseModel]]:
    """Every file of records to write, with their stream. ConfigError for too many problems."""
    length, output = config.operations, config.output
    train = list(problems(config.seed, config.num_problems, length, "train"))
    files: dict[Path, Iterator[BaseModel]] = {
        output: instances_of(train),
        beside(output, "sft"): (problem.pair() for problem in train),
        beside(output, "answers"): (problem.prompt_answer() for problem in train),
    }
    if config.val_size:
        held_out = list(problems(HELD_OUT_SEED, config.val_size, length, "validation"))
        files[beside(output, "val")] = instances_of(held_out)
        files[beside(output, "val_answers")] = (each.prompt_answer() for each in held_out)
    if config.test_size:
        test = list(problems(HELD_OUT_SEED, config.test_size, length, "test"))
        files[beside(output, "test")] = (problem.prompt_answer() for problem in test)
    if config.num_drills or config.num_warmup:
        files[beside(output, "warmup")] = warmup(config)
    return files


def synth_chain(config: ChainConfig) -> dict[Path, Manifest]:
    """Write the files, their manifests and the templates; returns the manifests by file."""
    options = config.model_dump(mode="json", exclude={"output"})
    check_outputs(template_files(config.output))
    written = write_files(plan_chain(config), COMMAND, "generator chain, format 1", options)
    for path, text in template_files(config.output).items():
        write_text(path, f"{text}\n")
    return written
