"""Sets of tokens within which log-probabilities are renormalised: those a sampler drew from.

Top-k, top-p and min-p leave a set of tokens at each place, and a token is drawn from the policy
renormalised over it. The sets stay those of the sampling, whatever the weights have become: old,
new and reference policy then have the same choices, so that ratio, gradient and KL are those of
the distributions restricted to them. A place's own token always belongs to its set.

Source: DeepSeek-V3.2 (arXiv 2512.02556), section 3.1, "Keep Sampling Mask".
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Kept:
    """The sets of N places, on the host: only a part of them is on the device at a time."""

    ids_K: Tensor
    """Token ids of all sets, one after another; int32."""
    ends_N: Tensor
    """Where each place's set ends in `ids_K`; int64."""

    @classmethod
    def of(cls, ids_K: Tensor, counts_N: Tensor) -> "Kept":
        """Sets of the given sizes."""
        return cls(ids_K, counts_N.long().cumsum(0))

    def mask(self, part: slice, block: slice, targets_N: Tensor) -> Tensor:
        """Which of the tokens `block` are in the sets of the places `part`; boolean, P x R."""
        start = int(self.ends_N[part.start - 1]) if part.start else 0
        ends_P = self.ends_N[part] - start
        device = targets_N.device
        ids_K = self.ids_K[start : start + int(ends_P[-1])].to(device).long() - block.start
        counts_P = torch.diff(ends_P, prepend=ends_P.new_zeros(1)).to(device)
        rows_K = torch.arange(len(ends_P), device=device).repeat_interleave(counts_P)
        width = block.stop - block.start
        mask_PR = torch.zeros(len(ends_P), width, dtype=torch.bool, device=device)
        for rows, ids in (
            (rows_K, ids_K),
            (torch.arange(len(ends_P), device=device), targets_N[part] - block.start),
        ):
            here = (ids >= 0) & (ids < width)
            mask_PR[rows[here], ids[here]] = True
        return mask_PR
