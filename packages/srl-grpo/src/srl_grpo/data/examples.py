"""Examples to imitate: pairs of a data set, rendered and encoded once.

Prompt and response are encoded apart, as generation sees them; the end token belongs to the
response. Left out: how rows become pairs (`srl_data.pairs`), and the order of training.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from srl_data.command.errors import ConfigError, DataError
from srl_data.control_tokens import ControlTokens, is_mark
from srl_data.conversations import conversation_prompt
from srl_data.manifest import Source
from srl_data.pairs import Pair, RowKind, kind_of_rows, read_pairs
from srl_data.prompt_format import Prompt, PromptFormat
from srl_data.prompts import TEMPLATES, Template
from srl_data.records import SftPair
from srl_data.responses import ResponseForm
from srl_data.sources import RowSource
from srl_eval.generate.tokenizers import comes_back, difference
from srl_grpo.config.sft_data import SftDataSection
from srl_grpo.data.parts import Part, open_part
from srl_grpo.data.prompts import Note
from srl_grpo.data.record_kinds import SRL, RecordKind
from srl_reward import is_think_prefilled


@dataclass(frozen=True)
class Example:
    """One prompt and the response to imitate, as the model sees them."""

    id: str
    text: str
    """The rendered prompt."""
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    """The end token included, once; without it where the response was cut."""
    think_prefilled: bool
    """Whether the rendered prompt ends inside an open `<think>`."""
    columns: dict[str, object]
    """What an evaluation reads: `problem`, and where the record has them `answer` and `grader`,
    `target_step`, `previous_steps`, …"""


@dataclass(frozen=True)
class ExampleSet:
    """The examples of one part of a data set, and what became of those that were too long."""

    examples: list[Example]
    source: Source
    """Where they were read from, with revision or checksum."""
    dropped: int = 0
    cut: int = 0


def kind_of_data(data: SftDataSection) -> RowKind:
    """What the rows to train on are."""
    source = open_part(data, "train")
    assert source is not None, "there is something to train on"
    return kind_of_rows(source, data.fields, data.on_error)


def record_kind(kind: RowKind, *, has_chat_template: bool) -> RecordKind:
    """The kind of record for choosing a prompt template: its default, and what does not suit it."""
    if kind == "step":
        return SRL
    template = "chat" if has_chat_template or kind == "chat" else "question_only"
    name = {"pair": "supervised pairs", "chat": "chats", "solution": "whole solutions"}[kind]
    own_words = ("boxed", "r1_zero") if kind == "chat" else ()
    return RecordKind(name, SftPair, template, unfit=("srl", "bare", *own_words))


def check_kind(kind: RowKind, trained: RowKind, source: RowSource, template: Template) -> None:
    """DataError where held-out rows are of another kind than those that are trained on.

    ConfigError where the template shows other prompts than the rows have.
    """
    if kind != trained:
        raise DataError(
            f"{source.origin.name}: its rows are of the kind {kind!r}, those that are trained on "
            f"{trained!r}; give held-out data of the same kind"
        )
    if (kind == "step") != template.stepwise:
        raise ConfigError(
            f"template {template.name!r} and rows of the kind {kind!r} ask for different answers; "
            f"give --template {'srl' if kind == 'step' else 'chat'}"
        )
    if kind == "chat" and (template.text or template.name not in ("chat", "question_only")):
        raise ConfigError(
            f"template {template.name!r} has words of its own, and a chat brings its own; give "
            "--template chat"
        )


def check_written_for(source: RowSource, form: ResponseForm) -> None:
    """ConfigError where `srl-data pairs` wrote the responses in another form than is asked for.

    That one template's answers stand in tags and another's do not is such a difference. Where
    thinking is put before the responses here, they get their form here.
    """
    label, template = source.origin.template, form.template
    if label is None or form.thinks:
        return
    written = label.rpartition("/")[0]
    known = TEMPLATES.get(written)
    if (known is not None and known.tagged) == template.tagged:
        return
    raise ConfigError(
        f"{source.origin.name}: srl-data pairs wrote its responses for --template {written}, and "
        f"this run asks by {template.name!r}, whose answers have another form; give --template "
        f"{written}, or write the pairs again with srl-data pairs --template {template.name} (to "
        "train on them as they are, remove the manifest beside the data)"
    )


def load_examples(
    data: SftDataSection,
    part: Part,
    prompts: PromptFormat,
    end_id: int,
    note: Note,
    limit: int | None = None,
) -> ExampleSet | None:
    """The examples of a part, the first `limit` records; None where nothing is held out.

    `end_id` ends each response. Raises DataError naming the row or record that cannot be used, or
    where none is left.
    """
    source = open_part(data, part)
    if source is None:
        return None
    if limit is None and part == "train":
        limit = data.train_max_samples
    kind = kind_of_rows(source, data.fields, data.on_error)
    trained = kind if part == "train" else kind_of_data(data)
    check_kind(kind, trained, source, prompts.template)
    form = response_form(data, prompts.template, kind)
    if kind == "pair" and data.response_field in (None, "response"):
        check_written_for(source, form)
    encoder = Encoder(prompts, form, end_id, data)
    found = [encoder.example(pair) for pair in islice(pairs_of(data, source, kind, note), limit)]
    examples = [example for example in found if example is not None]
    for line in encoder.notes(source.origin.name, len(examples)):
        note(line)
    if not examples:
        raise DataError(nothing_left(source, encoder, data))
    if len(encoder.lost) == len(found):
        raise DataError(
            f"{source.origin.name}: the tokenizer gives back none of the responses: in the first, "
            f"{encoder.lost[0]}; the model would learn other text: take the characters out, also "
            "of --thinking-text, or give a model that knows them"
        )
    return ExampleSet(examples, source.origin, encoder.dropped, encoder.cut)


def response_form(data: SftDataSection, template: Template, kind: str) -> ResponseForm:
    """The form of responses for a kind of rows; see `SftDataSection.thinking`."""
    asked = kind == "step" or (kind == "solution" and template.thinks)
    thinks = data.thinking if data.thinking is not None else asked or bool(data.thinking_field)
    return ResponseForm(template, thinks, data.thinking_text)


def pairs_of(data: SftDataSection, source: RowSource, kind: RowKind, note: Note) -> Iterator[Pair]:
    """The pairs of a source; rows that are skipped are noted, and at the end their count."""
    skipped: list[str] = []

    def skip(reason: str) -> None:
        skipped.append(reason)
        note(reason)

    yield from read_pairs(source, data.fields, kind, data.on_error, skip)
    if skipped and data.on_error == "skip":
        note(f"{len(skipped)} bad rows left out of {source.origin.name}")


class Encoder:
    """Pairs to examples under one template, counting what is too long and what is noteworthy."""

    def __init__(
        self, prompts: PromptFormat, form: ResponseForm, end_id: int, data: SftDataSection
    ) -> None:
        self.prompts, self.form, self.end_id, self.data = prompts, form, end_id, data
        self.control = without_marks(prompts.control)
        self.end_text = str(prompts.tokenizer.decode([end_id], skip_special_tokens=False))
        self.dropped = self.cut = self.ended = self.fixed = self.longest = 0
        self.spelt: list[str] = []
        """Ids of records that spell control tokens."""
        self.lost: list[str] = []
        """How responses that the tokenizer does not give back come out of it."""

    def example(self, pair: Pair) -> Example | None:
        """The example of a pair; None where it is too long and dropped.

        Raises DataError naming the record whose text does not come out.
        """
        try:
            prompt = self._prompt(pair)
            prefilled = is_think_prefilled(prompt.text)
            bare = replace(pair, response=self._ended(pair.response))  # before a tag closes it
            response = self._response(self.form.write(bare, think_prefilled=prefilled))
        except DataError as error:
            message = str(error)
            named = message.startswith("record ")
            raise DataError(message if named else f"record {pair.id!r}: {message}") from error
        self.fixed += self.form.thinks and pair.thinking is None
        self.spelt += [pair.id] if prompt.spelt else []
        fitted = self._fitted(prompt, response)
        if fitted is None:
            return None
        return Example(pair.id, prompt.text, prompt.ids, fitted, prefilled, self._columns(pair))

    def _prompt(self, pair: Pair) -> Prompt:
        if pair.kind == "chat":
            return conversation_prompt(self.prompts, pair.messages)
        return self.prompts.prompt(**pair.columns)

    def _columns(self, pair: Pair) -> dict[str, object]:
        if "answer" not in pair.columns:
            return pair.columns
        grader = self.data.grader or pair.columns.get("grader") or "math"
        return {**pair.columns, "grader": grader}

    def _ended(self, text: str) -> str:
        """The text without an end token's own text behind it, which many data sets write."""
        bare = text.rstrip()
        if self.end_text.strip() and bare.endswith(self.end_text.strip()):
            self.ended += 1
            return bare.removesuffix(self.end_text.strip())
        return text

    def _response(self, text: str) -> tuple[int, ...]:
        shielded, tokenizer = str(self.control.shield(text)), self.prompts.tokenizer
        ids = self.control.encode(shielded, tokenizer)
        back = str(tokenizer.decode(ids, skip_special_tokens=False))
        if not comes_back(text, back):
            self.lost.append(difference(text, back))
        return (*ids, self.end_id)

    def _fitted(self, prompt: Prompt, response: tuple[int, ...]) -> tuple[int, ...] | None:
        room = self.data.max_seq_len - len(prompt.ids)
        self.longest = max(self.longest, len(prompt.ids) + len(response))
        if len(response) <= room:
            return response
        if self.data.too_long == "drop" or room < 1:
            self.dropped += 1
            return None
        self.cut += 1
        return response[:room]

    def notes(self, name: str, kept: int) -> Iterator[str]:
        """Lines for the user about the examples of the data called `name`."""
        over = f"over {self.data.max_seq_len} tokens"
        if self.dropped:
            yield f"{self.dropped} examples {over} left out of {name}, {kept} kept"
        if self.cut:
            yield f"{self.cut} responses of {name} cut: with them examples were {over}"
        if self.fixed:
            yield f"{self.fixed} responses of {name} begin with {self.form.described}"
        if self.lost:
            yield f"{len(self.lost)} responses of {name} are read otherwise: {self.lost[0]}"
        if self.ended:
            yield f"{self.ended} responses of {name} end with {self.end_text!r}: written once"
        if self.spelt:
            yield (
                f"{len(self.spelt)} prompts of {name} spell control tokens, encoded as text; the "
                f"first in record {self.spelt[0]!r}"
            )


def without_marks(control: ControlTokens) -> ControlTokens:
    """The control tokens that a response may not hold: all but marks of thinking."""
    return replace(control, texts=tuple(text for text in control.texts if not is_mark(text)))


def nothing_left(source: RowSource, encoder: Encoder, data: SftDataSection) -> str:
    """Why there are no examples, and what to do about it."""
    name = source.origin.name
    if encoder.dropped:
        return (
            f"{name}: all {encoder.dropped} examples are over {data.max_seq_len} tokens (the "
            f"longest has {encoder.longest}); raise --max-seq-len"
        )
    return f"{name}: no examples; expected at least one good row"
