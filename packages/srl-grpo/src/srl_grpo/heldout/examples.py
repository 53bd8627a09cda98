"""Held-out evaluation of supervised training: loss, and answers that the model writes itself.

`loss` is that of the held-out responses, in nats per token. Where the template has a grammar,
`format_reward` is the share of generated answers in it; where examples have an answer, `accuracy`
is the share of generated answers that are right. SRL instances are evaluated as in reinforcement
learning besides (`srl_grpo.heldout.evaluation`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from srl_data.command.errors import DataError
from srl_data.prompt_format import Prompt
from srl_eval.answer_form import Grammar, grammar_of
from srl_eval.generate import Completion, seed_for
from srl_eval.grading import Candidate, Gold, Grader, get_grader
from srl_eval.solvers import Answer, WholeSolver
from srl_grpo.data.examples import Example
from srl_grpo.data.prompts import TrainingPrompt
from srl_grpo.heldout.chains import DEFAULT_GRADER
from srl_grpo.heldout.evaluation import HeldOut, Values, problem_of_instance
from srl_grpo.heldout.right import Judged, right
from srl_grpo.learner.batch import Sample
from srl_grpo.learner.distributed import World
from srl_grpo.learner.updater import Updater
from srl_grpo.rollout.engines import PolicyRollout, generate_round


def sample_of(example: Example, group: int = 0) -> Sample:
    """An example as the learner takes it."""
    return Sample(example.prompt_ids, example.response_ids, group=group)


def prompt_of(example: Example, index: int) -> TrainingPrompt:
    """An example's prompt as rollouts take it."""
    return TrainingPrompt(
        index,
        example.id,
        example.text,
        example.prompt_ids,
        example.think_prefilled,
        dict(example.columns),
    )


@dataclass(frozen=True)
class HeldOutExamples:
    """A held-out set of examples and how to evaluate a policy on it."""

    examples: Sequence[Example]
    solver: WholeSolver
    """Of whole answers, by the template; greedy."""
    world: World
    seed: int
    grader: str | None = None
    """In the place of what the records name."""
    steps: HeldOut | None = None
    """For SRL instances one step at a time."""

    @property
    def grammar(self) -> Grammar | None:
        """The grammar of the template."""
        return grammar_of(self.solver.prompts.template)

    @property
    def instances(self) -> int:
        """Examples that are evaluated."""
        return len(self.examples)

    @property
    def problems(self) -> int:
        """Problems that are solved by the model's own steps."""
        return self.steps.problems if self.steps else 0

    def clusters(self, metric: str) -> list[str]:
        """The problem of each value of a metric."""
        if self.steps is not None and metric != "loss":
            return self.steps.clusters(metric)
        chosen = self.with_answers() if metric == "accuracy" else self.examples
        return [problem_of_instance(example.id) for example in chosen]

    def with_answers(self) -> list[Example]:
        """Examples whose generated answer can be judged."""
        return [example for example in self.examples if has_answer(example)]

    def evaluate(self, rollout: PolicyRollout, updater: Updater) -> Values:
        """Values per example of each metric; `loss` such that their mean is that of all tokens."""
        values: Values = {"loss": self.losses(updater)}
        if self.steps is not None:
            found = self.steps.evaluate(rollout)
            form = {"format_reward": [1.0 - each for each in found["invalid"]]}
            return values | form | found
        answered = self.with_answers()
        asked = self.examples if self.grammar is not None else answered
        if not asked:
            return values
        written = self.generate(rollout, asked)
        if self.grammar is not None:
            pairs = zip(asked, written, strict=True)
            values["format_reward"] = [float(self.in_form(*pair)) for pair in pairs]
        if answered:
            judged = [
                self.judged(*pair)
                for pair in zip(asked, written, strict=True)
                if has_answer(pair[0])
            ]
            # On rank 0: graders have processes of their own.
            values["accuracy"] = self.world.of_main(lambda: right(judged))
        return values

    def in_form(self, example: Example, completion: Completion) -> bool:
        """Whether an answer is in the template's grammar."""
        return bool(self.answer(example, completion).in_grammar)

    def losses(self, updater: Updater) -> list[float]:
        """The loss of each example's response, times the examples' share of the tokens."""
        samples = [sample_of(example) for example in self.examples]
        rows = updater.score(samples, updater.engine)
        tokens = sum(map(len, rows))
        return [-sum(row) * len(rows) / tokens for row in rows]

    def generate(self, rollout: PolicyRollout, examples: Sequence[Example]) -> list[Completion]:
        """A greedy answer to each example's prompt. Collective."""
        prompts = [prompt_of(example, index) for index, example in enumerate(examples)]
        seeds = [seed_for(self.seed, "eval", example.id) for example in examples]
        return generate_round(rollout, prompts, 1, self.solver.sampling, seeds, self.world)

    def answer(self, example: Example, completion: Completion) -> Answer:
        """What a completion comes to, as evaluation reads it."""
        return self.solver.answer(Prompt(example.text, example.prompt_ids), completion)

    def check_golds(self) -> None:
        """DataError naming the first example whose answer its grader cannot compare with."""
        for example in self.with_answers():
            grader = self.grader_of(example)
            try:
                grader.gold(str(example.columns["answer"]))
            except ValueError as error:
                raise DataError(
                    f"held-out example {example.id!r}: the grader {grader.name!r} cannot compare "
                    f"with its answer: {error}; mend it, or give another --grader"
                ) from error

    def grader_of(self, example: Example) -> Grader:
        """The grader asked for, else the record's own, else math; ConfigError where unknown."""
        return get_grader(str(self.grader or example.columns.get("grader") or DEFAULT_GRADER))

    def judged(self, example: Example, completion: Completion) -> Judged:
        """An answer and how it is judged."""
        grader = self.grader_of(example)
        answer = self.answer(example, completion)
        gold = Gold(grader.gold(str(example.columns["answer"])))
        return grader, Candidate(answer.answer_text, answer.finish_reason, gold, answer.bare)


def has_answer(example: Example) -> bool:
    """Whether a generated answer can be judged."""
    return example.columns.get("answer") is not None
