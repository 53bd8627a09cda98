"""Training prompts: records of a data file, rendered and encoded once, with their columns.

The trainer sees prompts and columns only; which columns a reward reads is between the record and
the reward. Left out: making instances (`srl-data`), and the order of drawing
(`srl_grpo.data.sampler`).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from srl_data.answered import AnswerFields, read_answered
from srl_data.arithmetic import ArithmeticProblem, problems
from srl_data.columns import columns_shown
from srl_data.command.errors import DataError
from srl_data.prompt_format import PromptFormat
from srl_data.records import Record, Row, SrlInstance
from srl_data.sources import RowSource, each_row
from srl_grpo.config.sampled import SampledConfig
from srl_grpo.config.sections import DataSection
from srl_grpo.data.parts import open_part
from srl_grpo.data.record_kinds import RecordKind
from srl_reward import is_think_prefilled

Note = Callable[[str], None]
"""Shows a line to the user."""


@dataclass(frozen=True)
class TrainingPrompt:
    """One prompt as the model sees it, and the columns that rewards read."""

    index: int
    """Position in the data set, counted after exclusions."""
    id: str
    text: str
    ids: tuple[int, ...]
    think_prefilled: bool
    """Whether the rendered prompt ends inside an open `<think>`."""
    columns: dict[str, object]
    """What the prompt template and the rewards read of the record."""
    meta: dict[str, object] = field(default_factory=dict)
    """What else the record holds: the rewards' alone."""
    spelt: tuple[str, ...] = ()
    """Control tokens of the model that the record spells, encoded as text."""


@dataclass(frozen=True)
class PromptSet:
    """Prompts of one file, and how many were left out for their length."""

    prompts: list[TrainingPrompt]
    too_long: int = 0


def make_prompt(
    index: int,
    name: str,
    columns: dict[str, object],
    prompts: PromptFormat,
    meta: dict[str, object] | None = None,
) -> TrainingPrompt:
    """Render and encode one prompt; DataError naming the record whose text does not come out."""
    try:
        prompt = prompts.prompt(**columns)
    except DataError as error:
        raise DataError(f"record {name!r}: {error}") from error
    opened = is_think_prefilled(prompt.text)
    return TrainingPrompt(
        index, name, prompt.text, prompt.ids, opened, columns, meta or {}, prompt.spelt
    )


def make_prompts(
    records: Iterable[Record],
    prompts: PromptFormat,
    max_prompt_length: int,
) -> PromptSet:
    """Prompts of `records`; those over `max_prompt_length` tokens are left out and counted."""
    made: list[TrainingPrompt] = []
    too_long = 0
    for record in records:
        columns = record.model_dump(exclude={"id", "meta"})
        prompt = make_prompt(len(made), record.id, columns, prompts, record.meta)
        if len(prompt.ids) > max_prompt_length:
            too_long += 1
        else:
            made.append(prompt)
    return PromptSet(made, too_long)


def limited(records: Iterator[Record], limit: int | None) -> Iterator[Record]:
    """The first `limit` records; all where it is None."""
    for count, record in enumerate(records):
        if limit is not None and count >= limit:
            return
        yield record


def load_records(
    source: RowSource, kind: RecordKind, data: DataSection, note: Note
) -> Iterator[Record]:
    """Stream the rows of a source as records of a kind, or by the columns that `data` names.

    DataError at the first bad row; with `on_error` "skip" each is noted, and at the end their
    count.
    """
    skipped: list[str] = []

    def skip(reason: str) -> None:
        skipped.append(reason)
        note(reason)

    fields = AnswerFields(data.problem_field, data.answer_field)
    if fields.named:
        yield from read_answered(source, fields, data.on_error, skip)
    else:
        yield from each_row(source, lambda row, _: record_of(row, kind), data.on_error, skip)
    if skipped:
        note(f"{len(skipped)} bad lines left out of {source.origin.name}")


def record_of(row: Row, kind: RecordKind) -> Record:
    """A row as a record of a kind; ValueError where it is none."""
    fields = kind.record.model_fields.items()
    absent = [name for name, known in fields if known.is_required() and name not in row]
    if absent:
        raise ValueError(
            f"{kind.name} have {', '.join(map(repr, absent))}, and this row has the columns "
            f"{columns_shown(row)}; {kind.made_by}"
        )
    return kind.record.model_validate(row)


def require_some(prompts: PromptSet, path: object, max_prompt_length: int) -> None:
    """DataError if nothing is left to train on, saying whether lengths are the cause."""
    if prompts.prompts:
        return
    if prompts.too_long:
        raise DataError(
            f"{path}: all {prompts.too_long} prompts are longer than "
            f"{max_prompt_length} tokens; raise --max-prompt-length"
        )
    raise DataError(f"{path}: no records; expected at least one instance")


def training_records(config: SampledConfig, kind: RecordKind, note: Note) -> Iterator[Record]:
    """The records to train on: made on the spot, or read from a file."""
    if config.synthetic is not None:
        section = config.synthetic
        found = problems(config.seed, section.num_problems, section.difficulty, "train")
        return made_records(found, kind)
    source = open_part(config.data, "train")
    assert source is not None, "there is something to train on"
    return limited(load_records(source, kind, config.data, note), config.data.train_max_samples)


def heldout_records(config: SampledConfig, kind: RecordKind, note: Note) -> Iterator[Record] | None:
    """The records to evaluate on; None where there are none."""
    section = config.synthetic
    if section is not None and config.data.val_path is None:
        found = problems(config.seed, section.num_heldout, section.difficulty, "heldout")
        return made_records(found, kind)
    source = open_part(config.data, "eval")
    return None if source is None else load_records(source, kind, config.data, note)


def made_records(found: Iterable[ArithmeticProblem], kind: RecordKind) -> Iterator[Record]:
    """Arithmetic made on the spot: a record per step, or one per problem with its answer."""
    for problem in found:
        if kind.record is SrlInstance:
            yield from problem.instances()
        else:
            yield problem.prompt_answer()


def load_prompts(
    records: Iterator[Record],
    name: object,
    config: SampledConfig,
    prompts: PromptFormat,
    note: Note,
) -> PromptSet:
    """Prompts of `records`; DataError if none is left, a note of those left out."""
    limit = config.data.max_prompt_length
    found = make_prompts(records, prompts, limit)
    require_some(found, name, limit)
    if found.too_long:
        note(f"{found.too_long} prompts over {limit} tokens left out of {name}")
    spelling = [prompt for prompt in found.prompts if prompt.spelt]
    if spelling:
        note(
            f"{len(spelling)} records spell control tokens, encoded as text: "
            f"{', '.join(map(repr, spelling[0].spelt))} in record {spelling[0].id!r}"
        )
    return found


def graders_of(prompts: Iterable[TrainingPrompt]) -> dict[str, str]:
    """The graders that records name, math where one names none, each with the first record's id.

    Empty for records without answers.
    """
    found: dict[str, str] = {}
    for prompt in prompts:
        if "answer" in prompt.columns:
            found.setdefault(str(prompt.columns.get("grader") or "math"), prompt.id)
    return found
