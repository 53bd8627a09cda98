"""The policy: a causal language model that scores its own completion tokens.

Wraps any transformers causal LM whose output head is one linear layer. Left out: sampling
(`srl_eval.generate`), the loss, and how parameters are partitioned (`srl_grpo.learner.engine`).
"""

from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from srl_data.command.errors import DataError
from srl_eval.generate.architectures import vocabulary_size
from srl_grpo.learner.attention import attended
from srl_grpo.learner.batch import MicroBatch
from srl_grpo.learner.prompt_groups import Sharing
from srl_grpo.objective.logprobs import LogprobHead

HEAD_TOLERANCE = 1e-3


class Policy(nn.Module):
    """A causal LM with a scoring forward; `model` stays a plain transformers model."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        head = model.get_output_embeddings()
        if not isinstance(head, nn.Linear):
            msg = (
                f"{type(model).__name__} has the output head {type(head).__name__}; expected one "
                "nn.Linear: use a causal language model such as Qwen2ForCausalLM"
            )
            raise DataError(msg)
        model.set_output_embeddings(LogprobHead.of(head))
        self.model = model
        self.sharing: Sharing | None = None
        """How an update's samples share their prompts; None for each on its own."""

    def forward(self, batch: MicroBatch, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies of the batch's N completion tokens.

        Returns:
            Two float32 tensors of shape N, in nats, tokens row by row; the second without
            gradient. The distribution is the softmax of logits divided by `temperature`, for the
            log-probabilities renormalised over the batch's kept sets, if it has any.
        """
        batch, mask = attended(self.model, batch)
        output = self.model.base_model(
            input_ids=batch.input_ids_BT,
            attention_mask=mask,
            position_ids=batch.position_ids_BT,
            use_cache=False,
            **({} if batch.tree is None else {"tree": batch.tree}),
        )
        hidden_NH = output.last_hidden_state.flatten(0, 1)[batch.predictors_N]
        head = self.model.get_output_embeddings()
        return cast(
            "tuple[Tensor, Tensor]", head(hidden_NH, batch.targets_N, temperature, batch.kept)
        )


@torch.no_grad()
def check_head(policy: Policy) -> None:
    """Compare the scoring forward with the model's own logits on a few tokens.

    A model that does more than its config says (`srl_grpo.learner.trainable`) between
    hidden states and logits would be trained on wrong probabilities; such a one is refused with
    DataError. Only for a run's first start: what the comparison gives depends on the weights.
    """
    model = policy.model
    device = next(model.parameters()).device
    count = min(8, vocabulary_size(model.config))
    ids_1T = torch.arange(count, device=device)[None]
    seen_1T = torch.ones_like(ids_1T)  # else transformers warns of ids that could be padding
    logits_1TV = model(input_ids=ids_1T, attention_mask=seen_1T, use_cache=False).logits
    logits_TV = logits_1TV[0, :-1].float()
    expected_N = torch.log_softmax(logits_TV, -1).gather(1, ids_1T[0, 1:, None])[:, 0]
    found_N, _ = policy(MicroBatch.of_rows([([0], list(range(1, count)))], device=device))
    worst = float((expected_N - found_N).abs().max())
    if worst > HEAD_TOLERANCE * (1 + float(expected_N.abs().max())):
        msg = (
            f"{type(model).__name__} changes its logits after the output head (log-probabilities "
            f"differ by {worst:.3g}); such models cannot be trained here yet"
        )
        raise DataError(msg)
