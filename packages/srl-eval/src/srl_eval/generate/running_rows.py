"""The rows of a chunk that still run: one forward pass per token, rows that have ended let go.

Here is what every kind of batch has; which keys a row sees, and how prompts are read, are those of
`padded_rows.py` and `shared_rows.py`.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

KEEP_SHARE = 0.75
"""The batch is rebuilt when at most this share of its rows is still running."""


class RunningRows(ABC):
    """Rows that run, made after their prompts have been read.

    `rows` are their places in the chunk, `position` (rows, 1) where the next token of each stands,
    `ended` who has drawn a stop token. `logits_BV` follow the prompts.
    """

    def __init__(self, logits_BV: Tensor, position_B1: Tensor) -> None:
        self.logits_BV = logits_BV
        self.position = position_B1
        self.rows = np.arange(len(logits_BV))
        self.ended = torch.zeros(len(logits_BV), dtype=torch.bool, device=logits_BV.device)

    @abstractmethod
    def forward(self, token_B: Tensor) -> Tensor:
        """Logits (B, V) after one more token of every row, which stands at `position`."""

    @abstractmethod
    def select(self, keep: Tensor) -> None:
        """Let the cache keep the rows at `keep` alone."""

    def step(self, token_B: Tensor) -> Tensor:
        """Logits (B, V) after one more token of every row."""
        logits_BV = self.forward(token_B)
        self.position = self.position + 1
        return logits_BV

    def retire(self, token_B: Tensor) -> Tensor:
        """Let ended rows go where it pays; the tokens of those that stay, none if all ended."""
        running = len(token_B) - int(self.ended.sum())
        if running and running > KEEP_SHARE * len(token_B):
            return token_B
        keep = (~self.ended).nonzero()[:, 0]
        if running:
            self.select(keep)
        self.rows = self.rows[keep.cpu().numpy()]
        self.position = self.position[keep]
        self.ended = self.ended[keep]
        return token_B[keep]


def neighbours(prompts: Sequence[Sequence[int]]) -> tuple[list[tuple[int, ...]], list[int]]:
    """Runs of equal prompts: each run's prompt, and for every row the run it belongs to."""
    unique: list[tuple[int, ...]] = []
    owner: list[int] = []
    for prompt, rows in groupby(map(tuple, prompts)):
        owner += [len(unique)] * len(list(rows))
        unique.append(prompt)
    return unique, owner


def accepted(model: nn.Module) -> frozenset[str]:
    """The arguments that reach a model's forward pass.

    A wrapper (`torch.compile`, an adapter) that takes any keyword hands it to the model inside, so
    that model's names count too.
    """
    parameters = inspect.signature(model.forward).parameters
    inside = wrapped_model(model)
    if inside is model or all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
        return frozenset(parameters)
    return frozenset(parameters) | frozenset(inspect.signature(inside.forward).parameters)


def wrapped_model(model: nn.Module) -> nn.Module:
    """The transformers model that a module is or wraps; the module itself where there is none."""
    inside = (module for module in model.modules() if isinstance(module, PreTrainedModel))
    return next(inside, model)
