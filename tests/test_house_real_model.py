"""A real pretrained model as it comes: its weights, vocabulary, chat template and end of turn.

SmolLM2-135M-Instruct, de-quantised from Q4_1, so that no figure of the model itself is asserted.
"""

import importlib.util
import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

pytestmark = [pytest.mark.model, pytest.mark.timeout(240)]

Run = Callable[[str], str]
END = 2
"""The id of `<|im_end|>`."""
GREETING = "You are a helpful AI assistant named SmolLM"
"""What its chat template says where the messages have no system text."""
CAPITAL = "What is the capital of France?"


INSTANCE = {
    "id": "Ann/2",
    "problem": "Ann has 8 shells and gives 3 away. How many are left?",
    "previous_steps": ["1. Ann has 8 shells and gives 3 away."],
    "target_step": "2. Ann has 8 - 3 = 5 shells left.",
    "step_index": 2,
    "num_steps": 2,
    "title": None,
    "meta": {},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a few records."""
    path = tmp_path_factory.mktemp("real")
    (path / "steps.jsonl").write_text(json.dumps(INSTANCE) + "\n")
    problem = {"id": "paris", "problem": CAPITAL, "answer": "Paris"}
    (path / "problems.jsonl").write_text(json.dumps(problem) + "\n")
    return path


@pytest.fixture(scope="module")
def run_there(folder: Path, environment: dict[str, str]) -> Run:
    """Run a command in the working folder to its good end; what it printed, errors too."""

    def run(command: str) -> str:
        program, *arguments = shlex.split(command)
        done = subprocess.run(
            [Path(sys.executable).with_name(program), *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


def script_of(root: Path) -> ModuleType:
    """scripts/get_small_model.py as a module."""
    path = root / "scripts" / "get_small_model.py"
    spec = importlib.util.spec_from_file_location("get_small_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def q4_1(blocks_NB: np.ndarray) -> np.ndarray:
    """Weights of Q4_1 blocks of 20 bytes: a scale, a minimum, and 32 numbers of four bits."""
    scale_N1, least_N1 = (blocks_NB[:, k : k + 2].copy().view("<f2").astype("f4") for k in (0, 2))
    packed_NH = blocks_NB[:, 4:]
    numbers_NW = np.concatenate([packed_NH & 15, packed_NH >> 4], axis=1)
    return numbers_NW * scale_N1 + least_N1


def test_the_saved_weights_are_those_of_the_file(smollm2: Path, root: Path, tmp_path: Path) -> None:
    from gguf import GGMLQuantizationType, GGUFReader
    from safetensors import safe_open

    reader = GGUFReader(script_of(root).unpacked(None, tmp_path))
    (stored,) = (item for item in reader.tensors if item.name == "blk.7.ffn_up.weight")
    assert stored.tensor_type == GGMLQuantizationType.Q4_1
    with safe_open(smollm2 / "model.safetensors", "pt") as weights:
        saved = weights.get_tensor("model.layers.7.mlp.up_proj.weight")
    expected = q4_1(np.asarray(stored.data).reshape(-1, 20)).reshape(saved.shape)
    torch.testing.assert_close(saved, torch.from_numpy(expected), rtol=0, atol=1e-7)


def test_it_writes_english_and_ends_its_turn(smollm2: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    model = AutoModelForCausalLM.from_pretrained(smollm2)
    asked = [{"role": "user", "content": CAPITAL}]
    prompt = tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    written = model.generate(**prompt, max_new_tokens=24, do_sample=False)[0]
    answer = written[prompt.input_ids.shape[1] :].tolist()
    assert "The capital of France is Paris" in tokenizer.decode(answer)
    assert answer.index(END) == len(answer) - 1
    assert model.num_parameters() == 134_515_008


def test_the_words_of_srl_take_the_place_of_the_models_own_system_text(
    smollm2: Path, run_there: Run
) -> None:
    shown = run_there(f"srl-grpo train --model {smollm2} --data steps.jsonl --dry-run")
    assert "# | <|im_start|>system\n# | You solve a problem one step at a time" in shown
    assert GREETING not in shown
    assert "an answer ends with: '<|im_end|>' (2)" in shown


def test_an_answer_in_words_ends_with_the_turn(smollm2: Path, folder: Path, run_there: Run) -> None:
    shown = run_there(
        f"srl-eval file --task-file problems.jsonl --model-path {smollm2} --template chat "
        "--mode greedy --max-new-tokens 32 --output-dir answers"
    )
    assert GREETING in shown
    line = json.loads((folder / "answers" / "results.jsonl").read_text())
    assert line["finish_reason"] == "stop"
    assert "The capital of France is Paris" in line["response"]
    assert "<|" not in line["response"]
