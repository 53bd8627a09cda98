"""Our benchmarks and engines as lm-eval's `Task` and `LM`, so that `simple_evaluate` runs them.

What lm-eval does by default and these classes do not: keep one of several repeats (our filter keeps
the list), send every repeat with the same seed (the clones of a request are numbered), cut long
prompts from the left, read a checkpoint's `generation_config`, seed the process's random
generators.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean
from lm_eval.api.model import LM
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager

from srl_data.records import PromptAnswer
from srl_eval.grading import Verdict

if TYPE_CHECKING:
    from srl_eval.samples import Sample

Document = Mapping[str, object]
Complete = Callable[[Sequence[tuple[int, int]]], "list[Sample]"]
"""(document, sample) pairs to samples, in order."""


class BenchmarkTask(Task):  # type: ignore[misc]  # lm-eval is untyped
    """One benchmark, one request a problem, `repeats` answers to it.

    A response is a `Sample`, judged when it was made, since the judgement stands in results.jsonl
    too.
    """

    VERSION = 1
    OUTPUT_TYPE = "generate_until"

    def __init__(
        self,
        name: str,
        problems: Sequence[PromptAnswer],
        prompts: Sequence[str],
        repeats: int,
        num_fewshot: int = 0,
    ) -> None:
        self._documents: list[Document] = [
            {"id": p.id, "problem": p.problem, "answer": p.answer, "prompt": prompt}
            for p, prompt in zip(problems, prompts, strict=True)
        ]
        super().__init__()
        # lm-eval 0.4.13's Task.__init__ puts a whole `config` mapping into the field `task`.
        self.set_config("task", name)
        self.set_config("repeats", repeats)
        # For lm-eval's record alone: the examples are in the prompts already.
        self.set_config("num_fewshot", num_fewshot)

    def download(self, *_args: object, **_kwargs: object) -> None:
        """Nothing: the problems are given."""

    def has_training_docs(self) -> bool:
        """None."""
        return False

    def has_validation_docs(self) -> bool:
        """None."""
        return False

    def has_test_docs(self) -> bool:
        """The problems."""
        return True

    def test_docs(self) -> Sequence[Document]:
        """The problems with their rendered prompts."""
        return self._documents

    def doc_to_text(self, doc: Document) -> str:
        """The rendered prompt."""
        return str(doc["prompt"])

    def doc_to_target(self, doc: Document) -> str:
        """The gold answer."""
        return str(doc["answer"])

    def build_all_requests(self, *, limit: int | None = None, **_options: object) -> None:
        """One request a problem; without lm-eval's few-shot contexts, request cache and own bar."""
        self._instances = [
            self.construct_requests(doc, self.doc_to_text(doc), metadata=(self.task_name, n))
            for n, doc in enumerate(self._documents[:limit])
        ]

    def construct_requests(
        self, doc: Document, ctx: str, *, metadata: tuple[str, int], **_options: object
    ) -> Instance:
        """The request for `repeats` answers; `metadata` is the task's name and the place."""
        name, number = metadata
        return Instance(
            request_type="generate_until",
            doc=doc,
            arguments=(ctx, {}),
            idx=0,
            metadata=(name, number, self.config.repeats),
        )

    def apply_filters(self) -> None:
        """Keep every repeat."""
        for instance in self._instances:
            instance.filtered_resps["all"] = instance.resps

    def process_results(self, doc: Document, results: "list[list[Sample]]") -> dict[str, float]:
        """Share of each verdict among a problem's answers."""
        (samples,) = results
        assert all(sample.id == doc["id"] for sample in samples)
        counts = Counter(sample.verdict for sample in samples)
        shares = {verdict.value: counts[verdict] / len(samples) for verdict in Verdict}
        return {"accuracy": shares.pop("correct"), **shares}

    def aggregation(self) -> dict[str, Callable[[Iterable[float]], float]]:
        """Means over problems."""
        return dict.fromkeys(_METRICS, mean)

    def higher_is_better(self) -> dict[str, bool]:
        """Only accuracy is."""
        return {name: name == "accuracy" for name in _METRICS}


_METRICS = ["accuracy", *(v.value for v in Verdict if v is not Verdict.CORRECT)]


class EngineLM(LM):  # type: ignore[misc]  # lm-eval is untyped
    """Hands lm-eval's requests to whoever completes numbered samples."""

    def __init__(self, complete: Complete) -> None:
        super().__init__()
        self._complete = complete

    def generate_until(self, requests: list[Instance]) -> "list[Sample]":
        """The answers; repeats of one request arrive as the same object, and are numbered here."""
        seen: Counter[int] = Counter()
        pairs = []
        for request in requests:
            pairs.append((int(request.doc_id), seen[request.doc_id]))
            seen[request.doc_id] += 1
        return self._complete(pairs)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Not offered."""
        raise NotImplementedError(f"{len(requests)} log-likelihoods asked; this model generates")

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Not offered."""
        raise NotImplementedError(f"{len(requests)} log-likelihoods asked; this model generates")


def harness_scores(
    name: str,
    problems: Sequence[PromptAnswer],
    prompts: Sequence[str],
    repeats: int,
    complete: Complete,
    num_fewshot: int = 0,
) -> dict[str, float | str]:
    """Run a benchmark through lm-eval: its version, its metrics, standard errors as `NAME_stderr`.

    The seeds are None so that lm-eval leaves the process's random generators alone: a trainer may
    be using them. `bootstrap_iters` is there for its closed form of a mean's standard error.
    """
    with only_errors("lm_eval"):
        task = BenchmarkTask(name, problems, prompts, repeats, num_fewshot)
        results = simple_evaluate(
            model=EngineLM(complete),
            tasks=[task],
            task_manager=TaskManager(include_defaults=False),
            log_samples=False,
            bootstrap_iters=1,
            random_seed=None,
            numpy_random_seed=None,
            torch_random_seed=None,
            fewshot_random_seed=None,
        )
    found: dict[str, object] = results["results"][name]
    named = ((key.replace(",all", "").replace(",none", ""), value) for key, value in found.items())
    numbers = {key: float(value) for key, value in named if isinstance(value, (int, float))}
    return {"lm_eval": version("lm-eval"), **numbers}


@contextmanager
def only_errors(logger: str) -> Iterator[None]:
    """Keep a library's remarks on its own defaults, which are not used here, off the screen."""
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
