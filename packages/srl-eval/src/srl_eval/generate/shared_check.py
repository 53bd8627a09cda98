"""Whether a model's rows can share their prompts: by its config, and by trying it.

What an attention makes of such rows is the model's code, so a few tokens are computed both ways;
whatever differs, or fails, samples from padded rows as before.
"""

import logging

import torch
from transformers import PreTrainedModel

from srl_eval.generate.architectures import vocabulary_size, window
from srl_eval.generate.attention_switch import PLAIN
from srl_eval.generate.kv_cache import make_cache, only_full_attention
from srl_eval.generate.padded_rows import PaddedRows
from srl_eval.generate.running_rows import RunningRows, accepted
from srl_eval.generate.shared_rows import SharedRows

LOG = logging.getLogger(__name__)

_LENGTHS = (5, 5, 3, 7, 7, 7)  # of the prompts that are tried, equal ones alike
_STEPS = 3
_TOLERANCE, _HALF_TOLERANCE = 1e-3, 0.1
"""Greatest differences of logits, relative to the largest value plus 1."""


@torch.no_grad()
def shared_layers(model: PreTrainedModel, device: torch.device) -> int | None:
    """The layers of a model whose rows can share their prompts; None for one whose cannot.

    On a CPU alone: elsewhere it is not measured.
    """
    cache = make_cache(model.config, 1, 1)
    if (
        device.type != "cpu"
        or model.config._attn_implementation != PLAIN  # noqa: SLF001 - there is no public name for it
        or not {"position_ids", "logits_to_keep"} <= accepted(model)
        or not only_full_attention(cache)
        or (window(model.config) or max(_LENGTHS) + _STEPS) < max(_LENGTHS) + _STEPS
    ):
        return None
    layers = len(cache.layers)
    try:
        alike = _alike(model, layers, device)
    except Exception as error:  # noqa: BLE001 - a model's own code, given what it may not know
        LOG.info("%s samples from padded rows: %r", type(model).__name__, error)
        return None
    if not alike:
        LOG.info(
            "%s computes shared prompts otherwise: it samples from padded rows",
            type(model).__name__,
        )
    return layers if alike else None


def _alike(model: PreTrainedModel, layers: int, device: torch.device) -> bool:
    """Whether a few prompts and new tokens have the same logits in both kinds of rows."""
    vocabulary = vocabulary_size(model.config)
    prompts = [[(7 * n + 3 * place + 1) % vocabulary for place in range(n)] for n in _LENGTHS]
    tokens = (torch.arange(len(prompts) * _STEPS) * 5 + 2).view(_STEPS, -1).to(device) % vocabulary
    padded = _logits(PaddedRows(model, prompts, _STEPS, 0, device), tokens)
    shared = _logits(SharedRows(model, prompts, _STEPS, layers, device), tokens)
    limit = _HALF_TOLERANCE if padded.dtype.itemsize < 4 else _TOLERANCE
    worst = float((shared - padded).abs().max())
    return worst <= limit * (1 + float(padded.abs().max()))


def _logits(rows: RunningRows, tokens_TB: torch.Tensor) -> torch.Tensor:
    """Logits of all steps; on the way some rows end, the same ones in either kind."""
    found = [rows.logits_BV]
    for step, tokens_B in enumerate(tokens_TB):
        found.append(rows.step(tokens_B[rows.rows.tolist()]))
        if step == 0:
            rows.ended[torch.tensor([0, 2, 4], device=rows.ended.device)] = True
            rows.retire(tokens_B)
    return torch.cat(found)
