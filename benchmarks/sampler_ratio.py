"""How far the trainer's probability of a token lies from the sampler's, in float32 and bfloat16.

The same weights sample (the decode loop, a cache, rows padded on the left) and score (the trainer's
pass over whole rows, padded on the right); what lies between is rounding. Figures are those that a
run logs as `sampling/ratio_...` and `sampling/logprob_difference`.

    scripts/get_small_model.py --output smollm2
    srl-grpo train --config quickstart --output-dir runs/quick
    OMP_NUM_THREADS=1 python benchmarks/sampler_ratio.py --model runs/quick/final smollm2
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from machine import processor
from srl_data.arithmetic import Difficulty, problems
from srl_eval.generate import Sampling, TransformersEngine
from srl_eval.generate.architectures import vocabulary_size
from srl_eval.generate.tokenizers import padding_id
from srl_grpo.config.sections import ModelSection
from srl_grpo.learner.agreement import difference_metrics, ratio_metrics
from srl_grpo.learner.batch import Sample, to_tensors
from srl_grpo.learner.model import load_for_training
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.sharding import length_groups

SEED = 3
TYPES = ("float32", "bfloat16")
NAMES = ("mean", "p01", "p50", "p99", "max")
Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def samples_of(loaded: Loaded, prompts: int, group: int, tokens: int) -> list[Sample]:
    """Completions of arithmetic problems, with the sampler's log-probabilities."""
    model, tokenizer = loaded
    made = problems(SEED, prompts, Difficulty(2, 4))
    rows = [tuple(tokenizer.encode(each.problem)) for each in made for _ in range(group)]
    pad = padding_id(tokenizer, vocabulary_size(model.config))
    engine = TransformersEngine(model, pad_token_id=pad, chunk_size=32)
    sampling = Sampling(max_new_tokens=tokens, temperature=1.0)
    drawn = engine.generate(rows, sampling, list(range(len(rows))))
    return [
        Sample(row, done.token_ids, sampler_logprobs=done.logprobs)
        for row, done in zip(rows, drawn, strict=True)
    ]


@torch.no_grad()
def log_ratios(loaded: Loaded, samples: list[Sample]) -> Iterator[torch.Tensor]:
    """`log(trainer / sampler)` of each token, micro-batch by micro-batch."""
    policy = Policy(loaded[0])
    for rows in length_groups(samples, 4096):
        batch = to_tensors(samples, rows, 0, "cpu")
        logprobs, _ = policy(batch)
        yield logprobs.float() - batch.columns["sampler_logprobs"]


def row_of(path: Path, dtype: str, options: argparse.Namespace) -> str:
    """One model in one type, as a row of the table."""
    section = ModelSection.model_validate({"dtype": dtype, "path": str(path)})
    loaded = load_for_training(section, torch.device("cpu"), SEED)
    samples = samples_of(loaded, options.prompts, options.group, options.tokens)
    found = torch.cat(list(log_ratios(loaded, samples)))
    ratios = ratio_metrics(found)
    shares = torch.full_like(found, 1 / len(found))
    (apart,) = difference_metrics(found, shares).values()
    digits = 6 if dtype == "float32" else 3
    cells = [f"{ratios[f'sampling/ratio_{key}']:.{digits}f}" for key in NAMES]
    return f"| {path} | {dtype} | {len(found):,} | {' | '.join(cells)} | {float(apart):.1e} |"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, nargs="+", required=True, help="folders of models")
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--group", type=int, default=4, help="completions per prompt")
    parser.add_argument("--tokens", type=int, default=64, help="most tokens of a completion")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    disable_progress_bar()
    print(f"{processor()}, torch {torch.__version__}\n")
    print(f"| Model | Type | Tokens | {' | '.join(NAMES)} | difference, nats |")
    print("| --- | --- |" + " --: |" * (len(NAMES) + 2))
    for path in options.model:
        for dtype in TYPES:
            print(row_of(path, dtype, options), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
