"""What a chunk's rows are drawn with, and what has been drawn of them, step by step.

Left out: the draw itself (`srl_eval.generate.draw`).
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srl_eval.generate.draw import Draw
from srl_eval.generate.kept import KeptRecorder, KeptTokens
from srl_eval.generate.sampling import Completion, Sampling
from srl_eval.generate.seeds import uniforms
from srl_eval.generate.stop_text import StopScan

BLOCK = 256  # tokens whose uniforms are made at once


class UniformStream:
    """The uniforms of the rows still running, a block of tokens at a time."""

    def __init__(self, seeds: NDArray[np.uint64], sampling: Sampling, device: torch.device) -> None:
        self._seeds, self._device = seeds, device
        self._length = 0 if sampling.greedy else sampling.max_new_tokens
        self._rows: NDArray[np.int64] | None = None
        self._start = 0
        self._block_TB = torch.empty(0)

    def at(self, t: int, rows: NDArray[np.int64]) -> Tensor | None:
        """Those of token `t`, shape (rows,); None when nothing is drawn."""
        if not self._length:
            return None
        if rows is not self._rows or t >= self._start + len(self._block_TB):
            block_BT = uniforms(self._seeds[rows], t, min(BLOCK, self._length - t))
            block_TB = torch.from_numpy(np.ascontiguousarray(block_BT.T))
            self._rows, self._start, self._block_TB = rows, t, block_TB.to(self._device)
        return self._block_TB[t - self._start]


class Drawn:
    """Tokens and log-probabilities as they come, on the device until the chunk is done."""

    def __init__(self, rows: int, sampling: Sampling) -> None:
        self._rows = rows
        self._kept = KeptRecorder(rows) if sampling.records else None
        self._seen = 0
        self._spans: list[tuple[NDArray[np.int64], list[Tensor], list[Tensor]]] = []

    def add(self, rows_B: NDArray[np.int64], drawn: Draw) -> None:
        """One step of the rows `rows_B`; an unchanged array continues the current span."""
        if not self._spans or self._spans[-1][0] is not rows_B:
            self._spans.append((rows_B, [], []))
        self._spans[-1][1].append(drawn.token_B)
        self._spans[-1][2].append(drawn.logprob_B)
        if self._kept is not None and drawn.filtered is not None:
            self._kept.add(rows_B, *drawn.filtered)

    def unseen(self) -> NDArray[np.int64]:
        """The tokens since the last call, shape (T, B); rows may only have left just after it."""
        _, tokens, _ = self._spans[-1]
        before = sum(len(each) for _, each, _ in self._spans[:-1])
        fresh = tokens[self._seen - before :]
        self._seen = before + len(tokens)
        found: NDArray[np.int64] = torch.stack(fresh).cpu().numpy()
        return found

    def completions(
        self,
        stops: tuple[int, ...],
        weights_version: int,
        scans: Sequence[StopScan] | None = None,
    ) -> list[Completion]:
        """Every row, cut after its first stop token, or where a stop string is complete."""
        steps = sum(len(tokens) for _, tokens, _ in self._spans)
        token_RT = np.zeros((self._rows, steps), dtype=np.int64)
        logprob_RT = np.zeros((self._rows, steps), dtype=np.float32)
        start = 0
        for rows_B, tokens, logprobs in self._spans:
            span = slice(start, start := start + len(tokens))
            token_RT[rows_B, span] = torch.stack(tokens, dim=1).cpu().numpy()
            logprob_RT[rows_B, span] = torch.stack(logprobs, dim=1).cpu().numpy()
        stop_RT: NDArray[np.bool_] = np.isin(token_RT, stops)
        stopped_R: NDArray[np.bool_] = np.any(stop_RT, axis=1)
        # A row that left the batch has its stop token behind it; what follows is filler.
        length_R = np.where(stopped_R, stop_RT.argmax(axis=1) + 1, steps)
        texts: list[str | None] = [None] * self._rows
        for r, found in enumerate(scans or ()):
            if found.length is not None:
                length_R[r], stopped_R[r], texts[r] = found.length, True, found.text
        return [
            _completion(
                token_RT[r, :n],
                logprob_RT[r, :n],
                bool(stopped_R[r]),
                weights_version,
                texts[r],
                None if self._kept is None else self._kept.first(r, n),
            )
            for r, n in enumerate(length_R.tolist())
        ]


def _completion(
    token_T: NDArray[np.int64],
    logprob_T: NDArray[np.float32],
    stopped: bool,
    version: int,
    stop_string: str | None,
    kept: KeptTokens | None,
) -> Completion:
    bad_T = np.flatnonzero(~np.isfinite(logprob_T))
    if len(bad_T):
        at = int(bad_T[0])
        raise FloatingPointError(
            f"the model gave a log-probability of {float(logprob_T[at])} at new token {at}: "
            "its weights or activations are not finite"
        )
    return Completion(
        tuple(token_T.tolist()),
        tuple(logprob_T.tolist()),
        "stop" if stopped else "length",
        version,
        stop_string,
        kept,
    )
