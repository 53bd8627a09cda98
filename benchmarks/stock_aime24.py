"""lm-eval's own task `aime24` and ours on the same stored responses: where they differ, and why.

Both get what a run stores, texts by problem: 30 problems, each answered in the ways models write,
rightly and wrongly. The stock task is loaded from lm-eval's own YAML with its data set replaced by
a local file, and lm-eval's evaluator runs its `process_results` over a model that reads the texts
out. No model wrote them, so how often the two differ says nothing about any model; each way they
differ in does.

    SRL_TEST_DATA=… python benchmarks/stock_aime24.py --output docs/benchmarks/stock-aime24.md
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import lm_eval.tasks
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from srl_data.records import PromptAnswer
from srl_eval.grading import Candidate, Gold, Verdict, get_grader, judge
from srl_eval.problems import load_problems
from srl_eval.tasks import get_task

Write = Callable[[int, int], str]


@dataclass(frozen=True)
class Way:
    """A way to write an answer: `write(right, wrong)`, whether that is right, and why."""

    name: str
    is_right: bool
    write: Write
    reason: str


WAYS = [
    Way("plain box", True, lambda a, _: f"So $\\boxed{{{a}}}$.", "the form that is asked for"),
    Way("final line", True, lambda a, _: f"The final answer is: $\\boxed{{{a}}}$", "the same"),
    Way("three digits", True, lambda a, _: f"\\boxed{{{a:03d}}}", "as on AIME's answer sheet"),
    Way("stop in the box", True, lambda a, _: f"\\boxed{{{a}.}}", "a sentence's stop"),
    Way("decimal zero", True, lambda a, _: f"\\boxed{{{a}.0}}", "the same number"),
    Way("as text", True, lambda a, _: f"\\boxed{{\\text{{{a}}}}}", "the same number"),
    Way("bold", True, lambda a, _: f"\\boxed{{\\mathbf{{{a}}}}}", "the same number"),
    Way("long unknown", True, lambda a, _: f"\\boxed{{m+n = {a}}}", "what AIME asks for"),
    Way("short unknown", True, lambda a, _: f"\\boxed{{n={a}}}", "the same number"),
    Way("degrees", True, lambda a, _: f"\\boxed{{{a}^\\circ}}", "the same number"),
    Way("fbox", True, lambda a, _: f"\\fbox{{{a}}}", "MATH's other box"),
    Way("space before the brace", True, lambda a, _: f"\\boxed {{{a}}}", "TeX skips it"),
    Way(
        "thought first",
        True,
        lambda a, w: f"<think>\\boxed{{{w}}}? No.</think> \\boxed{{{a}}}",
        "the last box",
    ),
    Way(
        "unclosed first",
        True,
        lambda a, w: f"\\boxed{{{w}; \\boxed{{{a}}}",
        "the last complete box",
    ),
    Way(
        "unclosed last", True, lambda a, w: f"\\boxed{{{a}}}, \\boxed{{{w}", "the last complete box"
    ),
    Way(
        "dollars behind", True, lambda a, w: f"\\boxed{{{a}}} as $x={w}$.", "the box is the answer"
    ),
    Way("wrong box", False, lambda _, w: f"So $\\boxed{{{w}}}$.", "another number"),
    Way("changed mind", False, lambda a, w: f"\\boxed{{{a}}}, no: \\boxed{{{w}}}", "the last box"),
    Way("no box, dollars", False, lambda a, _: f"The answer is ${a}$, as $1=1$.", "no box"),
    Way("no box, bare", False, lambda a, _: f"{a}", "no box"),
    Way("cut off", False, lambda a, _: f"Then it is \\boxed{{{a}", "no complete box"),
    Way("percent", False, lambda a, _: f"\\boxed{{{a}\\%}}", "another number"),
    Way("currency", False, lambda a, _: f"\\boxed{{\\${a}}}", "AIME asks for a number"),
    Way("unit", False, lambda a, _: f"\\boxed{{{a}\\text{{ cm}}}}", "AIME asks for a number"),
    Way("two answers", False, lambda a, w: f"\\boxed{{{a}, {w}}}", "two answers"),
    Way("signs apart", False, lambda a, _: f"\\boxed{{{a // 10} {a % 10}}}", "two numbers"),
]


class StoredResponses(LM):  # type: ignore[misc]  # lm-eval is untyped
    """A model that reads out texts, one a problem."""

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__()
        self._texts = texts

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """The stored text of each problem."""
        return [self._texts[request.doc_id] for request in requests]

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Not asked for."""
        raise NotImplementedError(f"{len(requests)} log-likelihoods asked of stored texts")

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Not asked for."""
        raise NotImplementedError(f"{len(requests)} log-likelihoods asked of stored texts")


def stock_verdicts(problems: Sequence[PromptAnswer], texts: Sequence[str]) -> list[bool]:
    """What lm-eval's task says of one text a problem; it runs the task's own process_results."""
    rows = [{"Problem": problem.problem, "Answer": int(problem.answer)} for problem in problems]
    stock = Path(lm_eval.tasks.__file__).with_name("aime") / "aime24.yaml"
    with tempfile.TemporaryDirectory() as folder:
        data, task = Path(folder, "data.json"), Path(folder, "stock_aime24.yaml")
        data.write_text(json.dumps(rows))
        # JSON is YAML: lm-eval's own file, but for the place of its data.
        local = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"train": str(data)}}}
        task.write_text(json.dumps({"include": str(stock), "task": "stock_aime24", **local}))
        results = simple_evaluate(
            model=StoredResponses(texts),
            tasks=["stock_aime24"],
            task_manager=TaskManager(include_path=folder, include_defaults=False),
            log_samples=True,
            bootstrap_iters=0,
        )
    samples = sorted(results["samples"]["stock_aime24"], key=lambda sample: sample["doc_id"])
    return [sample["exact_match"] == 1 for sample in samples]


def our_verdicts(problems: Sequence[PromptAnswer], texts: Sequence[str]) -> list[bool]:
    """What ours says of them."""
    candidates = [
        Candidate(text, "stop", Gold.of(problem))
        for problem, text in zip(problems, texts, strict=True)
    ]
    judgements = judge(get_grader("aime"), candidates)
    return [judgement.verdict is Verdict.CORRECT for judgement in judgements]


@dataclass(frozen=True)
class Outcome:
    """One way on all problems: texts, which are right, and what each task says of them."""

    way: Way
    texts: list[str]
    truth: list[bool]
    stock: list[bool]
    ours: list[bool]

    def errors(self, verdicts: Sequence[bool]) -> int:
        """How many verdicts are not the truth."""
        return sum(said != true for said, true in zip(verdicts, self.truth, strict=True))

    @property
    def example(self) -> str:
        """A text that the two differ on, else the first."""
        both = zip(self.texts, self.stock, self.ours, strict=True)
        return next((text for text, stock, ours in both if stock != ours), self.texts[0])


def outcomes(problems: Sequence[PromptAnswer]) -> list[Outcome]:
    """Write every way on every problem, and have both tasks judge all of it at once."""
    golds = [int(problem.answer) for problem in problems]
    texts = [way.write(gold, (gold + 7) % 1000) for way in WAYS for gold in golds]
    everything = [*problems] * len(WAYS)
    stock, ours = stock_verdicts(everything, texts), our_verdicts(everything, texts)
    places = [slice(n * len(golds), (n + 1) * len(golds)) for n in range(len(WAYS))]
    return [
        Outcome(way, texts[at], [way.is_right] * len(golds), stock[at], ours[at])
        for way, at in zip(WAYS, places, strict=True)
    ]


def report(path: Path) -> Iterator[str]:
    """Yield the whole document, line by line."""
    problems = load_problems(get_task("aime24"), path).problems
    found = outcomes(problems)
    refused = sum(each.errors(each.stock) for each in found if each.way.is_right)
    accepted = sum(each.errors(each.stock) for each in found if not each.way.is_right)
    our_errors = sum(each.errors(each.ours) for each in found)
    yield "# lm-eval's aime24 and ours on the same responses\n"
    yield (
        f"`{' '.join(['python', 'benchmarks/stock_aime24.py', *sys.argv[1:]])}` with lm-eval "
        f"{version('lm-eval')}: {len(problems) * len(WAYS)} responses made by code, "
        f"{len(problems)} problems × {len(WAYS)} ways of writing, judged by lm-eval's own "
        "`process_results` and by ours. The rules in the last column decide who is right: an "
        "answer is an integer from 0 to 999, plainly written, in the last complete box. By them "
        f"lm-eval refuses {refused} right answers and accepts {accepted} that are none; ours errs "
        f"on {our_errors}, the rules being its own. Of the {accepted}, units, percent signs and "
        "texts without a box may well be meant rightly: lm-eval's prompt never asks for a box, "
        "ours does. No model wrote these texts, so the totals say nothing about any model.\n"
    )
    yield "| way | example | right | lm-eval accepts | ours accepts | who errs | rule |"
    yield "|---|---|--:|--:|--:|---|---|"
    for each in found:
        said = (("lm-eval", each.stock), ("ours", each.ours))
        errs = ", ".join(name for name, verdicts in said if each.errors(verdicts)) or "–"
        counts = " | ".join(str(sum(v)) for v in (each.truth, each.stock, each.ours))
        yield f"| {each.way.name} | `{each.example}` | {counts} | {errs} | {each.way.reason} |"


def main() -> None:
    """Print the report, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if not os.environ.get("SRL_TEST_DATA"):
        parser.error("SRL_TEST_DATA names no folder; expected one with aime24/test.jsonl in it")
    lines = list(report(Path(os.environ["SRL_TEST_DATA"], "aime24", "test.jsonl")))
    print(*lines, sep="\n")
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
