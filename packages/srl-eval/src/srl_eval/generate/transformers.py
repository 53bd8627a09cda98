"""The engine for any causal language model of transformers, in the process that may also train it.

Its own decode loop, since `model.generate` has no seed per row: equal neighbouring prompts are
computed once, prompts are padded on the left, rows that have ended leave the batch. Nothing of
`generation_config` is read. It leaves out speculative decoding, paged attention and continuous
batching: those are vLLM's.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache

from srl_eval.generate.draw import Draw, draw
from srl_eval.generate.engine import ChunkedEngine, Prompt
from srl_eval.generate.kept import KeptRecorder, KeptTokens
from srl_eval.generate.kv_cache import make_cache, only_full_attention, select_rows
from srl_eval.generate.sampling import Completion, Sampling
from srl_eval.generate.seeds import seed_array, uniforms
from srl_eval.generate.stop_text import StopScan, StopWatch
from srl_eval.generate.text import Decoder

_BLOCK = 256  # tokens whose uniforms are made at once, and whose cache is allocated at first
_KEEP_SHARE = 0.75  # the batch is rebuilt when at most this share of its rows is still running
SMALL_MODEL = 1 << 24
"""Parameters up to which one CPU thread is best: operators are too short to share."""

_CHECK_EVERY_ON_GPU = 8  # tokens between looks at who has ended: a look waits for the device


class TransformersEngine(ChunkedEngine):
    """Completions from a `PreTrainedModel` that this process holds.

    `pad_token_id` fills the left of shorter prompts and is never attended to. `chunk_size` rows run
    as one batch. Weights are read at the time of sampling; whoever changes them raises
    `weights_version`. `decoder` is the tokenizer, needed for stop strings.
    """

    records_kept = True

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        pad_token_id: int,
        chunk_size: int = 128,
        device: torch.device | str | None = None,
        decoder: Decoder | None = None,
    ) -> None:
        super().__init__(chunk_size, decoder)
        self.model = model
        self.pad_token_id = pad_token_id
        self.device = (
            torch.device(device) if device is not None else next(model.parameters()).device
        )
        self._accepts = frozenset(inspect.signature(model.forward).parameters)
        on_cpu = self.device.type == "cpu"
        self._check_every = 1 if on_cpu else _CHECK_EVERY_ON_GPU
        self._one_thread = on_cpu and sum(p.numel() for p in model.parameters()) <= SMALL_MODEL

    @property
    def max_length(self) -> int | None:
        """`max_position_embeddings`; None where the model states no limit."""
        limit = getattr(
            self.model.config.get_text_config(decoder=True), "max_position_embeddings", None
        )
        return int(limit) if limit else None

    def run_chunk(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Completion]:
        """One batch from prompts to completions."""
        with evaluating(self.model), torch.no_grad(), cpu_threads(1 if self._one_thread else None):
            batch, logits_BV = self._prefill(prompts, sampling)
            drawn = _Drawn(len(prompts), sampling)
            watch = self._watch(len(prompts), sampling)
            self._decode(batch, logits_BV, sampling, seed_array(seeds), drawn, watch)
        scans = watch.rows if watch else None
        return drawn.completions(sampling.stop_token_ids, self.weights_version, scans)

    def _watch(self, rows: int, sampling: Sampling) -> StopWatch | None:
        """The watch for stop strings; None where there are none."""
        if not sampling.stop:
            return None
        assert self.decoder is not None, "`check` asks for it"
        return StopWatch(rows, sampling, self.decoder)

    def _prefill(self, prompts: Sequence[Prompt], sampling: Sampling) -> "tuple[_Batch, Tensor]":
        """Run each distinct neighbour once, then give every row its copy of the cache."""
        unique, owner = _neighbours(prompts)
        longest = max(map(len, unique))
        limit = longest + sampling.max_new_tokens
        cache = make_cache(self.model.config, longest + _BLOCK, limit)
        padded = [[self.pad_token_id] * (longest - len(p)) + list(p) for p in unique]
        ids_UP = torch.tensor(padded, device=self.device)
        lengths_U = torch.tensor([len(p) for p in unique], device=self.device)
        place_UP = torch.arange(longest, device=self.device) - (longest - lengths_U)[:, None]
        seen_UP = place_UP >= 0
        any_padding = min(map(len, unique)) < longest
        mask = seen_UP.long() if any_padding else None
        logits_UV = self._forward(ids_UP, place_UP.clamp(min=0), mask, cache)
        owner_B = torch.tensor(owner, device=self.device)
        if len(unique) < len(prompts):
            select_rows(cache, owner_B)
        batch = _Batch(
            cache=cache,
            rows=np.arange(len(prompts)),
            position=lengths_U[owner_B, None],
            mask=self._decode_mask(seen_UP[owner_B], cache, limit) if any_padding else None,
            ended=torch.zeros(len(prompts), dtype=torch.bool, device=self.device),
        )
        return batch, logits_UV[owner_B]

    def _decode_mask(self, seen_BP: Tensor, cache: DynamicCache, limit: int) -> Tensor:
        """Which keys a new token sees, for the longest case; sliced to what is filled at each step.

        sdpa with full attention in every layer takes a boolean (B, 1, 1, T) as it is; everything
        else gets the plain (B, T) and builds its own from it, at some cost a token.
        """
        new_BT = seen_BP.new_ones(seen_BP.shape[0], limit - seen_BP.shape[1])
        mask_BT = torch.cat([seen_BP, new_BT], dim=1)
        implementation = self.model.config._attn_implementation  # noqa: SLF001 - transformers has no other name for it
        if (
            implementation == "sdpa"
            and only_full_attention(cache)
            and "position_ids" in self._accepts
        ):
            return mask_BT[:, None, None, :]
        return mask_BT.long()

    def _forward(
        self, ids_BT: Tensor, position_BT: Tensor, mask: Tensor | None, cache: DynamicCache
    ) -> Tensor:
        """Logits (B, V) after the last token; the cache takes in all of them."""
        kwargs: dict[str, object] = {
            "input_ids": ids_BT,
            "past_key_values": cache,
            "use_cache": True,
        }
        if mask is not None:
            kwargs["attention_mask"] = mask
        if "position_ids" in self._accepts:
            kwargs["position_ids"] = position_BT
        if "logits_to_keep" in self._accepts:
            kwargs["logits_to_keep"] = 1
        logits_BTV: Tensor = self.model(**kwargs).logits
        return logits_BTV[:, -1]

    def _decode(
        self,
        batch: "_Batch",
        logits_BV: Tensor,
        sampling: Sampling,
        seeds: NDArray[np.uint64],
        drawn: "_Drawn",
        watch: StopWatch | None,
    ) -> None:
        """Draw, feed back, and let rows go, until none runs or the length is reached."""
        stops = torch.tensor(sampling.stop_token_ids, dtype=torch.long, device=self.device)
        stream = _UniformStream(seeds, sampling, self.device)
        for t in range(sampling.max_new_tokens):
            found = draw(logits_BV, sampling, stream.at(t, batch.rows))
            token_B = found.token_B
            drawn.add(batch.rows, found)
            last = t == sampling.max_new_tokens - 1
            looks = t % self._check_every == 0
            if watch and (looks or last):
                ended = watch.feed(batch.rows, drawn.unseen())
                batch.ended |= torch.from_numpy(ended).to(self.device)
            if last:
                return
            if len(stops) or watch:
                batch.ended |= (token_B[:, None] == stops).any(-1)
                if looks:
                    token_B = batch.retire(token_B)
                    if not len(token_B):
                        return
            logits_BV = self._forward(
                token_B[:, None], batch.position, batch.mask_now(), batch.cache
            )
            batch.position = batch.position + 1


class _UniformStream:
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
            block_BT = uniforms(self._seeds[rows], t, min(_BLOCK, self._length - t))
            block_TB = torch.from_numpy(np.ascontiguousarray(block_BT.T))
            self._rows, self._start, self._block_TB = rows, t, block_TB.to(self._device)
        return self._block_TB[t - self._start]


@dataclass
class _Batch:
    """The rows still in the batch.

    `rows` their places in the chunk, `position` (rows, 1) where the next token stands, `mask` what
    it sees (see `_decode_mask`), `ended` who has drawn a stop token.
    """

    cache: DynamicCache
    rows: NDArray[np.int64]
    position: Tensor
    mask: Tensor | None
    ended: Tensor

    def mask_now(self) -> Tensor | None:
        """The mask over the filled cache and the token about to enter it."""
        return None if self.mask is None else self.mask[..., : self.cache.get_seq_length() + 1]

    def retire(self, token_B: Tensor) -> Tensor:
        """Let ended rows go where it pays; the tokens of those that stay, none if all ended."""
        running = len(token_B) - int(self.ended.sum())
        if running and running > _KEEP_SHARE * len(token_B):
            return token_B
        keep = (~self.ended).nonzero()[:, 0]
        if running:
            select_rows(self.cache, keep)
        self.rows = self.rows[keep.cpu().numpy()]
        self.position = self.position[keep]
        self.mask = None if self.mask is None else self.mask[keep]
        self.ended = self.ended[keep]
        return token_B[keep]


class _Drawn:
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


def _neighbours(prompts: Sequence[Prompt]) -> tuple[list[tuple[int, ...]], list[int]]:
    """Runs of equal prompts: each run's prompt, and for every row the run it belongs to."""
    unique: list[tuple[int, ...]] = []
    owner: list[int] = []
    for prompt, rows in groupby(map(tuple, prompts)):
        owner += [len(unique)] * len(list(rows))
        unique.append(prompt)
    return unique, owner


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode within, each submodule's own mode restored after."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """So many threads an operator within; None leaves them as they are.

    The threads of an operator wait for each other by spinning. Where other processes keep the cores
    busy, that made a step of a small model thirty times slower than it is on one thread.
    """
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
