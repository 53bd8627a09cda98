"""An engine whose completions are kept on disk, chunk by chunk: none is asked for twice.

A chunk is known by the sampler, the weights, the prompts, the seeds and how it is sampled: where
all are the same its completions are read, else they are generated and written, whole or not at all.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from srl_data.command.errors import DataError
from srl_eval.generate import Completion, Engine, Sampling
from srl_eval.generate.engine import Prompt, Ticket
from srl_eval.generate.sampling import FinishReason
from srl_grpo.run.directory import Rollout, read_rollouts, write_rollouts

SUFFIX = ".jsonl.zst"


@dataclass
class StoredEngine:
    """See the module; `folder` and `weights` are told anew whenever the weights have changed."""

    engine: Engine
    folder: Path
    weights: str
    """What tells the present weights from others."""
    sampler: Mapping[str, str]
    """What tells the engine from others; see `srl_grpo.rollout.sampler.sampler_of`."""
    _tickets: dict[Ticket, list[Completion]] = field(default_factory=dict)

    @property
    def chunk_size(self) -> int:
        """Rows of a chunk."""
        return self.engine.chunk_size

    @chunk_size.setter
    def chunk_size(self, rows: int) -> None:
        self.engine.chunk_size = rows

    @property
    def weights_version(self) -> int:
        """The engine's own count."""
        return self.engine.weights_version

    @weights_version.setter
    def weights_version(self, version: int) -> None:
        self.engine.weights_version = version

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Completion]:
        """One completion per prompt, in order, read or generated chunk by chunk."""
        size = self.chunk_size
        found: list[Completion] = []
        for start in range(0, len(prompts), size):
            rows = slice(start, start + size)
            found += self.chunk(prompts[rows], sampling, seeds[rows])
        return found

    def submit(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> Ticket:
        """Take work in; it is done at once."""
        ticket = Ticket(len(self._tickets), len(prompts))
        self._tickets[ticket] = self.generate(prompts, sampling, seeds)
        return ticket

    def collect(self, ticket: Ticket) -> list[Completion]:
        """The completions of a ticket."""
        return self._tickets.pop(ticket)

    def chunk(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Completion]:
        """The completions of one chunk."""
        path = self.folder / f"{self.key(prompts, sampling, seeds)}{SUFFIX}"
        if path.is_file():
            return read_chunk(path, len(prompts), self.weights_version)
        made = self.engine.generate(prompts, sampling, seeds)
        write_rollouts(path, records_of(made, seeds))
        return made

    def key(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> str:
        """The name of a chunk."""
        rows = [(tuple(prompt), seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        told = repr((sorted(self.sampler.items()), self.weights, sampling, rows))
        return hashlib.sha256(told.encode()).hexdigest()[:32]


def records_of(completions: Sequence[Completion], seeds: Sequence[int]) -> Iterator[Rollout]:
    """A chunk as records."""
    for completion, seed in zip(completions, seeds, strict=True):
        yield {
            "seed": seed,
            "token_ids": list(completion.token_ids),
            "logprobs": list(completion.logprobs),
            "finish_reason": completion.finish_reason,
            "stop_string": completion.stop_string,
        }


def read_chunk(path: Path, rows: int, version: int) -> list[Completion]:
    """The completions of a chunk's file; DataError where they are not all there."""
    try:
        found = [completion_of(record, version) for record in read_rollouts(path)]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not the completions of a chunk: {error}; remove it") from error
    if len(found) != rows:
        raise DataError(f"{path}: {len(found)} completions, expected {rows}; remove it")
    return found


def completion_of(record: Rollout, version: int) -> Completion:
    """A record as it was generated, by an engine whose weights are of `version`."""
    stop = record["stop_string"]
    return Completion(
        token_ids=tuple(map(int, cast(list[int], record["token_ids"]))),
        logprobs=tuple(map(float, cast(list[float], record["logprobs"]))),
        finish_reason=cast(FinishReason, record["finish_reason"]),
        weights_version=version,
        stop_string=None if stop is None else str(stop),
    )
