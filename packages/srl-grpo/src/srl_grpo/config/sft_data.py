"""What supervised fine-tuning reads: where pairs are, which columns hold what, how they are put.

Field docstrings are the flags' help. Rows become pairs in `srl_data.pairs`, pairs become token ids
in `srl_grpo.data.examples`.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from srl_data.command.config import Flag
from srl_data.pairs import PairFields
from srl_data.records import OnError
from srl_grpo.config.sections import Column, Positive, PromptSection
from srl_reward.grading import Grader
from srl_reward.thinking_marks import CLOSING, OPENING


class SftDataSection(PromptSection):
    """What is imitated."""

    path: Annotated[str | None, Flag("data")] = Field(default=None, min_length=1)
    """Pairs, chats or SRL instances: a file (.jsonl, .json, .parquet), a folder with a file for
    each split (train.jsonl, test.jsonl) or saved by `datasets`, or OWNER/NAME on the hub."""
    val_path: Annotated[str | None, Flag("val-data")] = Field(default=None, min_length=1)
    """Held-out data, of the same kinds. Default: the held-out split of --data, where it has one."""
    prompt_field: Column = None
    """The column with the prompt; default prompt. Every row has to have it, as a text."""
    response_field: Column = None
    """The column with the response to imitate; default response. Every row has to have it."""
    messages_field: Column = None
    """The column with a chat, the assistant's response its last message; default messages, where
    there are no prompt and response."""
    answer_field: Column = None
    """The column with the final answer, for eval/accuracy; default answer, or that of meta, where
    a row has one."""
    grader: Grader | None = None
    """How answers are compared; default the record's own, else math."""
    template: str | None = None
    """Prompt template: a name, a text file with {problem}, or module:function. Default: the one
    that the model was trained with, else srl for steps of SRL instances, chat for whole responses,
    or question_only where the model has no chat template."""
    unit: Literal["step", "solution"] = "step"
    """What of SRL instances is imitated: each step, or each problem's whole solution, once."""
    thinking: bool | None = None
    """Begin responses with a part in <think>. Default: for steps, for templates that ask for it,
    and where --thinking-field is given."""
    thinking_field: Column = None
    """The column, of the record or its meta, with the thinking before the response."""
    thinking_text: str = "I work out what comes next."
    """The thinking where no column has one: short and always the same, to learn the form from."""
    max_seq_len: Positive = 2048
    """Longest example in tokens: prompt, response and end token."""
    too_long: Literal["drop", "cut"] = "drop"
    """What becomes of a longer one: left out, or its response cut, without an end token. Counted
    and shown either way."""
    on_error: OnError = "fail"

    @property
    def fields(self) -> PairFields:
        """The columns by what they hold."""
        return PairFields(
            prompt=self.prompt_field,
            response=self.response_field,
            messages=self.messages_field,
            answer=self.answer_field,
            thinking=self.thinking_field,
            unit=self.unit,
        )

    @model_validator(mode="after")
    def _one_way_to_read(self) -> "SftDataSection":
        named = {
            "--prompt-field": self.prompt_field,
            "--response-field": self.response_field,
            "--messages-field": self.messages_field,
        }
        given = {flag: name for flag, name in named.items() if name}
        if self.messages_field and len(given) > 1:
            raise ValueError(
                "--messages-field is the whole chat, response included; leave it or "
                "--prompt-field and --response-field out"
            )
        if self.prompt_field and self.prompt_field == self.response_field:
            raise ValueError(
                f"--prompt-field and --response-field are both {self.prompt_field!r}; name two "
                "columns"
            )
        if given and self.unit == "solution":
            raise ValueError(
                f"--unit solution is for SRL instances, whose columns are known; leave it or "
                f"{' and '.join(given)} out"
            )
        if self.train_split and self.train_split == self.eval_split and self.val_path is None:
            raise ValueError(
                f"--train-split and --eval-split are both {self.train_split!r}; what is trained on "
                "is not held out: give two splits"
            )
        return self

    @model_validator(mode="after")
    def _thinking_is_one(self) -> "SftDataSection":
        if self.thinking is False and self.thinking_field:
            raise ValueError(
                f"--thinking-field {self.thinking_field!r} with --no-thinking; leave one of them "
                "out"
            )
        text = self.thinking_text
        if not text.strip() or OPENING.search(text) or CLOSING.search(text):
            raise ValueError(
                f"thinking_text = {text!r}: expected a short text without <think> or </think> "
                "(--thinking-text)"
            )
        return self
