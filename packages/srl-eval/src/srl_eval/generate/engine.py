"""The seam between those who want completions and those who make them.

An engine takes token ids, a `Sampling` and one seed per row, and gives one `Completion` per row, in
order. `submit` and `collect` lie beneath `generate`, so that work can overlap with training where
an engine is able to. The unit of work is a chunk: consecutive rows of the work list, `chunk_size`
at a time. Batch shape moves logits by about 1e-7 and so may flip a token; since a chunk's
composition depends on the work list and `chunk_size` alone, a chunk that is redone gives the same
completions.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from srl_data.command.errors import DataError
from srl_eval.generate.sampling import Completion, Sampling
from srl_eval.generate.text import Decoder

_ticket_numbers = itertools.count()

Prompt = Sequence[int]


@dataclass(frozen=True, slots=True)
class Ticket:
    """A claim on submitted work; collect it once."""

    number: int
    rows: int


class Completer(Protocol):
    """Anything that completes token ids at once."""

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Completion]:
        """One completion per prompt, in order."""
        ...


@runtime_checkable
class Engine(Completer, Protocol):
    """A completer whose work can be submitted and collected later.

    `weights_version` counts its weight updates; `generate` is `collect(submit(...))`.
    """

    weights_version: int
    chunk_size: int

    def submit(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> Ticket:
        """Take work in. `Completion.weights_version` tells which weights came to sample it."""
        ...

    def collect(self, ticket: Ticket) -> list[Completion]:
        """Wait for the work behind a ticket. A ticket can be collected once."""
        ...


class PromptTooLongError(DataError, ValueError):
    """A prompt that leaves too little room for its completion in the model's window."""


class ChunkedEngine(ABC):
    """Work list to chunks, for engines that run one chunk at a time in the caller's own process.

    Sampling happens inside `submit`: the weights may have changed by the time of `collect`.
    `decoder` is the model's tokenizer, which only stop strings need. `records_kept` says whether
    `run_chunk` can give `Completion.kept`.
    """

    records_kept: ClassVar[bool] = False

    def __init__(self, chunk_size: int, decoder: Decoder | None = None) -> None:
        if chunk_size < 1:
            raise ValueError(f"chunk_size is {chunk_size!r}, expected at least 1")
        self.chunk_size = chunk_size
        self.decoder = decoder
        self.weights_version = 0
        self._finished: dict[Ticket, list[Completion]] = {}

    @property
    def max_length(self) -> int | None:
        """Prompt and completion together, at most; None where no limit is known."""
        return None

    @abstractmethod
    def run_chunk(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Completion]:
        """Complete at most `chunk_size` rows in one batch."""

    def check(self, prompts: Sequence[Prompt], sampling: Sampling) -> None:
        """Raise ValueError for work that this engine cannot do, before any of it is begun.

        That is an empty prompt, one too long for the model's window (PromptTooLongError), stop
        strings without a tokenizer, or a record of filters that it does not keep.
        """
        if sampling.records and not self.records_kept:
            raise ValueError(
                f"{type(self).__name__} does not tell which tokens top_k, top_p and min_p left to "
                "draw from, which training on its completions needs; switch them off (0, 1, 0), or "
                "take the transformers engine"
            )
        if sampling.stop and self.decoder is None:
            raise ValueError(f"stop strings {sampling.stop} need the engine's decoder: give one")
        lengths = [len(prompt) for prompt in prompts]
        if 0 in lengths:
            raise ValueError(f"prompt {lengths.index(0)} is empty, expected at least one token id")
        longest, limit = max(lengths, default=0), self.max_length
        if limit is not None and longest + sampling.max_new_tokens > limit:
            raise PromptTooLongError(
                f"prompt {lengths.index(longest)} has {longest} tokens and max_new_tokens is "
                f"{sampling.max_new_tokens}, together {longest + sampling.max_new_tokens}; "
                f"the model takes {limit}: lower max_new_tokens or leave the prompt out"
            )

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Completion]:
        """One completion a prompt, in order."""
        return self.collect(self.submit(prompts, sampling, seeds))

    def submit(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> Ticket:
        """Run the work, chunk after chunk, and keep the result for `collect`."""
        if len(prompts) != len(seeds):
            raise ValueError(f"{len(prompts)} prompts, {len(seeds)} seeds: expected one a row")
        self.check(prompts, sampling)
        completions: list[Completion] = []
        for start in range(0, len(prompts), self.chunk_size):
            rows = slice(start, start + self.chunk_size)
            completions += self.run_chunk(prompts[rows], sampling, seeds[rows])
        ticket = Ticket(next(_ticket_numbers), len(prompts))
        self._finished[ticket] = completions
        return ticket

    def collect(self, ticket: Ticket) -> list[Completion]:
        """The completions of a ticket."""
        try:
            return self._finished.pop(ticket)
        except KeyError:
            reason = f"{ticket!r} is not outstanding: unknown here, or collected before"
            raise KeyError(reason) from None
