"""`srl-data render-eval`: problems with answers as the prompts that a model reads, and their golds.

For an evaluator that must not depend on templates: each record has the whole prompt as text, the
gold answer, and its value where it is a number. The prompts are those of `srl-eval` and training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import Field

from srl_data.answered import AnswerFields, answered
from srl_data.command.config import Flag
from srl_data.command.errors import ConfigError, DataError
from srl_data.inspection import load_tokenizer
from srl_data.manifest import Manifest, with_manifests, write_manifest
from srl_data.passes.chunks import NumberedRow
from srl_data.passes.draft import Tally
from srl_data.passes.run import Pass, PassSection, run_pass
from srl_data.passes.workers import Outcome
from srl_data.prompt_format import Prompt, PromptFormat, open_prompts
from srl_data.prompt_record import ChatOptions, ChatSection, chat_options, read_record
from srl_data.prompts import Template
from srl_data.question_columns import first_rows, question_column
from srl_data.records import OnError, encode_object
from srl_data.sources import RowSource
from srl_data.splits import check_outputs, open_source
from srl_data.template_choice import ChosenTemplate, choose_template
from srl_reward import extract_gsm8k_answer
from srl_reward.numbers import parse_quantity

COMMAND = "srl-data render-eval"
RENDERED = "rendered"
PLAIN, SPECIAL, OTHERWISE = "read as they are", "read with special tokens", "read otherwise"
"""How a plain encoding of a prompt's text gives its token ids."""


class RenderConfig(ChatSection, PassSection):
    """Config of `srl-data render-eval`."""

    model: str = Field(min_length=1)
    """A model's folder, or its name on the hub; only its tokenizer is loaded."""
    source: Annotated[str, Flag(aliases=("infile",))] = Field(min_length=1)
    """Problems with answers, or pairs whose meta holds them: a file (JSON, JSON Lines, CSV,
    Parquet, Arrow), a glob, a folder, or a data set on the hub."""
    output: Annotated[Path, Flag(aliases=("outfile",))]
    """Where the rendered records go, with a manifest beside."""
    revision: str | None = None
    """Commit, branch or tag of a hub data set."""
    template: str | None = None
    """Prompt template: a name, a text file with {problem}, or module:function. Default: as the
    checkpoint records, else boxed."""
    problem_field: str | None = None
    """The column with the problem. Default: prompt, problem, question or instruction."""
    answer_field: str | None = None
    """The column with the answer, of the record or its meta. Default: answer. Of a solution in
    GSM8K's form it is the number behind ####."""
    on_error: OnError = "fail"


@dataclass(frozen=True)
class RenderReport:
    """What was written, and what the user should know of it."""

    tally: Tally
    manifest: Manifest
    notes: tuple[str, ...]

    @property
    def special(self) -> bool | None:
        """With which `add_special_tokens` the prompts' texts give their ids; None for neither."""
        found = self.tally.counts
        if found.get(PLAIN):
            return None if found.get(SPECIAL) else False
        return True if found.get(SPECIAL) else None


def number_of(gold: str) -> int | float | None:
    """The value of a gold answer that is a number; fractions as floats."""
    value = parse_quantity(gold, is_bare_unit=False)
    if value is None:
        return None
    if value.denominator == 1 and value.numerator.bit_length() < 64:
        return value.numerator
    try:
        return float(value)
    except OverflowError:
        return None


