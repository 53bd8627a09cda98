"""Evaluation of reasoning models: seeded generation, benchmarks through lm-eval, honest errors.

Everything named in `__all__` is the public API, imported when first used; `srl_eval.generate` is
the generation engines'. Nothing here imports DeepSpeed.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from srl_eval.config import EvalConfig
    from srl_eval.metrics import Metrics, Score
    from srl_eval.models import Subject, live_subject, open_subject
    from srl_eval.run import evaluate
    from srl_eval.samples import Sample, read_samples
    from srl_eval.tasks import TASKS, TaskSpec, get_task

__all__ = [
    "TASKS",
    "EvalConfig",
    "Metrics",
    "Sample",
    "Score",
    "Subject",
    "TaskSpec",
    "evaluate",
    "get_task",
    "live_subject",
    "open_subject",
    "read_samples",
]

_HOMES = {
    "config": ("EvalConfig",),
    "metrics": ("Metrics", "Score"),
    "models": ("Subject", "live_subject", "open_subject"),
    "run": ("evaluate",),
    "samples": ("Sample", "read_samples"),
    "tasks": ("TASKS", "TaskSpec", "get_task"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return value
