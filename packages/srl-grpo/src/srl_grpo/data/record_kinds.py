"""Which kind of record a run reads, by what its rewards read, and the templates that suit each.

Left out: reading the records (`srl_grpo.data.prompts`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from srl_data.command.errors import ConfigError, DataError
from srl_data.records import PromptAnswer, Record, SrlInstance
from srl_data.splits import is_local
from srl_grpo.config.sampled import SampledConfig
from srl_grpo.config.sections import DataSection
from srl_grpo.data.parts import Part, open_part

ALWAYS = ("prompts", "completion_ids", "truncated", "think_prefilled", "id", "meta")
"""Columns that rewards are given whatever the records are."""


@dataclass(frozen=True)
class RecordKind:
    """A kind of record to train on."""

    name: str
    record: type[Record]
    template: str
    """The prompt template by default."""
    unfit: tuple[str, ...]
    """Templates that ask for another kind of answer."""
    made_by: str = "give such records"
    """How rows of other columns become such records."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What rewards and templates get of each record."""
        return tuple(name for name in self.record.model_fields if name not in ("id", "meta"))


SRL = RecordKind(
    "SRL instances",
    SrlInstance,
    "srl",
    unfit=("boxed", "r1_zero"),
    made_by="make them with srl-data build s1k or srl-data stepify",
)
ANSWER = RecordKind(
    "prompt-answer records",
    PromptAnswer,
    "boxed",
    unfit=("srl", "bare"),
    made_by="name theirs with --problem-field and --answer-field, or use srl-data build answers",
)
KINDS = (SRL, ANSWER)


Needed = Mapping[str, str]
"""The columns that rewards cannot do without, each with the reward that reads it."""


OF_ROUNDS: Needed = {"answer": "expert-iteration"}
"""What expert iteration cannot do without, whatever its rewards read."""


def kinds_with(needed: Needed) -> tuple[RecordKind, ...]:
    """The kinds of record that have every column that the rewards need.

    Raises ConfigError where there is none.
    """
    found = tuple(kind for kind in KINDS if needed.keys() <= {*kind.columns, *ALWAYS})
    if found:
        return found
    wanted = " and ".join(f"{column!r} ({reward})" for column, reward in needed.items())
    known = "; ".join(f"{kind.name} have {', '.join(kind.columns)}" for kind in KINDS)
    raise ConfigError(f"no record has all columns that the rewards read: {wanted}; {known}")


def kind_of_part(data: DataSection, part: Part) -> RecordKind | None:
    """The kind of a part's first record; None where it is neither, or not on this machine."""
    path = data.path if part == "train" else data.val_path
    if path is None or not is_local(path):
        return None
    if data.problem_field or data.answer_field:
        return ANSWER
    source = open_part(data, part)
    assert source is not None, "its path is there"
    for _, record in source.read("skip", lambda _: None):
        return SRL if "target_step" in record else ANSWER if "answer" in record else None
    return None


def kind_of_run(config: SampledConfig, needed: Needed) -> RecordKind:
    """The kind that the rewards read; where they read either, that of the data files.

    Raises ConfigError where no kind suits the rewards, DataError where a file has another kind.
    """
    kinds = kinds_with(needed)
    parts: tuple[tuple[Part, Path | None], ...] = (
        ("train", config.data.path),
        ("eval", config.data.val_path),
    )
    for part, path in parts:
        found = kind_of_part(config.data, part)
        if found is None:
            continue
        if found not in kinds:
            names = ", ".join(config.reward.reward)
            raise DataError(
                f"{path}: its first record is one of the {found.name}, and the run reads "
                f"{kinds[0].name} (--reward {names})"
            )
        kinds = (found,)
    return kinds[0]
