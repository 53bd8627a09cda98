"""What draws at random in a model's training mode, switched off: dropout, LayerDrop, router jitter.

Old and new log-probabilities must come from one function, and so must the sampler's. Numbers are
found by their names, on modules and in the config that modules read while they run; what still
draws after that is found by comparing passes, and kept in evaluation mode.
"""

import copy
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedConfig, PreTrainedModel

from srl_data.command.errors import DataError

NOISE = re.compile(r"dropout|pdrop|layer_?drop|drop_prob|drop_path|drop_rate")
"""Names of numbers that say how much is drawn at random, and mean nothing else. Router jitter is
none of them: PhiMoE reads it in evaluation too."""
PASSES = 4
"""Passes in training mode that are compared: what draws rarely may be alike in two of them."""
TOKENS = 16
"""Tokens of each pass."""
WHOLE = ""
"""The name of the model itself among its modules."""

Note = Callable[[str], None]


def switch_off_noise(model: PreTrainedModel, note: Note = lambda _: None) -> None:
    """Make the model's training mode compute what its evaluation mode does.

    `model.config` keeps its values, for the checkpoints; modules get a copy of it with zeros. A
    module that still draws is kept in evaluation mode with all of its class, and named through
    `note`. DataError naming the module where that does not help.
    """
    zero_numbers(model)
    quiet_configs(model)
    kept: list[str] = []
    while noisy := first_noisy_module(model):
        kind = type(model.get_submodule(noisy)).__name__
        if kind in kept or noisy == WHOLE:
            raise DataError(
                f"{type(model).__name__} draws at random in training mode ({noisy or kind}), so "
                "its log-probabilities cannot be trained on; choose another model"
            )
        kept.append(kind)
        for module in [m for m in model.modules() if type(m).__name__ == kind]:
            keep_in_evaluation(module)
    if kept:
        note(f"drawing at random in training mode, kept in evaluation mode: {', '.join(kept)}")


def zero_numbers(model: nn.Module) -> None:
    """Set every number of `NOISE` on a module to 0."""
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):  # noqa: SLF001 - torch has no public base
            module.p = 0.0
        for name, value in vars(module).items():
            if NOISE.search(name) and isinstance(value, float):
                setattr(module, name, 0.0)


def quiet_configs(model: PreTrainedModel) -> None:
    """Give modules that hold a config one whose numbers of `NOISE` are 0; not the model itself."""
    quiet: dict[int, PreTrainedConfig] = {}
    for module in model.modules():
        config = getattr(module, "config", None)
        if module is model or not isinstance(config, PreTrainedConfig):
            continue
        if id(config) not in quiet:
            quiet[id(config)] = without_noise(config)
        setattr(module, "config", quiet[id(config)])  # noqa: B010 - torch types it as a tensor


def without_noise(config: PreTrainedConfig) -> PreTrainedConfig:
    """A copy of the config whose numbers of `NOISE` are 0, the text part's too."""
    changed = copy.deepcopy(config)
    for part in {id(part): part for part in (changed, changed.get_text_config())}.values():
        for name, value in vars(part).items():
            if NOISE.search(name) and isinstance(value, float):
                setattr(part, name, 0.0)
    return changed


def keep_in_evaluation(module: nn.Module) -> None:
    """Put a module into evaluation mode, where `train()` leaves it."""

    def train(mode: bool = True) -> nn.Module:  # noqa: ARG001 - torch's own signature
        return module

    module.eval()
    module.train = train  # type: ignore[method-assign]


@dataclass(frozen=True)
class Call:
    """One call of a module: what it was given and what it answered."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def first_noisy_module(model: PreTrainedModel) -> str | None:
    """Name of the first module to answer one input otherwise in training mode, or None.

    Calls are compared in the order in which they end, from the inside out: the first that differs
    is the innermost module that draws, or, where it was given other inputs, inside the one that is.
    """
    mode = model.training
    with torch.random.fork_rng():
        try:
            plain = calls_of(model.eval())
            # Kernels that add in no fixed order are no noise: then only what is far apart is.
            exact = first_difference(plain, calls_of(model), exact=True) is None
            for _ in range(PASSES):
                found = first_difference(plain, calls_of(model.train()), exact=exact)
                if found is not None:
                    return found
        finally:
            model.train(mode)
    return None


def first_difference(plain: list[Call], again: list[Call], *, exact: bool) -> str | None:
    """Name of the module at which two passes part, or None."""
    for before, after in zip_longest(plain, again):
        if before is None or after is None or before.name != after.name:
            return parent_of((before or after or Call(WHOLE, (), ())).name)
        if differs(before.outputs, after.outputs, exact=exact):
            given_others = differs(before.inputs, after.inputs, exact=exact)
            return parent_of(before.name) if given_others else before.name
    return None


@torch.no_grad()
def calls_of(model: PreTrainedModel) -> list[Call]:
    """Every module's calls in one pass over `TOKENS` ids, in the order in which they end."""
    found: list[Call] = []
    given: dict[str, list[tuple[Tensor, ...]]] = defaultdict(list)

    def watch(name: str, module: nn.Module) -> list[RemovableHandle]:
        def before(_module: nn.Module, args: object, kwargs: object) -> None:
            given[name].append(tensors_in((args, kwargs)))

        def after(_module: nn.Module, _inputs: object, output: object) -> None:
            found.append(Call(name, given[name].pop(), tensors_in(output)))

        return [
            module.register_forward_pre_hook(before, with_kwargs=True),
            module.register_forward_hook(after),
        ]

    handles = [handle for item in model.named_modules() for handle in watch(*item)]
    try:
        count = min(TOKENS, int(model.config.get_text_config().vocab_size))
        ids_1T = torch.arange(count, device=model.device)[None]
        model(input_ids=ids_1T, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return found


def tensors_in(output: object) -> tuple[Tensor, ...]:
    """Copies of the floating tensors in a module's inputs or output, whatever holds them."""
    if isinstance(output, Tensor):
        # A copy: the next module may write into it.
        return (output.float().clone(),) if output.is_floating_point() else ()
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if not isinstance(output, tuple | list):
        return ()
    return tuple(tensor for part in output for tensor in tensors_in(part))


def differs(before: tuple[Tensor, ...], after: tuple[Tensor, ...], *, exact: bool) -> bool:
    """Whether two calls' outputs differ, or else by more than an order of summation explains."""
    rtol, atol = (0.0, 0.0) if exact else (1e-2, 1e-3)
    return len(before) != len(after) or any(
        x.shape != y.shape or not torch.allclose(x, y, rtol=rtol, atol=atol, equal_nan=True)
        for x, y in zip(before, after, strict=True)
    )


def parent_of(name: str) -> str:
    """The name of the module around a module."""
    return name.rpartition(".")[0]
