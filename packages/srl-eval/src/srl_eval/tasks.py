"""The benchmarks: where their problems come from and how their answers are graded.

A task is data, not code; `problems.py` reads it and `harness.py` puts it before lm-eval.
"""

import difflib
from dataclasses import dataclass
from pathlib import Path

from srl_data.errors import ConfigError
from srl_data.records import read_objects
from srl_eval.grading import get_grader


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One benchmark.

    `hub`, `subset`, `split` name the data set on the hub, empty where there is none; `size` is the
    number of problems, None where that is up to the file. `gold_from_solution`: the answer is the
    last box of the field `solution`.
    """

    name: str
    description: str
    grader: str
    size: int | None = None
    hub: str = ""
    subset: str = ""
    split: str = "test"
    aliases: tuple[str, ...] = ()
    gold_from_solution: bool = False

    @property
    def harness_name(self) -> str:
        """The name within lm-eval, which has tasks of its own called aime24 and so on."""
        return f"srl_{self.name}"


TASKS = {
    task.name: task
    for task in (
        TaskSpec(
            "aime24", "AIME I and II of 2024", "aime", 30, "HuggingFaceH4/aime_2024", split="train"
        ),
        TaskSpec(
            "aime25", "AIME I and II of 2025", "aime", 30, "math-ai/aime25", aliases=("aime2025",)
        ),
        TaskSpec("amc23", "AMC 12 A and B of 2023", "boxed_integer", 40, "math-ai/amc23"),
        TaskSpec(
            "math500",
            "500 problems of the MATH test set",
            "math",
            500,
            "HuggingFaceH4/MATH-500",
            aliases=("math",),
        ),
        TaskSpec("gsm8k", "grade school word problems", "gsm8k", 1319, "openai/gsm8k", "main"),
        TaskSpec(
            "minerva_math",
            "undergraduate science with numeric and symbolic answers",
            "minerva",
            272,
            "math-ai/minervamath",
            gold_from_solution=True,
        ),
        TaskSpec(
            "olympiadbench",
            "olympiad mathematics, text only, English",
            "olympiad",
            675,
            "Hothan/OlympiadBench",
            "OE_TO_maths_en_COMP",
            "train",
        ),
        TaskSpec("arithmetic", "problems of `srl-data synth arithmetic`", "boxed_integer"),
    )
}


def get_task(name: str) -> TaskSpec:
    """A task by name or alias; ConfigError naming the nearest one if unknown."""
    for task in TASKS.values():
        if name in {task.name, *task.aliases}:
            return task
    near = difflib.get_close_matches(name, TASKS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"unknown task {name!r}; {hint}known: {', '.join(TASKS)}")


def file_task(path: Path, grader: str | None) -> TaskSpec:
    """The task that a file of problems is; ConfigError for an unknown grader.

    Without `grader` it is the one that the first record names, else math.
    """
    if grader is None:
        first = next(iter(read_objects(path)), (0, {}))[1] if path.suffix != ".json" else {}
        grader = str(first.get("grader") or "math")
    return TaskSpec(path.stem, f"problems of {path.name}", get_grader(grader).name)
