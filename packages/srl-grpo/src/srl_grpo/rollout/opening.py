"""The sampler that a config names, opened with the policy's weights and ended with the run."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from srl_grpo.config.sampled import SampledConfig
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.rollout.colocated import vllm_rollout
from srl_grpo.rollout.engines import PolicyRollout, transformers_rollout
from srl_grpo.run.prompted_model import PromptedModel
from srl_grpo.run.session import Session


@contextmanager
def open_rollout(
    session: Session[SampledConfig], limit: float | None = None
) -> Iterator[PolicyRollout]:
    """The sampler of a session, which samples from the policy's present weights. Collective.

    Its weights' version counts the run's updates from 1, also in a run that was resumed. `limit` is
    the difference at which a sampler is refused; see `srl_grpo.learner.agreement.limit_of`.
    """
    if session.config.rollout.backend == "vllm":
        session.display.phase("start vLLM")
    with unsynced(session.engine, session.model, session.config, limit) as rollout:
        rollout.engine.weights_version = session.state.updates
        rollout.sync_weights()
        yield rollout


def unsynced(
    training: TrainingEngine, model: PromptedModel, config: SampledConfig, limit: float | None
) -> AbstractContextManager[PolicyRollout]:
    """The sampler by the config's backend."""
    if config.rollout.backend == "vllm":
        return vllm_rollout(training, model, config, limit)
    size = config.rollout.completions_per_chunk
    return nullcontext(transformers_rollout(training, model.pad_id, size, model.tokenizer))
