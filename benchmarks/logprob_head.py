#!/usr/bin/env python3
"""The output head in bfloat16: memory and rounding of its scoring pass, now and before.

    uv run benchmarks/logprob_head.py > docs/benchmarks/logprob-head.md

"Before" takes logits as bfloat16 products, and adds each chunk's bfloat16 product to a float32 sum.
Each way runs in a process of its own, so that the peak is that of one; errors are against float64.
"""

import argparse
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from machine import processor
from srl_grpo.objective.logprobs import chunks, linear_logprobs

TEMPERATURE = 1.0
Score = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Callable[[], tuple[Tensor, Tensor]]]]
"""Of hidden states, weights and targets: log-probabilities, and what gives both gradients."""


def before(
    hidden: Tensor, weight: Tensor, targets: Tensor
) -> tuple[Tensor, Callable[[], tuple[Tensor, Tensor]]]:
    """bfloat16 logits, and bfloat16 products added to float32 sums."""

    def logits_of(part: slice) -> Tensor:
        return torch.nn.functional.linear(hidden[part], weight).float()

    parts = list(chunks(len(hidden), len(weight)))
    normaliser = torch.cat([logits_of(part).logsumexp(-1) for part in parts])
    chosen = torch.cat([logits_of(p).gather(1, targets[p, None])[:, 0] for p in parts])

    def backward() -> tuple[Tensor, Tensor]:
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        for part in parts:
            slope = torch.exp(logits_of(part) - normaliser[part, None]).neg_()
            slope.scatter_add_(1, targets[part, None], torch.ones_like(slope[:, :1]))
            low = slope.to(weight.dtype)
            grad_hidden[part] = low @ weight
            grad_weight += (low.T @ hidden[part]).float()
        return grad_hidden, grad_weight.to(weight.dtype)

    return chosen - normaliser, backward


def now(
    hidden: Tensor, weight: Tensor, targets: Tensor
) -> tuple[Tensor, Callable[[], tuple[Tensor, Tensor]]]:
    """The trainer's own."""
    leaves = hidden.requires_grad_(), weight.requires_grad_()
    logprobs, _ = linear_logprobs(*leaves, None, targets, TEMPERATURE)

    def backward() -> tuple[Tensor, Tensor]:
        grads = torch.autograd.grad(logprobs.sum(), leaves)
        return grads[0], grads[1]

    return logprobs.detach(), backward


WAYS: dict[str, Score] = {"before": before, "now": now}


def made(vocabulary: int, width: int, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, weights and targets whose logits reach about 20, as a trained model's do."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.empty(vocabulary, width, dtype=torch.bfloat16)
    for start in range(0, vocabulary, 8192):
        part = weight[start : start + 8192]
        part.copy_(0.02 * torch.randn(part.shape, generator=generator))
    targets = torch.randint(vocabulary, (tokens,), generator=generator)
    rivals = torch.randint(vocabulary, (tokens,), generator=generator)
    noise = torch.randn(tokens, width, generator=generator)
    pull = weight[targets].float() / weight[targets].float().square().sum(1, keepdim=True)
    other = weight[rivals].float() / weight[rivals].float().square().sum(1, keepdim=True)
    return (noise + 20 * pull + 19 * other).bfloat16(), weight, targets


class Peak(threading.Thread):
    """The most memory of this process above what it had at the start, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.start_bytes, self.most, self.ends = resident(), 0, False

    def run(self) -> None:
        """Look until told to end."""
        while not self.ends:
            self.most = max(self.most, resident() - self.start_bytes)
            time.sleep(0.001)


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@dataclass
class Found:
    """What one way gave."""

    peak: int
    seconds: float
    noise_mean: float
    noise_most: float
    weight_error: float
    hidden_error: float


def measure(way: str, sizes: tuple[int, int, int]) -> Found:
    """Run one way and compare it with float64, block by block."""
    hidden, weight, targets = made(*sizes)
    logprobs, backward = WAYS[way](hidden, weight, targets)
    peak = Peak()
    peak.start()
    began = time.perf_counter()
    grad_hidden, grad_weight = backward()
    seconds = time.perf_counter() - began
    peak.ends = True
    peak.join()
    hidden, weight = hidden.detach(), weight.detach()
    exact, errors = compare(hidden, weight, targets, grad_hidden, grad_weight)
    noise = (torch.exp(logprobs.double() - exact) - 1).abs()
    return Found(peak.most, seconds, noise.mean().item(), noise.max().item(), *errors)


def compare(
    hidden: Tensor, weight: Tensor, targets: Tensor, grad_hidden: Tensor, grad_weight: Tensor
) -> tuple[Tensor, tuple[float, float]]:
    """Log-probabilities in float64, and relative errors of the weight's and the hidden gradient."""
    hidden64, rows = hidden.double(), range(0, len(weight), 4096)
    logits = torch.cat([hidden64 @ weight[r : r + 4096].double().T for r in rows], dim=1)
    logprobs = logits.log_softmax(-1)
    slope = -logprobs.exp()
    slope.scatter_add_(1, targets[:, None], torch.ones_like(slope[:, :1]))
    missed = size = 0.0
    exact_hidden = torch.zeros_like(hidden64)
    for r in rows:
        part = slope[:, r : r + 4096]
        exact = part.T @ hidden64
        missed += (grad_weight[r : r + 4096].double() - exact).square().sum().item()
        size += exact.square().sum().item()
        exact_hidden += part @ weight[r : r + 4096].double()
    hidden_error = (grad_hidden.double() - exact_hidden).norm() / exact_hidden.norm()
    chosen = logprobs.gather(1, targets[:, None])[:, 0]
    return chosen, ((missed / size) ** 0.5, hidden_error.item())


def work(way: str, sizes: tuple[int, int, int], queue: "multiprocessing.Queue[Found]") -> None:
    """Measure in a process of its own."""
    torch.set_num_threads(1)
    queue.put(measure(way, sizes))


def apart(way: str, sizes: tuple[int, int, int]) -> Found:
    """What `measure` gives, in a new process."""
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[Found] = context.Queue()
    process = context.Process(target=work, args=(way, sizes, queue))
    process.start()
    found = queue.get()
    process.join()
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--vocabulary", type=int, default=152_064)
    parser.add_argument("--width", type=int, default=3584)
    parser.add_argument("--tokens", type=int, nargs="+", default=[8])
    options = parser.parse_args()
    print("# The output head in bfloat16\n")
    print("Made by `uv run benchmarks/logprob_head.py > docs/benchmarks/logprob-head.md`:")
    print(f"one thread of {processor()}, torch {torch.__version__},")
    sizes = f"a vocabulary of {options.vocabulary:,} and a width of {options.width:,}"
    print(f"{sizes} in bfloat16, logits")
    print("up to about 20. Errors are relative to float64.\n")
    columns = ("Tokens", "Way", "Peak of the backward", "Time", "Noise on a probability, mean")
    columns += ("most", "Error of the weight's gradient", "of the hidden states'")
    print("| " + " | ".join(columns) + " |")
    print("| --- " * len(columns) + "|")
    for tokens in options.tokens:
        for way in WAYS:
            found = apart(way, (options.vocabulary, options.width, tokens))
            print(
                f"| {tokens} | {way} | {found.peak / 2**30:.2f} GiB | {found.seconds:.1f} s "
                f"| {found.noise_mean:.2%} | {found.noise_most:.2%} | {found.weight_error:.2e} "
                f"| {found.hidden_error:.2e} |"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
