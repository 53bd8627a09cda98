"""What a round of expert iteration asks: distinct questions, each several times, chunk by chunk.

Also the second asking, with the answer as a hint. Left out: what is kept of it
(`srl_grpo.rollout.correct`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from srl_data.prompt_format import PromptFormat
from srl_eval.generate import Completion, Sampling
from srl_grpo.config.expert import ANSWER
from srl_grpo.config.sampled import SamplingSection
from srl_grpo.data.prompts import TrainingPrompt, make_prompt
from srl_grpo.data.sampler import PromptSampler
from srl_grpo.learner.distributed import World
from srl_grpo.rollout.engines import (
    PolicyRollout,
    Score,
    generate_round,
    regroup,
    round_seeds,
)
from srl_grpo.rollout.groups import Group
from srl_grpo.run.clock import Stopwatch
from srl_reward.grading import find_answer

Between = Callable[[int, int], None]
"""Called as questions are answered, with how many are and of how many. Collective."""


@dataclass(frozen=True)
class Questions:
    """The training questions and how they are put to the model."""

    prompts: Sequence[TrainingPrompt]
    rollout: PolicyRollout
    sampling: Sampling
    scorer: Score
    options: SamplingSection
    seed: int
    world: World

    def draw(self, position: int) -> tuple[list[TrainingPrompt], int]:
        """A round's questions, none twice, and the position behind them.

        In seeded passes over all questions; one that ends a pass and begins the next is asked once.
        """
        sampler = PromptSampler(len(self.prompts), self.seed, position)
        count = min(self.options.batch_size, len(self.prompts))
        drawn: dict[int, None] = {}
        while len(drawn) < count:
            drawn |= dict.fromkeys(sampler.draw(1))
        return [self.prompts[index] for index in drawn], sampler.position

    def ask(
        self,
        prompts: Sequence[TrainingPrompt],
        step: int,
        number: int,
        clock: Stopwatch,
        between: Between,
    ) -> list[Group]:
        """Scored completions of each question, in order.

        `step` and `number`, that of the asking in the round, seed the sampling. Collective.
        """
        size = self.options.group_size
        with clock("rollout"):
            completions = self.complete(prompts, step, number, between)
        with clock("score"):
            rows = [prompt for prompt in prompts for _ in range(size)]
            return regroup(prompts, self.scorer(rows, completions), size)

    def complete(
        self, prompts: Sequence[TrainingPrompt], step: int, number: int, between: Between
    ) -> list[Completion]:
        """Completions in order of the questions, a chunk per rank at a time. Collective."""
        size = self.options.group_size
        seeds = round_seeds(self.seed, step, number, len(prompts), size)
        # Between two such waves every rank knows whether the run is asked to stop.
        wave = self.options.completions_per_chunk // size * self.world.size
        found: list[Completion] = []
        for start in range(0, len(prompts), wave):
            between(start, len(prompts))
            found += generate_round(
                self.rollout,
                prompts[start : start + wave],
                size,
                self.sampling,
                seeds[start * size : (start + wave) * size],
                self.world,
            )
        return found


def final_answer(answer: str) -> str:
    """What an answer comes to: of a whole solution, such as GSM8K's column holds, its last line."""
    return find_answer("gsm8k", answer) or answer


def with_hint(prompt: TrainingPrompt, hint: str, prompts: PromptFormat) -> TrainingPrompt:
    """A question with its answer as a hint; what the rewards read stays.

    DataError where the rendered text does not come out.
    """
    shown = hint.replace(ANSWER, final_answer(str(prompt.columns["answer"])))
    columns = {**prompt.columns, "problem": f"{prompt.columns['problem']}{shown}"}
    return make_prompt(prompt.index, prompt.id, columns, prompts, prompt.meta)
