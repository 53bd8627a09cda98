"""The stage of expert iteration: ask, grade, keep what is right, train on it; a step is a round.

Sampling and training share one model. A round that is killed is begun again from the checkpoint
before it, but what it had been answered is read from disk. Left out: the loop
(`srl_grpo.stages.loop`), an optimizer step (`srl_grpo.stages.imitation`), and how the stage is put
together (`srl_grpo.stages.expert_setup`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from srl_data.prompt_format import PromptFormat
from srl_data.records import write_records
from srl_grpo.config.expert import ExpertConfig
from srl_grpo.config.run import RunConfig
from srl_grpo.data.examples import Example
from srl_grpo.data.prompts import TrainingPrompt
from srl_grpo.heldout.evaluation import HeldOut, Values
from srl_grpo.learner.fingerprint import checksum
from srl_grpo.learner.updater import Metrics, Updater
from srl_grpo.rollout.correct import Sifted, sift
from srl_grpo.rollout.groups import completion_metrics
from srl_grpo.rollout.kept_records import kept_pairs, sifted_records
from srl_grpo.rollout.questions import Questions, with_hint
from srl_grpo.rollout.stored_engine import StoredEngine
from srl_grpo.run.base import return_to_base
from srl_grpo.run.resume import ROUNDS
from srl_grpo.run.session import Session
from srl_grpo.stages.loop import Best, StepResult
from srl_grpo.stages.nothing_right import diagnosis
from srl_grpo.stages.round import round_imitation, train_round
from srl_grpo.stages.round_metrics import round_metrics
from srl_grpo.stages.starvation import StarvedError

NAME = ROUNDS
ASKED, HINTED = 0, 1
"""Numbers of a round's two askings."""


class ExpertState(BaseModel):
    """What continues the stage."""

    model_config = ConfigDict(extra="forbid")
    position: int = Field(default=0, ge=0)
    """Questions drawn."""
    solved: list[int] = []
    """Questions that the model solved by itself in some round, by their places."""


