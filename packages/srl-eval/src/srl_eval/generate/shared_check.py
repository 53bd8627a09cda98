"""Whether a model's rows can share their prompts: by its config, and by trying it.

What an attention makes of such rows is the model's code, so a few tokens are computed both ways;
whatever differs, or fails, samples from padded rows as before.
"""

import logging
from functools import cached_property

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


class SharingCheck:
    """The question whether a model's rows can share their prompts; on a CPU alone.

    Elsewhere it is not measured. The config is read at every call, since it may be changed; the
    trial is made once.
    """

    def __init__(self, model: PreTrainedModel, device: torch.device) -> None:
        self._model, self._device = model, device
        self._told: str | None = None

    def layers(self) -> int | None:
        """The layers of a model whose rows can share their prompts; None for one whose cannot."""
        reason = declined(self._model, self._device) or self._trial
        if reason is None:
            return layer_count(self._model)
        if reason != self._told:
            LOG.info("%s samples from padded rows: %s", type(self._model).__name__, reason)
            self._told = reason
        return None

    @cached_property
    def _trial(self) -> str | None:
        """Why a few tokens cannot be computed from shared rows; None where they can."""
        try:
            alike = _alike(self._model, layer_count(self._model), self._device)
        except Exception as error:  # noqa: BLE001 - a model's own code, given what it may not know
            return repr(error)
        return None if alike else "it computes shared prompts otherwise"


def shared_layers(model: PreTrainedModel, device: torch.device) -> int | None:
    """What a new `SharingCheck` of a model finds."""
    return SharingCheck(model, device).layers()


def layer_count(model: PreTrainedModel) -> int:
    """The layers that a cache of this model has."""
    return len(make_cache(model.config, 1, 1).layers)


def declined(model: PreTrainedModel, device: torch.device) -> str | None:
    """Why a model cannot be tried, by its config and its signature; None where it can."""
    attention = model.config._attn_implementation  # noqa: SLF001 - there is no public name for it
    lacking = {"position_ids", "logits_to_keep"} - accepted(model)
    least = max(_LENGTHS) + _STEPS
    if device.type != "cpu":
        return f"it is on {device.type}, and rows share prompts on a CPU alone"
    if attention != PLAIN:
        return f"its attention is {attention!r}, not {PLAIN!r}"
    if lacking:
        return f"its forward pass takes no {', '.join(sorted(lacking))}"
    if not only_full_attention(make_cache(model.config, 1, 1)):
        return "not all of its layers have full attention"
    if (window(model.config) or least) < least:
        return f"its window is below the {least} tokens of a trial"
    return None


@torch.no_grad()
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
