"""The training of one round of expert iteration: passes over what it kept, as `srl-grpo sft` does.

The learning rate's schedule begins and ends with the round.
"""

from collections.abc import Sequence

from srl_eval.generate import seed_for
from srl_grpo.config.expert import ExpertConfig
from srl_grpo.config.run import RunConfig
from srl_grpo.data.examples import Example
from srl_grpo.learner.schedule import scheduled_rate
from srl_grpo.learner.updater import Metrics, Updater
from srl_grpo.run.session import Session
from srl_grpo.stages.imitation import Imitated, Imitation


def round_seed(seed: int, step: int) -> int:
    """The seed of a round's order of examples, from the run's; such as `--seed` takes."""
    return seed_for(seed, "round", step) >> 1


def round_imitation(
    config: ExpertConfig, examples: Sequence[Example], updater: Updater, step: int
) -> Imitation:
    """The passes of round `step`, from 0."""
    total = config.sft.epochs * len(examples)
    seed = round_seed(config.seed, step)
    return Imitation(examples, updater, seed, config.sft.batch_size, total)


def train_round(
    session: Session[RunConfig], config: ExpertConfig, imitation: Imitation, step: int
) -> Metrics:
    """All optimizer steps of a round; means are over its tokens. Collective.

    KeyboardInterrupt between two of them where a signal asks the run to stop.
    """
    steps, done = imitation.steps_left, list[Imitated]()
    rate = 0.0
    while imitation.steps_left:
        session.stop_if_asked()
        rate = scheduled_rate(config.optimizer, len(done), steps)
        session.display.phase(f"train {len(done) + 1} of {steps}")
        done.append(imitation.step(session.clock, rate, step, session.saved_step))
    return trained_metrics(done) | {"learning_rate": rate}


def trained_metrics(done: Sequence[Imitated]) -> Metrics:
    """Means over the tokens of several optimizer steps; of the gradient norm over steps."""
    tokens = sum(each.tokens for each in done)

    def mean(name: str) -> float:
        return sum(each.metrics[name] * each.tokens for each in done) / tokens

    return {
        "ei/sft_loss": mean("loss"),
        "ei/sft_steps": float(len(done)),
        "ei/trained_tokens": float(tokens),
        "entropy": mean("entropy"),
        "grad_norm": sum(each.metrics["grad_norm"] for each in done) / len(done),
    }
