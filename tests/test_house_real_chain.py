"""From a pretrained model that does not know the format to one that learns from its own steps.

SmolLM2-135M-Instruct, de-quantised from Q4_1, on problems of GSM8K (of our own, in its form, where
`SRL_TEST_DATA` is not set): `stepify`, `build`, `sft` on the format → `final/` → `train`. A
handful of steps; what sixty give is in docs/benchmarks/small-model.md.
"""

import json
import os
import random
import shlex
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]

CHAIN = """\
srl-data stepify --source problems.jsonl --output solutions.jsonl
srl-data build s1k --source solutions.jsonl --field solution --targets all \
--val-size 20 --output steps.jsonl
srl-grpo sft --model {model} --data steps.jsonl --max-seq-len 230 --batch-size 2 \
--gradient-accumulation-steps 1 --num-steps 6 --lr 2e-4 --val-data steps.val.jsonl --eval-limit 8 \
--eval-every 6 --max-new-tokens 64 --temperature 0.3 --output-dir sft
srl-grpo train --model sft/final --data steps.jsonl --num-steps 1 --batch-size 1 --group-size 4 \
--lr 1e-5 --max-new-tokens 40 --output-dir srl
"""


def own_problems() -> list[str]:
    """Word problems in GSM8K's form."""
    draw, lines = random.Random(0), []
    for number in range(40):
        name, thing = ("Ann", "Ben", "Cleo", "Dan")[number % 4], ("pens", "shells")[number % 2]
        owned, more, given = draw.randint(3, 9), draw.randint(2, 9), draw.randint(1, 4)
        both, left = owned + more, owned + more - given
        question = (
            f"{name} has {owned} {thing}, gets {more} more and gives {given} away. "
            f"How many {thing} does {name} have now?"
        )
        answer = (
            f"{name} has {owned} + {more} = <<{owned}+{more}={both}>>{both} {thing} then.\n"
            f"After that {name} has {both} - {given} = <<{both}-{given}={left}>>{left} {thing}.\n"
            f"#### {left}"
        )
        lines.append(json.dumps({"question": question, "answer": answer}) + "\n")
    return lines


def problems() -> list[str]:
    """A few problems of GSM8K, or our own."""
    data = os.environ.get("SRL_TEST_DATA")
    if data is None:
        return own_problems()
    with Path(data, "gsm8k", "train.jsonl").open(encoding="utf-8") as lines:
        return list(islice(lines, 200))


@pytest.fixture(scope="module")
def chain(
    tmp_path_factory: pytest.TempPathFactory, smollm2: Path, environment: dict[str, str]
) -> Path:
    """The folder in which the whole chain has run."""
    folder = tmp_path_factory.mktemp("chain")
    (folder / "problems.jsonl").write_text("".join(problems()), encoding="utf-8")
    for command in CHAIN.format(model=smollm2).splitlines():
        program, *words = shlex.split(command)
        done = subprocess.run(
            [Path(sys.executable).with_name(program), *words],
            cwd=folder,
            env={**environment, "OMP_NUM_THREADS": "1"},  # the slow tests may run beside
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done
    return folder


def test_the_format_is_learned_in_a_few_steps(chain: Path) -> None:
    lines = (chain / "sft" / "metrics.jsonl").read_text().splitlines()
    first, last = json.loads(lines[0]), json.loads(lines[-1])
    assert last["eval/loss"] < first["train/loss"] - 0.5
    assert last["eval/format_reward"] > 0.5
    assert last["eval/greedy_reward"] > 0


def test_final_answers_in_the_format_in_plain_transformers(chain: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from srl_data.prompt_format import open_prompts
    from srl_data.prompt_record import ChatOptions, read_record
    from srl_data.prompts import TEMPLATES
    from srl_reward import InvalidOutput, parse_step_output

    final = chain / "sft" / "final"
    record = read_record(final)
    assert record is not None
    assert record.name == "srl"
    tokenizer = AutoTokenizer.from_pretrained(final)
    model = AutoModelForCausalLM.from_pretrained(final)
    instance = json.loads((chain / "steps.val.jsonl").read_text().splitlines()[0])
    prompt = open_prompts(tokenizer, TEMPLATES["srl"], ChatOptions()).prompt(**instance)
    written = model.generate(torch.tensor([prompt.ids]), max_new_tokens=64, do_sample=False)[0]
    answer = written[len(prompt.ids) :].tolist()
    assert answer[-1] == model.generation_config.eos_token_id == tokenizer.eos_token_id
    parsed = parse_step_output(tokenizer.decode(answer, skip_special_tokens=True))
    assert not isinstance(parsed, InvalidOutput)
    assert parsed.number == 1


def test_a_step_of_training_follows_from_final(chain: Path) -> None:
    from safetensors import safe_open

    line = json.loads((chain / "srl" / "metrics.jsonl").read_text())
    assert line["reward/invalid"] < 1
    assert line["grad_norm"] > 0
    assert line["sampling/logprob_difference"] < 1e-4
    name = "model.layers.0.self_attn.q_proj.weight"
    values = []
    for place in ("sft/final", "srl/step_1"):
        with safe_open(chain / place / "model.safetensors", "pt") as weights:
            values.append(weights.get_tensor(name))
    moved = (values[1] - values[0]).abs().max()
    assert 0 < moved <= 2e-5  # Adam's first step is the learning rate at most, but for rounding


def test_the_checkpoint_has_all_that_the_model_had(chain: Path, smollm2: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    checkpoint = chain / "srl" / "step_1"
    before, after = (AutoTokenizer.from_pretrained(place) for place in (smollm2, checkpoint))
    assert after.chat_template == before.chat_template
    text = "Ann’s 12 shells <|im_end|>\n\tcost £3.50"
    assert after.encode(text) == before.encode(text)
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    assert model.generation_config.eos_token_id == before.eos_token_id
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
