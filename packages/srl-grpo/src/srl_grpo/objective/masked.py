"""Sums and means of padded tensors over the elements that a mask keeps."""

from torch import Tensor


def masked_sum(tensor: Tensor, mask: Tensor, dim: int | None = None) -> Tensor:
    """The sum of the elements where `mask` is not 0, along `dim` or over all of them."""
    kept = tensor.masked_fill(~mask.bool(), 0)  # so that nothing under the mask counts, NaN neither
    return kept.sum() if dim is None else kept.sum(dim)


def masked_normalize(
    tensor: Tensor, mask: Tensor, normalize_constant: float = 1.0, dim: int | None = None
) -> Tensor:
    """The masked sum divided by a constant.

    Args:
        tensor: of any shape.
        mask: of the same shape, bool or 0 and 1.
        normalize_constant: what to divide by.
        dim: the dimension to sum along; None for all.

    Source: CS336, assignment 5, section 4.2.
    """
    return masked_sum(tensor, mask, dim) / normalize_constant


def masked_mean(tensor: Tensor, mask: Tensor, dim: int | None = None) -> Tensor:
    """The mean of the elements where `mask` is not 0; NaN where it keeps none.

    Args: as `masked_normalize`'s. Source: CS336, assignment 5, section 7.2.
    """
    count = mask.bool().sum() if dim is None else mask.bool().sum(dim)
    return masked_sum(tensor, mask, dim) / count