@dataclass
class ExpertStage:
    """Rounds of sampling and of training on what was right."""

    config: ExpertConfig
    questions: Questions
    store: StoredEngine
    updater: Updater
    held_out: HeldOut | None
    format: PromptFormat
    progress: ExpertState
    last: Sequence[Sifted] = field(default=())
    """What the last round wrote."""

    def step(self, session: Session[RunConfig], step: int) -> StepResult:
        """One round, from drawing questions to the weights that it leaves."""
        self.store_in(session, step + 1)
        prompts, self.progress.position = self.questions.draw(self.progress.position)
        sifted = self.ask(session, prompts, step, ASKED)
        metrics = completion_metrics([item.group for item in sifted])
        self.remember(sifted)
        shown = list(prompts)
        if self.config.selection.rationalise:
            unsolved = [p for p in prompts if p.index not in self.progress.solved]
            hinted = self.with_hints(session, unsolved)
            sifted += self.ask(session, hinted, step, HINTED)
            shown += hinted
        own = [self.questions.prompts[item.group.index] for item in sifted]
        with session.clock("log"):
            self.write(session, sifted, shown, own, step + 1)
        metrics |= round_metrics(sifted)
        examples = examples_of(sifted, own)
        if examples:
            metrics |= self.train(session, examples, step)
        else:
            session.display.note(f"round {step + 1}: no completion was right; nothing to train on")
        self.last = sifted
        tokens = sum(item.group.tokens for item in sifted)
        metrics["epoch"] = self.progress.position / len(self.questions.prompts)
        return StepResult(metrics, tokens, updated=bool(examples))

    def ask(
        self,
        session: Session[RunConfig],
        prompts: Sequence[TrainingPrompt],
        step: int,
        number: int,
    ) -> list[Sifted]:
        """A round's completions of some questions, each with what becomes of it. Collective."""
        if not prompts:
            return []

        def between(done: int, count: int) -> None:
            session.stop_if_asked()
            session.display.phase(f"ask {done} of {count}")

        groups = self.questions.ask(prompts, step, number, session.clock, between)
        return sift(groups, self.config.selection, hinted=number == HINTED)

    def with_hints(
        self, session: Session[RunConfig], prompts: Sequence[TrainingPrompt]
    ) -> list[TrainingPrompt]:
        """Questions with their answers as hints; those that are too long then are left out."""
        hint, longest = self.config.selection.hint, self.config.data.max_prompt_length
        hinted = [with_hint(prompt, hint, self.format) for prompt in prompts]
        short = [prompt for prompt in hinted if len(prompt.ids) <= longest]
        if len(short) < len(hinted):
            over = len(hinted) - len(short)
            session.display.note(f"{over} questions are over {longest} tokens with their hint")
        return short

    def remember(self, sifted: Sequence[Sifted]) -> None:
        """Note which questions the model has solved by itself."""
        solved = {item.group.index for item in sifted if item.solved}
        self.progress.solved = sorted({*self.progress.solved, *solved})

    def write(
        self,
        session: Session[RunConfig],
        sifted: Sequence[Sifted],
        shown: Sequence[TrainingPrompt],
        own: Sequence[TrainingPrompt],
        step: int,
    ) -> None:
        """Keep what the model wrote, and what is trained on as pairs."""
        if session.world.is_main:
            session.directory.write_rollouts(step, sifted_records(step, sifted, shown))
            write_records(session.directory.kept(step), kept_pairs(step, sifted, own))

    def train(self, session: Session[RunConfig], examples: Sequence[Example], step: int) -> Metrics:
        """Train on what was kept and bring the new weights to the sampler. Collective."""
        if self.config.sft.start_from == "base":
            return_to_base(session.engine, session.directory)
        elif not self.config.sft.carries:
            session.engine.forget()
        self.questions.rollout.rest()
        imitation = round_imitation(self.config, examples, self.updater, step)
        metrics = train_round(session, self.config, imitation, step)
        with session.clock("sync"):
            self.questions.rollout.sync_weights()
        self.store_in(session, step + 1)
        return metrics | self.questions.rollout.metrics

    def store_in(self, session: Session[RunConfig], step: int) -> None:
        """Keep what is generated from now on with `step`, by the present weights. Collective."""
        engine = session.engine
        self.store.folder = session.directory.samples(step)
        self.store.weights = checksum(engine.policy.model, engine.gathered)

    def evaluate(self) -> Values:
        """Held-out values of the present weights. Collective."""
        assert self.held_out is not None
        return self.held_out.evaluate(self.questions.rollout)

    @property
    def named(self) -> Mapping[str, str]:
        """The share of right greedy answers."""
        return {"ei/eval_accuracy": "accuracy"}

    @property
    def best(self) -> Best:
        """The round with the highest held-out accuracy is the best."""
        return Best("accuracy")

    def state(self) -> dict[str, object]:
        """What continues the stage, as JSON."""
        return self.progress.model_dump(mode="json")

    def check(self, session: Session[RunConfig]) -> None:
        """StarvedError, with a checkpoint behind it, where a round or all kept nothing."""
        empty = not any(item.solved for item in self.last)
        stops = empty and self.config.selection.when_none_right == "stop"
        if not stops and not (session.finished and not session.state.updates):
            return
        session.save()
        step, run = session.state.step, session.directory
        text = diagnosis(run, step, self.last, self.config) if session.world.is_main else ""
        raise StarvedError(session.world.from_main(text))


def examples_of(sifted: Sequence[Sifted], own: Sequence[TrainingPrompt]) -> list[Example]:
    """What is trained on: sampled ids behind the question as it is, without a hint."""
    return [
        Example(
            id=prompt.id,
            text=prompt.text,
            prompt_ids=prompt.ids,
            response_ids=member.completion.token_ids,
            think_prefilled=prompt.think_prefilled,
            columns=prompt.columns,
        )
        for item, prompt in zip(sifted, own, strict=True)
        for _, member in item.kept()
    ]
