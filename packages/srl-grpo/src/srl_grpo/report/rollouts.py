"""Sample rollouts for the page: which are shown, cut to size, and compared with the expert.

Rollouts are spread over the run's steps; from each step come the first groups and a few more of
the invalid ones. What the model wrote stays data: the page's script sets it as text, never as
markup.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

from srl_grpo.run.directory import Rollout, RunDirectory

MAX_STEPS, MAX_ROLLOUTS, MAX_INVALID, MAX_CHARS = 24, 16, 4, 4000
MAX_BYTES = 3_000_000
"""Bound on all rollouts of a page together; steps are left out until it holds."""
BY_CHARACTER, BY_CHARACTER_INSIDE = 200, 80
"""Longest texts compared character by character, as a whole and inside a changed passage."""

Segment = tuple[str, bool]
"""A stretch of text, and whether the other text has it too."""
Pieces = list[str]
Shown = dict[str, object]


@dataclass(frozen=True)
class Sample:
    """The rollouts on the page, how many their steps had, and how many steps there are."""

    steps: list[Shown]
    shown: int
    seen: int
    all_steps: int


def spread(steps: list[int], count: int) -> list[int]:
    """At most `count` of `steps`, evenly apart, with the first and the last."""
    if len(steps) <= count:
        return steps
    return [steps[round(i * (len(steps) - 1) / (count - 1))] for i in range(count)]


def text_of(record: Mapping[str, object], key: str) -> str:
    """A text field, cut to `MAX_CHARS` with a note of how much is missing; empty without one."""
    value = record.get(key)
    if not isinstance(value, str):
        return ""
    over = len(value) - MAX_CHARS
    return value if over <= 0 else f"{value[:MAX_CHARS]} … [{over:,} more characters]"


def number_of(record: Mapping[str, object], key: str) -> float | None:
    """A numeric field; None without one."""
    value = record.get(key)
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    return round(float(value), 4) if usable else None  # type: ignore[arg-type]  # just checked


def words(text: str) -> Pieces:
    """Text in words, runs of white space and single marks."""
    return re.findall(r"\w+|\s+|[^\w\s]", text)


def changes(a: Pieces, b: Pieces) -> Iterator[tuple[bool, str, str]]:
    """Stretches of two sequences in order: whether alike, and both texts."""
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    for tag, a1, a2, b1, b2 in matcher.get_opcodes():
        yield tag == "equal", "".join(a[a1:a2]), "".join(b[b1:b2])


def refined(a: str, b: str) -> Iterator[tuple[bool, str, str]]:
    """Two texts compared: short ones by character, long ones by word and then inside changes."""
    if max(len(a), len(b)) <= BY_CHARACTER:
        yield from changes(list(a), list(b))
        return
    for same, ours, theirs in changes(words(a), words(b)):
        if not same and 0 < len(ours) <= BY_CHARACTER_INSIDE >= len(theirs) > 0:
            yield from changes(list(ours), list(theirs))
        else:
            yield same, ours, theirs


def joined(segments: Iterable[Segment]) -> list[Segment]:
    """Neighbours of one kind made one, empty ones left out."""
    result: list[Segment] = []
    for text, same in segments:
        if text and result and result[-1][1] == same:
            result[-1] = (result[-1][0] + text, same)
        elif text:
            result.append((text, same))
    return result


def compare(ours: str, theirs: str) -> tuple[list[Segment], list[Segment]]:
    """Both texts in segments, each marked with whether the other has it."""
    parts = list(refined(ours, theirs))
    return (
        joined((a, same) for same, a, _ in parts),
        joined((b, same) for same, _, b in parts),
    )


def row(record: Rollout, prompt: int) -> Shown:
    """One rollout as the page's script wants it; `prompt` is the index of its prompt."""
    action, target = text_of(record, "action"), text_of(record, "target")
    ours, theirs = compare(action, target) if action and target else ([], [(target, True)])
    return {
        "prompt": prompt,
        "sample": record.get("sample"),
        "reward": number_of(record, "reward"),
        "advantage": number_of(record, "advantage"),
        "reason": text_of(record, "reason") or None,
        "finish": text_of(record, "finish_reason"),
        "kept": record.get("kept") is not False,
        "thinking": text_of(record, "thinking"),
        "ours": ours or [(action, True)],
        "theirs": theirs,
        "completion": "" if action else text_of(record, "completion"),
    }


def choose(records: Iterable[Rollout]) -> tuple[list[Rollout], int]:
    """The first rollouts of a step and a few more invalid ones, and how many there were."""
    chosen: list[Rollout] = []
    invalid = seen = 0
    for seen, record in enumerate(records, start=1):  # noqa: B007 - the count is the result
        if len(chosen) - invalid < MAX_ROLLOUTS:
            chosen.append(record)
        elif record.get("reason") and invalid < MAX_INVALID:
            chosen.append(record)
            invalid += 1
    return chosen, seen


def step_sample(step: int, records: Iterable[Rollout]) -> Shown:
    """The sample of one step, best reward first; prompts stand once for all their rollouts."""
    chosen, seen = choose(records)
    prompts: dict[tuple[str, str], int] = {}
    rows = []
    for record in chosen:
        key = (str(record.get("id", "")), text_of(record, "prompt"))
        rows.append(row(record, prompts.setdefault(key, len(prompts))))
    rows.sort(key=lambda item: -sort_value(item["reward"]))
    texts = [{"id": name, "text": text} for name, text in prompts]
    return {"step": step, "seen": seen, "prompts": texts, "rows": rows}


def sort_value(reward: object) -> float:
    """Where a reward stands in the order; rollouts without one come last."""
    return reward if isinstance(reward, float) else float("-inf")


def within(steps: list[Shown], limit: int) -> list[Shown]:
    """Every second step left out, the ends kept, until the JSON of the rest is within `limit`."""
    while len(steps) > 1 and len(json.dumps(steps)) > limit:
        steps = [*steps[:-1:2], steps[-1]] if len(steps) > 2 else steps[-1:]
    return steps


def count_rows(step: Shown) -> int:
    """How many rollouts of a step are shown."""
    rows = step["rows"]
    return len(rows) if isinstance(rows, list) else 0


def sample(run: RunDirectory) -> Sample:
    """The rollouts to show of a run."""
    files = run.rollout_files()
    picked = [step_sample(step, run.read_rollouts(step)) for step in spread(list(files), MAX_STEPS)]
    kept = within(picked, MAX_BYTES)
    seen = sum(int(str(step["seen"])) for step in kept)
    return Sample(kept, sum(map(count_rows, kept)), seen, len(files))