@dataclass(frozen=True)
class Renderer:
    """Renders records; the worker of one process."""

    prompts: PromptFormat
    fields: AnswerFields

    def __call__(self, rows: Sequence[NumberedRow]) -> Outcome:
        """The rows as rendered lines."""
        outcome = Outcome()
        for position, row in rows:
            try:
                record = answered(row, f"row-{position:05d}", self.fields)
                prompt = self.prompts.prompt(problem=record.problem)
            except (ValueError, DataError) as error:
                outcome.refused.append((position, str(error)))
                continue
            gold = extract_gsm8k_answer(record.answer) or record.answer
            fields = {
                "id": record.id,
                "prompt": prompt.text,
                "gold": gold,
                "gold_num": number_of(gold),
                "problem": record.problem,
                "grader": record.grader,
                "meta": record.meta,
            }
            outcome.write(RENDERED, encode_object(fields))
            outcome.counts[RENDERED] += 1
            outcome.counts["gold_num"] += fields["gold_num"] is not None
            outcome.counts[self._reading(prompt)] += 1
        return outcome

    def _reading(self, prompt: Prompt) -> str:
        """How an evaluator that encodes the text gets the prompt's token ids."""
        encode = self.prompts.tokenizer.encode
        for name, special in ((PLAIN, False), (SPECIAL, True)):
            if tuple(encode(prompt.text, add_special_tokens=special)) == prompt.ids:
                return name
        return OTHERWISE


def open_format(model: str, template: Template, options: ChatOptions) -> PromptFormat:
    """How a model is prompted."""
    return open_prompts(load_tokenizer(model), template, options, model)


def open_renderer(config: RenderConfig, options: ChatOptions, fields: AnswerFields) -> Renderer:
    """The worker of one process."""
    template = template_of(config).template
    return Renderer(open_format(config.model, template, options), fields)


def template_of(config: RenderConfig) -> ChosenTemplate:
    """The template that is named, else that of the checkpoint, else `boxed`.

    Raises ConfigError for one that asks for a single step.
    """
    folder = Path(config.model)
    recorded = read_record(folder) if folder.is_dir() else None
    chosen = choose_template(config.template, recorded, folder, "boxed")
    if chosen.template.stepwise:
        raise ConfigError(
            f"template {chosen.template.name!r} asks for one step, and the golds are final "
            "answers; give --template boxed, or another that asks for them"
        )
    return chosen


def render(config: RenderConfig) -> RenderReport:
    """Write the rendered records and their manifest; DataError at the first bad row."""
    check_outputs(with_manifests([config.output]), config.source)
    chosen = template_of(config)
    folder = Path(config.model)
    options = chat_options(config, read_record(folder) if folder.is_dir() else None)
    prompts = open_format(config.model, chosen.template, options)
    source = open_source(config.source, config.revision)
    fields = fields_of(config, source)
    given = config.model_dump(mode="json", exclude={"source", "output", "workers"})
    given |= {"problem_field": fields.problem, "template": chosen.template.label}
    given |= {"prompt_format": prompts.record.model_dump(mode="json")}
    work = Pass(
        COMMAND,
        source,
        {RENDERED: config.output},
        given,
        config.on_error,
        config.workers,
        # A tokenizer of the hub, or one that was saved anew, is not known by its name.
        resumable=prompts.record.prompt_sha256 is not None,
    )
    tally = run_pass(work, partial(open_renderer, config, options, fields), check_rendered)
    report_notes = (*([chosen.note] if chosen.note else []), *prompts.notes)
    manifest = write_manifest(
        config.output,
        command=COMMAND,
        source=source.origin,
        options={**given, "turn_end": prompts.turn_end.text},
        counts={"rows_read": tally.taken, "rows_skipped": tally.skipped.count, **tally.counts},
        records=tally.counts[RENDERED],
    )
    return RenderReport(tally, manifest, report_notes)


def fields_of(config: RenderConfig, source: RowSource) -> AnswerFields:
    """The columns of problem and answer; DataError where there is no problem's."""
    rows = first_rows(source, config.on_error)
    problem = config.problem_field or question_column(source, rows, "--problem-field")
    return AnswerFields(problem, config.answer_field)


def check_rendered(tally: Tally) -> None:
    """DataError where no row could be rendered."""
    if not tally.counts.get(RENDERED):
        raise DataError(f"no good row; the first: {tally.skipped.first[0]}")
