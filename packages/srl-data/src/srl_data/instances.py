"""From a solution's steps to SRL instances: which steps become targets, and their records.

How a text is cut into steps is `srl_reward`'s; where solutions come from is the builders'.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from srl_data.records import SrlInstance

Targets = Literal["2..N", "1..N-1", "all"]
"""Which of a solution's N steps are to be predicted; `1..N-1` is the paper's choice."""


def target_indices(targets: Targets, num_steps: int) -> range:
    """1-based positions of the steps to predict among `num_steps`."""
    first = 2 if targets == "2..N" else 1
    last = num_steps - 1 if targets == "1..N-1" else num_steps
    return range(first, last + 1)


def step_instance(
    name: str,
    problem: str,
    steps: Sequence[str],
    index: int,
    *,
    title: str | None = None,
    meta: Mapping[str, object] | None = None,
) -> SrlInstance:
    """The instance `NAME/index` whose target is the 1-based step `index`.

    `title` is what the prompt gives away of the target; None gives nothing away.
    """
    return SrlInstance(
        id=f"{name}/{index}",
        problem=problem,
        previous_steps=list(steps[: index - 1]),
        target_step=steps[index - 1],
        step_index=index,
        num_steps=len(steps),
        title=title,
        meta=dict(meta or {}),
    )
