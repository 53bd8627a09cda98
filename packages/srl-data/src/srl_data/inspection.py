"""`srl-data inspect FILE`: what a data file holds, and its records as the model will see them.

Lengths are in characters, and in tokens where a tokenizer is named. Records stream; only their
lengths are kept.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, cast

from pydantic import Field

from srl_data.chat import Tokenizer
from srl_data.command.config import Positional
from srl_data.command.errors import ConfigError, DataError
from srl_data.command.progress import track
from srl_data.listing import Listed
from srl_data.manifest import manifest_path, read_manifest
from srl_data.own_templates import open_template
from srl_data.prompt_format import PromptFormat, open_prompts
from srl_data.prompt_record import ChatSection, PromptRecord, chat_options, read_record
from srl_data.prompts import RAW_PROMPT, Template, with_roles
from srl_data.records import (
    OnError,
    PromptAnswer,
    Record,
    SftPair,
    SrlInstance,
)
from srl_data.sources import RowSource, records_of, refuse_row
from srl_data.splits import open_source
from srl_data.template_choice import ChosenTemplate, choose_template

BLOCKS = "▁▂▃▄▅▆▇█"
KINDS: dict[str, tuple[type[Record], str]] = {
    "target_step": (SrlInstance, "srl"),
    "response": (SftPair, RAW_PROMPT.name),
    "answer": (PromptAnswer, "boxed"),
}
"""The field that tells a kind of record, its class, and the template it is usually put in."""


class InspectConfig(ChatSection):
    """Config of `srl-data inspect`."""

    file: Annotated[Path, Positional()]
    """SRL instances, prompts with answers, or supervised pairs, in any format that is read."""
    show: int = Field(default=3, ge=0)
    """Records to render as the model will see them, evenly spread over the file."""
    template: str | None = None
    """Prompt template: a name, a text file with {problem}, or module:function. Default: as the
    checkpoint of --tokenizer records, else srl for instances, boxed for prompts with answers."""
    tokenizer: str | None = None
    """A model's folder or hub id: counts tokens and renders through its chat template."""
    on_error: OnError = "fail"


@dataclass
class Findings:
    """What one pass over a file gathers."""

    kind: str
    template: str
    manifest: str
    records: int = 0
    problems: set[int] = field(default_factory=set)
    """Hashes of the distinct problems."""
    lengths: dict[str, list[int]] = field(default_factory=dict)
    skipped: Listed = field(default_factory=Listed)
    notes: list[str] = field(default_factory=list)
    """How the model's chat template takes the prompts."""
    shown: list[tuple[str, str, str]] = field(default_factory=list)
    """Id, prompt and expected answer of the rendered records."""

    def note(self, name: str, length: int) -> None:
        """Add one length to a distribution."""
        self.lengths.setdefault(name, []).append(length)


def kind_of(source: RowSource, on_error: OnError = "fail") -> tuple[type[Record], str]:
    """The class of a file's records and their template, told by the first record's fields.

    With `on_error` "skip", by the first that is of a known kind.
    """
    strangers: list[str] = []
    for position, value in source.read(on_error, lambda _: None):
        for name, kind in KINDS.items():
            if name in value:
                return kind
        reason = (
            f"no record of a known kind: none of the fields {', '.join(KINDS)} "
            f"among {', '.join(sorted(value))}"
        )
        refuse_row(source, position, reason, strangers.append if on_error == "skip" else None)
    if strangers:
        raise DataError(f"{strangers[0]}; nor is any other line")
    raise DataError(f"{source.origin.name} holds no records; expected one JSON object per line")


def load_tokenizer(name: str) -> Tokenizer:
    """A tokenizer by folder or hub id, through transformers where that is installed."""
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise ConfigError("--tokenizer needs transformers: pip install transformers") from error
    try:
        # transformers types its tokenizers more loosely than our protocol asks.
        return cast(Tokenizer, AutoTokenizer.from_pretrained(name))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"cannot load a tokenizer from {name!r}: {reason}") from error


def columns_of(record: Record) -> dict[str, object]:
    """A record's columns for the template; a supervised pair's prompt is its problem."""
    if isinstance(record, SftPair):
        return {"problem": record.prompt}
    return record.model_dump(exclude={"id", "meta"})


def expected_of(record: Record) -> str:
    """What the record wants to see as the answer."""
    if isinstance(record, SrlInstance):
        return record.target_step
    return record.response if isinstance(record, SftPair) else cast(PromptAnswer, record).answer


def template_for(config: InspectConfig, kind: type[Record], usual: str) -> ChosenTemplate:
    """The template that is named, else that of the checkpoint, else the `usual` one of the kind.

    A recorded one that does not show the steps of instances is passed over.
    """
    folder, recorded = recorded_beside(config)
    if recorded is None or config.template is not None:
        return choose_template(config.template, recorded, folder, usual)
    chosen = choose_template(None, recorded, folder, usual)
    if kind is SrlInstance and not chosen.template.stepwise:
        note = f"template {usual!r}: that of {folder}, {recorded.name!r}, shows no steps"
        return ChosenTemplate(open_template(usual), note)
    return chosen


def recorded_beside(config: InspectConfig) -> tuple[Path, PromptRecord | None]:
    """The folder of the named tokenizer, and how its model was prompted if that is recorded."""
    folder = Path(config.tokenizer or "")
    return folder, read_record(folder) if config.tokenizer and folder.is_dir() else None


