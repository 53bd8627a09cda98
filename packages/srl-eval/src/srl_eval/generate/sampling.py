"""What to sample and what came of it: the two records every engine takes and gives.

Token ids in, token ids out; text is the caller's business, but for strings that end a completion.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from srl_eval.generate.kept import KeptTokens

FinishReason = Literal["stop", "length"]

LEAST_TEMPERATURE = 1e-6
"""Of those above 0: far below, logits over the temperature overflow float32."""


def is_temperature(value: float) -> bool:
    """Whether it can be sampled at; 0 is greedy."""
    return value == 0.0 or LEAST_TEMPERATURE <= value < float("inf")


_TEMPERATURES = f"0 (greedy) or at least {LEAST_TEMPERATURE:g}"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are drawn; one value for all rows of a call.

    `temperature` 0 is greedy decoding. `top_k` 0, `top_p` 1 and `min_p` 0 switch a filter off. The
    filters act in this order, each on what the one before it left: temperature, top-k, top-p,
    min-p, as in transformers. vLLM and a server apply min-p before the two others, and keep all
    of several tokens that are alike at the end of the k likeliest, where this keeps k. `stop` are
    texts that end a completion where its text first holds one; an engine needs its tokenizer for
    them. `record_kept` asks for `Completion.kept`.
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    stop_token_ids: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()
    record_kept: bool = False

    def __post_init__(self) -> None:
        for name, ok, expected in (
            ("max_new_tokens", self.max_new_tokens >= 1, "at least 1"),
            ("temperature", is_temperature(self.temperature), _TEMPERATURES),
            ("top_p", 0.0 < self.top_p <= 1.0, "in (0, 1]"),
            ("top_k", self.top_k >= 0, "0 (off) or above"),
            ("min_p", 0.0 <= self.min_p <= 1.0, "in [0, 1]"),
            ("stop", all(self.stop), "texts that are not empty"),
        ):
            if not ok:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected {expected}")

    @property
    def greedy(self) -> bool:
        """Whether the most likely token is taken instead of a drawn one."""
        return self.temperature == 0.0

    @property
    def filtered(self) -> bool:
        """Whether any of top-k, top-p and min-p is on."""
        return self.top_k > 0 or self.top_p < 1.0 or self.min_p > 0.0

    @property
    def records(self) -> bool:
        """Whether there are sets to record."""
        return self.record_kept and self.filtered and not self.greedy


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled continuation.

    `token_ids` holds what was sampled up to the end: when `finish_reason` is "stop", the stop token
    too, or where `stop_string` ended it, that string's tokens too, the last of which may hold text
    behind it. The text of a completion (`completion_text`) has neither. `logprobs[i]` is the
    natural log-probability of `token_ids[i]` in the distribution it was drawn from: after
    temperature and the filters. For greedy decoding it is that of temperature 1, unfiltered.
    `weights_version` is the engine's at the time of sampling. `kept` has the set of tokens that
    each token was drawn from, where `Sampling.record_kept` asks for it and a filter is on.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: FinishReason
    weights_version: int
    stop_string: str | None = None
    kept: "KeptTokens | None" = None
