"""The engine for any causal language model of transformers, in the process that may also train it.

Its own decode loop, since `model.generate` has no seed per row: equal neighbouring prompts are
computed once, and kept once where the model can (`shared_rows.py`), else padded on the left
(`padded_rows.py`); rows that have ended leave the batch. Nothing of `generation_config` is read.
It leaves out speculative decoding, paged attention and continuous batching: those are vLLM's.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from srl_eval.generate.draw import draw
from srl_eval.generate.drawn import Drawn, UniformStream
from srl_eval.generate.engine import ChunkedEngine, Prompt
from srl_eval.generate.packed_products import packed_products
from srl_eval.generate.padded_rows import PaddedRows
from srl_eval.generate.running_rows import RunningRows
from srl_eval.generate.sampling import Completion, Sampling
from srl_eval.generate.seeds import seed_array
from srl_eval.generate.shared_check import SharingCheck
from srl_eval.generate.shared_rows import SharedRows
from srl_eval.generate.stop_text import StopWatch
from srl_eval.generate.text import Decoder

SMALL_MODEL = 1 << 24
"""Parameters up to which one CPU thread is best: operators are too short to share."""

_CHECK_EVERY_ON_GPU = 8  # tokens between looks at who has ended: a look waits for the device


class TransformersEngine(ChunkedEngine):
    """Completions from a `PreTrainedModel` that this process holds.

    `pad_token_id` fills the left of shorter prompts where they are padded, and is never attended
    to. `chunk_size` rows run as one batch. Weights are read at the time of sampling; whoever
    changes them raises `weights_version`. Several threads may call one engine, which runs a chunk
    at a time; of engines that hold one model, only one may run. `decoder` is the tokenizer, needed
    for stop strings.
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
        self._sharing = SharingCheck(model, self.device)
        self._lock = Lock()
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
        """One batch from prompts to completions; chunks of other threads wait for it."""
        with self._lock:
            return self._run_chunk(prompts, sampling, seeds)

    def _run_chunk(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Completion]:
        with evaluating(self.model), torch.no_grad(), cpu_threads(1 if self._one_thread else None):
            batch = self._read(prompts, sampling)
            drawn = Drawn(len(prompts), sampling)
            watch = self._watch(len(prompts), sampling)
            with packed_products(self.model, len(prompts), sampling.max_new_tokens):
                self._decode(batch, sampling, seed_array(seeds), drawn, watch)
        scans = watch.rows if watch else None
        return drawn.completions(sampling.stop_token_ids, self.weights_version, scans)

    def _watch(self, rows: int, sampling: Sampling) -> StopWatch | None:
        """The watch for stop strings; None where there are none."""
        if not sampling.stop:
            return None
        assert self.decoder is not None, "`check` asks for it"
        return StopWatch(rows, sampling, self.decoder)

    def _read(self, prompts: Sequence[Prompt], sampling: Sampling) -> RunningRows:
        """Rows that have read their prompts, which they share where the model can."""
        layers, new = self._sharing.layers(), sampling.max_new_tokens
        if layers is not None:
            return SharedRows(self.model, prompts, new, layers, self.device)
        return PaddedRows(self.model, prompts, new, self.pad_token_id, self.device)

    def _decode(
        self,
        batch: RunningRows,
        sampling: Sampling,
        seeds: NDArray[np.uint64],
        drawn: Drawn,
        watch: StopWatch | None,
    ) -> None:
        """Draw, feed back, and let rows go, until none runs or the length is reached."""
        stops = torch.tensor(sampling.stop_token_ids, dtype=torch.long, device=self.device)
        logits_BV = batch.logits_BV
        stream = UniformStream(seeds, sampling, self.device)
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
            logits_BV = batch.step(token_B)


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