def open_tokenizer(config: InspectConfig, template: Template) -> PromptFormat | None:
    """How the named tokenizer's model is prompted; None where none is named."""
    if config.tokenizer is None:
        if config.chat_template not in ("auto", "off") or config.chat_template_kwargs:
            raise ConfigError("--chat-template needs --tokenizer, whose chat template it is about")
        return None
    options = chat_options(config, recorded_beside(config)[1])
    return open_prompts(load_tokenizer(config.tokenizer), template, options, config.tokenizer)


def plain_prompt(config: InspectConfig, template: Template, record: Record) -> str:
    """The prompt as a model without a chat template sees it."""
    try:
        messages = template.messages(**columns_of(record))
    except DataError as error:
        raise DataError(f"record {record.id!r}: {error}") from error
    if template.chat is False or config.chat_template == "off":
        return "\n\n".join(message["content"] for message in messages)
    return with_roles(messages)


def spread(count: int, show: int) -> set[int]:
    """`show` positions evenly over `count` records, the first and the last among them."""
    if show <= 1 or count <= show:
        return set(range(min(show, count)))
    return {round(index * (count - 1) / (show - 1)) for index in range(show)}


def manifest_line(path: Path) -> str:
    """What the manifest says of the file, or what is wrong with it."""
    try:
        manifest = read_manifest(path)
    except DataError as error:
        return f"does not hold: {error}"
    if manifest is None:
        return f"none ({manifest_path(path).name} is missing)"
    source = manifest.source.name
    revision = f" at {manifest.source.revision}" if manifest.source.revision else ""
    return f"verified; {manifest.command} from {source}{revision}"


def measure(
    findings: Findings, record: Record, prompt: str, ids: Sequence[int], tokenizer: Tokenizer | None
) -> None:
    """Add one record's counts and lengths."""
    findings.records += 1
    expected = expected_of(record)
    problem = record.prompt if isinstance(record, SftPair) else str(getattr(record, "problem", ""))
    findings.problems.add(hash(problem))
    findings.note("problem, characters", len(problem))
    findings.note("prompt, characters", len(prompt))
    findings.note("answer, characters", len(expected))
    if isinstance(record, SrlInstance):
        findings.note("steps in the solution", record.num_steps)
    if tokenizer is not None:
        findings.note("prompt, tokens", len(ids))
        findings.note("answer, tokens", len(tokenizer.encode(expected, add_special_tokens=False)))


def inspect(config: InspectConfig) -> Findings:
    """Read the file once and gather its findings. Raises DataError at a bad record."""
    source = open_source(config.file)
    kind, usual = kind_of(source, config.on_error)
    raw = kind is SftPair
    chosen = ChosenTemplate(RAW_PROMPT) if raw else template_for(config, kind, usual)
    template = chosen.template
    prompts = open_tokenizer(config, template)
    findings = Findings(kind.__name__, template.name, manifest_line(config.file))
    findings.notes += [chosen.note] if chosen.note else []
    findings.notes += prompts.notes if prompts else ()
    count = sum(1 for _ in records_of(source, kind, config.on_error))
    wanted = spread(count, config.show)
    records = records_of(source, kind, config.on_error, findings.skipped.add)
    for index, record in enumerate(track(records, "reading", count, unit="records")):
        if prompts is None:
            prompt = plain_prompt(config, template, record)
            measure(findings, record, prompt, (), None)
        else:
            prompt = show_prompt(findings, record, prompts)
        if index in wanted:
            findings.shown.append((record.id, prompt, expected_of(record)))
    if not findings.records:
        raise DataError(
            f"{config.file} holds no good record; the first: {findings.skipped.first[0]}"
        )
    return findings


def show_prompt(findings: Findings, record: Record, prompts: PromptFormat) -> str:
    """Measure one record as a tokenizer reads it, and give its prompt."""
    try:
        prompt = prompts.prompt(**columns_of(record))
    except DataError as error:
        raise DataError(f"record {record.id!r}: {error}") from error
    if prompt.spelt:
        spelt = ", ".join(map(repr, prompt.spelt))
        findings.notes.append(f"record {record.id!r} spells {spelt}, which is encoded as text")
    measure(findings, record, prompt.text, prompt.ids, prompts.tokenizer)
    return prompt.text


def quantiles(lengths: Sequence[int]) -> Mapping[str, int]:
    """Minimum, deciles and the like of a distribution."""
    ordered = sorted(lengths)
    names = {"min": 0.0, "10 %": 0.1, "median": 0.5, "90 %": 0.9, "99 %": 0.99, "max": 1.0}
    values = {name: ordered[round(q * (len(ordered) - 1))] for name, q in names.items()}
    return {**values, "mean": round(statistics.fmean(ordered))}


def histogram(lengths: Sequence[int], bins: int = 12) -> str:
    """A line of blocks: the distribution between its minimum and its 99th percentile."""
    low, high = min(lengths), quantiles(lengths)["99 %"]
    width = max((high - low + 1) / bins, 1)
    counts = [0] * bins
    for length in lengths:
        counts[min(int((min(length, high) - low) / width), bins - 1)] += 1
    top = max(counts)
    return "".join(BLOCKS[-(-count * (len(BLOCKS) - 1) // top)] for count in counts)


def first_lines(lines: Sequence[str], count: int = 10) -> Iterator[str]:
    """The first lines and how many there are beyond."""
    yield from islice(lines, count)
    if len(lines) > count:
        yield f"… and {len(lines) - count} more"
