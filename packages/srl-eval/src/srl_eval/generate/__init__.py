"""Seeded generation: token ids and seeds in, completions with log-probabilities out.

Everything in `__all__` is imported when first used, so that a command's help costs neither numpy
nor torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from srl_eval.generate.engine import ChunkedEngine, Engine, Prompt, Ticket
    from srl_eval.generate.kept import KeptTokens
    from srl_eval.generate.sampling import Completion, FinishReason, Sampling
    from srl_eval.generate.seeds import seed_array, seed_for, uniforms
    from srl_eval.generate.stopping import stop_token_ids
    from srl_eval.generate.text import completion_text
    from srl_eval.generate.transformers import TransformersEngine

__all__ = [
    "ChunkedEngine",
    "Completion",
    "Engine",
    "FinishReason",
    "KeptTokens",
    "Prompt",
    "Sampling",
    "Ticket",
    "TransformersEngine",
    "completion_text",
    "seed_array",
    "seed_for",
    "stop_token_ids",
    "uniforms",
]

_HOMES = {
    "engine": ("ChunkedEngine", "Engine", "Prompt", "Ticket"),
    "kept": ("KeptTokens",),
    "sampling": ("Completion", "FinishReason", "Sampling"),
    "seeds": ("seed_array", "seed_for", "uniforms"),
    "stopping": ("stop_token_ids",),
    "text": ("completion_text",),
    "transformers": ("TransformersEngine",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return value
