"""A run that is killed twenty times ends with the bytes of one that was left alone.

960 samples of a small model made on the spot, the command in a process of its own, SIGKILL at
random moments: while it starts, and while it generates, grades and writes.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from srl_data.prompt_format import open_prompts
from srl_data.prompt_record import ChatOptions
from srl_data.prompts import get_template
from srl_eval import read_samples

PROBLEMS, SAMPLES, KILLS = 30, 32, 20


def answering_model(source: Path, folder: Path) -> None:
    """The tiny model, taught for a moment to write boxes with numbers of one digit in them."""
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForCausalLM.from_pretrained(source)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    prompts = open_prompts(tokenizer, get_template("boxed"), ChatOptions())
    draw = random.Random(0)
    torch.manual_seed(0)
    for _ in range(150):
        texts = [
            prompts.prompt(problem=f"What is {draw.randint(0, 9)}?").text
            + f"so{'.' * draw.randint(1, 20)} $\\boxed{{{draw.randint(0, 9)}}}$<|end|>"
            for _ in range(8)
        ]
        ids = [torch.tensor(tokenizer.encode(text)) for text in texts]
        ids_BT = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=1)
        loss = model(input_ids=ids_BT, labels=ids_BT.masked_fill(ids_BT == 1, -100)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def start(model: Path, data: Path, output: Path) -> "subprocess.Popen[bytes]":
    arguments = [
        *("aime24", "--model-path", str(model), "--data-path", str(data), "--mode", "avg32"),
        *("--output-dir", str(output), "--max-new-tokens", "48", "--chunk-size", "16"),
    ]
    program = "from srl_eval.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def wait_for_growth(process: "subprocess.Popen[bytes]", results: Path) -> None:
    """Until something more stands in the file, a chunk or what a kill leaves of one."""
    before = size(results)
    while size(results) <= before and process.poll() is None:
        time.sleep(0.002)


def kill_at_random(draw: random.Random, process: "subprocess.Popen[bytes]", results: Path) -> None:
    if draw.random() < 0.25:
        time.sleep(draw.uniform(0, 5))
    else:
        for _ in range(draw.randint(1, 2)):
            wait_for_growth(process, results)
        time.sleep(draw.uniform(0, 0.1))
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_kills_change_no_byte(tmp_path: Path, model_folder: Path) -> None:
    model, data = tmp_path / "model", tmp_path / "problems.jsonl"
    answering_model(model_folder, model)
    rows = [{"problem": f"What is {n % 10}?", "answer": str(n % 10)} for n in range(PROBLEMS)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    _, errors = (unbroken := start(model, data, whole)).communicate()
    assert unbroken.returncode == 0, errors.decode()

    draw, sizes = random.Random(7), []
    for _ in range(KILLS):
        process = start(model, data, broken)
        kill_at_random(draw, process, broken / "results.jsonl")
        assert process.returncode == -signal.SIGKILL, "finished before all kills; ask for more"
        sizes.append(size(broken / "results.jsonl"))
    _, errors = (last := start(model, data, broken)).communicate()
    assert last.returncode == 0, errors.decode()

    assert sizes[-1] > sizes[0]
    samples = read_samples(whole / "results.jsonl")
    assert len(samples) == PROBLEMS * SAMPLES
    assert {sample.verdict.value for sample in samples} >= {"correct", "wrong"}
    for name in ("results.jsonl", "metrics.json", "problems.jsonl"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes(), name
    print(f"sizes after the kills: {sizes} of {size(whole / 'results.jsonl')}")
