"""The policy's weights as a checkpoint would have them, one parameter at a time.

For samplers that read checkpoints: under the names and in the pieces in which transformers saves
them, such as one tensor per expert where the module holds all of them in one.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from transformers.core_model_loading import revert_weight_conversion

from srl_grpo.learner.engine import TrainingEngine


@torch.no_grad()
def checkpoint_weights(training: TrainingEngine) -> Iterator[tuple[str, Tensor]]:
    """Names and values of parameters and saved buffers; one of several tied ones.

    A sharded parameter is whole from when it is asked for until the next one is: no second model is
    held. The values are copies, which stay as they are. Collective under ZeRO-3.
    """
    model = training.policy.model
    for name, parameter in model.named_parameters():
        with training.gathered([parameter]):
            whole = parameter.detach().clone()
        yield from revert_weight_conversion(model, {name: whole}).items()
    saved = set(model.state_dict())
    for name, buffer in model.named_buffers():
        if name in saved:
            yield from revert_weight_conversion(model, {name: buffer.clone()}).items()
