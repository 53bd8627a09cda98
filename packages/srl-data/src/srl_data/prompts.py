"""Prompt templates: named, versioned, turned into chat messages.

A template takes the columns of a record and gives messages. A template's words never change under
one version: a change of words is a new version, which a checkpoint records. Left out: the model's
own chat template around them (`srl_data.chat`) and token ids (`srl_data.prompt_format`).
"""

import difflib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from srl_data.command.errors import ConfigError, DataError

Message = dict[str, str]
"""One chat message: `{"role": "system"|"user"|"assistant", "content": text}`."""

Columns = Mapping[str, object]


@dataclass(frozen=True)
class Template:
    """A way to put a record to a model.

    `stepwise`: the steps so far are shown and the answer is one step, not a whole solution; other
    templates refuse a record with previous steps. `thinks`: its words ask the model to
    think first, between `<think>` and `</think>`. `tagged`: the answer stands between `<answer>`
    and `</answer>`. `chat` None uses the tokenizer's chat template where there is one, False never
    does.
    """

    name: str
    version: int
    description: str
    build: Callable[[Columns], list[Message]]
    stepwise: bool = False
    chat: bool | None = None
    thinks: bool = False
    tagged: bool = False
    text: str | None = None
    """The words of a user's own text file; None of other templates."""
    function_sha256: str | None = None
    """Of the source of a user's own function; None of other templates."""

    @property
    def label(self) -> str:
        """Its name with its version, or with the start of the hash of a user's own words."""
        own = hashlib.sha256(self.text.encode()).hexdigest() if self.text else self.function_sha256
        return f"{self.name}/{own[:12] if own else self.version}"

    def messages(self, **columns: object) -> list[Message]:
        """Messages for one record's columns; columns without a use here are ignored.

        Raises DataError where the record has no problem, or has steps that would not be shown.
        """
        problem = columns.get("problem")
        if not isinstance(problem, str) or not problem.strip():
            msg = (
                f"template {self.name!r} needs the column 'problem' as a non-empty text, "
                f"found {problem!r} among the columns {sorted(columns)}"
            )
            raise DataError(msg)
        if not self.stepwise and (steps := steps_of(columns)):
            raise DataError(
                f"template {self.name!r} shows the problem alone, and the record has "
                f"{len(steps)} previous step{'s' if len(steps) > 1 else ''}; use --template srl, "
                "or another that shows them"
            )
        return self.build(columns)


def user(text: str) -> Message:
    """A message of the user."""
    return {"role": "user", "content": text}


def steps_of(columns: Columns) -> list[str]:
    """The expert's steps so far; none where the record has no such column."""
    steps = columns.get("previous_steps")
    return [str(step) for step in steps] if isinstance(steps, Sequence) else []


SRL_SYSTEM = """\
You solve a problem one step at a time, together with an expert. You see the problem and the steps \
that are already written.

Answer in two parts:
1. Between <think> and </think>, work out freely what should be done next and why.
2. After </think>, write the next step and nothing else: one step, with its number, in the manner \
of the steps before it. Do not repeat earlier steps and do not go on to later ones.\
"""


def srl_messages(columns: Columns) -> list[Message]:
    """Problem, steps so far, the next step's title if it is given."""
    steps = steps_of(columns)
    number = len(steps) + 1
    written = "\n\n".join(steps) if steps else "(none yet)"
    title = f' Its title is "{columns["title"]}".' if columns.get("title") else ""
    text = (
        f"Problem:\n{columns['problem']}\n\nSteps so far:\n{written}\n\n"
        f"Think, then write step {number} only.{title}"
    )
    return [{"role": "system", "content": SRL_SYSTEM}, user(text)]


def boxed_messages(columns: Columns) -> list[Message]:
    """The problem and a request for a boxed answer."""
    request = "Reason step by step and give the final answer inside \\boxed{}."
    return [user(f"{columns['problem']}\n\n{request}")]


OPEN_THINKING = "Assistant: <think>"
"""Where a transcript is left to the model: the assistant's thinking has begun."""


def r1_zero_messages(columns: Columns) -> list[Message]:
    """A transcript for a base model, open inside the assistant's thinking."""
    scene = (
        "A user asks a question and an assistant answers it. The assistant first reasons between "
        "<think> and </think>, then gives the answer between <answer> and </answer>, with the "
        "final result inside \\boxed{}: "
        "<think> reasoning </think> <answer> \\boxed{result} </answer>."
    )
    return [user(f"{scene}\n\nUser: {columns['problem']}\n\n{OPEN_THINKING}")]


def question_messages(columns: Columns) -> list[Message]:
    """The bare question."""
    return [user(str(columns["problem"]))]


def bare_messages(columns: Columns) -> list[Message]:
    """Problem and steps, one a line: the shortest form, for models of a few dozen tokens."""
    lines = [str(columns["problem"]), *steps_of(columns)]
    if columns.get("title"):
        lines.append(f"? {columns['title']}")
    return [user("".join(f"{line}\n" for line in lines))]


TEMPLATES = {
    template.name: template
    for template in (
        Template(
            "srl",
            1,
            "think, then write the next step only",
            srl_messages,
            stepwise=True,
            thinks=True,
        ),
        Template("boxed", 1, "reason, then box the final answer", boxed_messages),
        Template(
            "chat", 1, "the problem alone, as a user's message to a chat model", question_messages
        ),
        Template(
            "r1_zero",
            2,
            "think and answer tags for base models; the prompt opens <think>",
            r1_zero_messages,
            chat=False,
            thinks=True,
            tagged=True,
        ),
        Template("question_only", 1, "the question as it stands", question_messages, chat=False),
        Template(
            "bare", 1, "problem and steps, one a line", bare_messages, stepwise=True, chat=False
        ),
    )
}


TRIAL: dict[str, object] = {
    "problem": "Is 1 < 2 & \"x\" = 'é'?\nGive a reason.",
    "previous_steps": ["1. **Read** The letters differ.", "2. **Compare** 1 < 2."],
}
"""Columns of the prompt on which everything is tried: what escaping would alter is in it."""


RAW_PROMPT = Template("raw prompt", 1, "a supervised pair's own prompt", question_messages)
"""Not to be named: what the prompt of a supervised pair is put with."""


def get_template(name: str) -> Template:
    """The current version of a template; ConfigError naming the nearest one if unknown."""
    if name in TEMPLATES:
        return TEMPLATES[name]
    near = difflib.get_close_matches(name, TEMPLATES, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(
        f"unknown template {name!r}; {hint}known: {', '.join(TEMPLATES)}, or the path of a text "
        "file, or module:function"
    )


def with_roles(messages: Sequence[Message]) -> str:
    """Messages as plain text with role names: the fallback where there is no chat template."""
    parts = [f"{message['role'].capitalize()}: {message['content']}" for message in messages]
    return "\n\n".join([*parts, "Assistant:"])


def without_system(messages: Sequence[Message]) -> list[Message]:
    """System messages folded into the message after them."""
    folded: list[Message] = []
    pending = ""
    for message in messages:
        if message["role"] == "system":
            pending += f"{message['content']}\n\n"
            continue
        folded.append({**message, "content": pending + message["content"]})
        pending = ""
    return [*folded, user(pending.rstrip())] if pending else folded
