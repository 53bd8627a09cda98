"""Which kind of record a run reads, by what its rewards read, and the templates that suit each.

Left out: reading the records (`srl_grpo.data.prompts`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from srl_data.command.errors import ConfigError, DataError
from srl_data.records import PromptAnswer, Record, SrlInstance, read_objects
from srl_grpo.config.train import TrainConfig

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

    @property
    def columns(self) -> tuple[str, ...]:
        """What rewards and templates get of each record."""
        return tuple(name for name in self.record.model_fields if name not in ("id", "meta"))


SRL = RecordKind("SRL instances", SrlInstance, "srl", unfit=("boxed", "r1_zero"))
ANSWER = RecordKind("prompt-answer records", PromptAnswer, "boxed", unfit=("srl", "bare"))
KINDS = (SRL, ANSWER)


Needed = Mapping[str, str]
"""The columns that rewards cannot do without, each with the reward that reads it."""


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


def kind_of_file(path: Path) -> RecordKind | None:
    """The kind of a file's first record; None where it is neither, or there is no such file."""
    if not path.is_file():
        return None
    for _, record in read_objects(path, "skip"):
        return SRL if "target_step" in record else ANSWER if "answer" in record else None
    return None


def kind_of_run(config: TrainConfig, needed: Needed) -> RecordKind:
    """The kind that the rewards read; where they read either, that of the data files.

    Raises ConfigError where no kind suits the rewards, DataError where a file has another kind.
    """
    kinds = kinds_with(needed)
    for path in (config.data.path, config.data.val_path):
        found = kind_of_file(path) if path is not None else None
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
