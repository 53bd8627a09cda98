"""A held-out set of prompts as all stages evaluate it: completions by the rewards, chains of steps.

Left out: which records are held out, and supervised examples (`srl_grpo.heldout.examples`).
"""

from collections.abc import Callable, Sequence

from srl_eval.generate import Sampling
from srl_grpo.config.run import RunConfig
from srl_grpo.data.prompts import TrainingPrompt
from srl_grpo.heldout.chains import Chains
from srl_grpo.heldout.evaluation import HeldOut
from srl_grpo.learner.distributed import World
from srl_grpo.rollout.groups import Scored
from srl_grpo.rollout.scoring import Scorer
from srl_grpo.run.prompted_model import PromptedModel


def held_out_set(
    config: RunConfig,
    model: PromptedModel,
    world: World,
    prompts: Sequence[TrainingPrompt],
    scorer: Scorer,
    sampling: Sampling,
    *,
    max_prompt_length: int,
    samples: int = 1,
    right: Callable[[Scored], bool] | None = None,
) -> HeldOut:
    """The set of `prompts`, with chains where the template shows the steps so far.

    For `samples` and `right` see `HeldOut`; a chain ends where its next prompt would have more than
    `max_prompt_length` tokens.
    """
    chains = Chains(
        prompts=model.prompts,
        sampling=sampling,
        max_prompt_length=max_prompt_length,
        start=config.evaluation.chain_start,
        seed=config.seed,
    )
    stepwise = model.prompts.template.stepwise  # else no prompt shows the steps so far
    return HeldOut(
        prompts,
        scorer,
        sampling,
        config.seed,
        world,
        chains if stepwise else None,
        right,
        samples,
    )
