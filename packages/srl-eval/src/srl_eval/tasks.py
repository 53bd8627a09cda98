"""The benchmarks: where their problems come from and how their answers are graded.

A task is data, not code; `problems.py` reads it and `harness.py` puts it before lm-eval.
"""

import difflib
from dataclasses import dataclass, replace

from srl_data.command.errors import ConfigError


@dataclass(frozen=True, slots=True)
class HubSource:
    """A data set on the hub: one split of some of its subsets, read one after the other.

    `revision` is the commit that is read unless the user names another; None is the newest, which
    the run resolves and records.
    """

    name: str
    split: str = "test"
    subsets: tuple[str | None, ...] = (None,)
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.revision[:7]}" if self.revision else self.name


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One benchmark.

    `hub` and `fewshot` are where its problems and its worked examples are, None where it has none;
    `size` is the number of problems, None where that is up to the file. `gold_from_solution`: the
    answer is the last box of the field `solution`.
    """

    name: str
    description: str
    grader: str
    size: int | None = None
    hub: HubSource | None = None
    fewshot: HubSource | None = None
    aliases: tuple[str, ...] = ()
    gold_from_solution: bool = False

    @property
    def harness_name(self) -> str:
        """The name within lm-eval, which has tasks of its own called aime24 and so on."""
        return f"srl_{self.name}"


_SUBJECTS = (
    *("algebra", "counting_and_probability", "geometry", "intermediate_algebra"),
    *("number_theory", "prealgebra", "precalculus"),
)
_MATH = HubSource(
    "EleutherAI/hendrycks_math",
    subsets=_SUBJECTS,
    revision="21a5633873b6a120296cce3e2df9d5550074f4a3",
)
_GSM8K = HubSource(
    "openai/gsm8k", subsets=("main",), revision="740312add88f781978c0658806c59bc2815b9866"
)
_MATH_TRAIN, _GSM8K_TRAIN = replace(_MATH, split="train"), replace(_GSM8K, split="train")

TASKS = {
    task.name: task
    for task in (
        TaskSpec(
            "aime24",
            "AIME I and II of 2024",
            "aime",
            30,
            HubSource(
                "HuggingFaceH4/aime_2024",
                split="train",
                revision="2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
            ),
            aliases=("aime2024",),
        ),
        TaskSpec(
            "aime25",
            "AIME I and II of 2025",
            "aime",
            30,
            HubSource("math-ai/aime25", revision="563bb8404243c5f09de6ec262f2db674fe5bce9b"),
            aliases=("aime2025",),
        ),
        TaskSpec(
            "amc23",
            "AMC 12 A and B of 2023",
            "boxed_integer",
            40,
            HubSource("math-ai/amc23", revision="80815d37005feb82cd7f8fbc6901d5d3eff43057"),
        ),
        TaskSpec(
            "math500",
            "500 problems of the MATH test set",
            "math",
            500,
            HubSource(
                "HuggingFaceH4/MATH-500", revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be"
            ),
            _MATH_TRAIN,
        ),
        TaskSpec(
            "math",
            "the whole MATH test set of Hendrycks et al.",
            "math",
            5000,
            _MATH,
            _MATH_TRAIN,
            gold_from_solution=True,
        ),
        TaskSpec("gsm8k", "grade school word problems", "gsm8k", 1319, _GSM8K, _GSM8K_TRAIN),
        TaskSpec(
            "minerva_math",
            "undergraduate science with numeric and symbolic answers",
            "minerva",
            272,
            HubSource("math-ai/minervamath"),
            gold_from_solution=True,
        ),
        TaskSpec(
            "olympiadbench",
            "olympiad mathematics, text only, English",
            "olympiad",
            675,
            HubSource("Hothan/OlympiadBench", split="train", subsets=("OE_TO_maths_en_COMP",)),
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
