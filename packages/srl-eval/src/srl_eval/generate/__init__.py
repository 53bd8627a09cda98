"""Seeded generation: token ids and seeds in, completions with log-probabilities out.

`TransformersEngine` is imported from here lazily, so that `Sampling`, `Completion` and `seed_for`
cost no torch import.
"""

from typing import TYPE_CHECKING

from srl_eval.generate.engine import ChunkedEngine, Engine, Prompt, Ticket
from srl_eval.generate.sampling import Completion, FinishReason, Sampling
from srl_eval.generate.seeds import seed_array, seed_for, uniforms
from srl_eval.generate.text import completion_text

if TYPE_CHECKING:
    from srl_eval.generate.transformers import TransformersEngine

__all__ = [
    "ChunkedEngine",
    "Completion",
    "Engine",
    "FinishReason",
    "Prompt",
    "Sampling",
    "Ticket",
    "TransformersEngine",
    "completion_text",
    "seed_array",
    "seed_for",
    "uniforms",
]


def __getattr__(name: str) -> object:
    if name == "TransformersEngine":
        from srl_eval.generate.transformers import TransformersEngine

        return TransformersEngine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
