"""Which architectures are refused, by their configuration alone, in the command's one line."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoConfig

from srl_data.command.frame import execute
from srl_eval.cli import cli
from srl_eval.generate.architectures import unsupported, vocabulary_size, window

STATE = "keeps a state other than keys and values"
REFUSED = {
    "mamba": ({}, STATE),
    "mamba2": ({}, STATE),
    "falcon_mamba": ({}, STATE),
    "jamba": ({}, STATE),
    "bamba": ({}, STATE),
    "zamba2": ({}, STATE),
    "falcon_h1": ({}, STATE),
    "nemotron_h": ({}, STATE),
    "granitemoehybrid": ({}, STATE),
    "qwen3_next": ({}, STATE),
    "qwen3_5": ({}, STATE),
    "qwen3_5_moe": ({}, STATE),
    "kimi_linear": ({}, STATE),
    "olmo_hybrid": ({}, STATE),
    "minimax": ({}, STATE),
    "lfm2": ({"full_attn_idxs": [2], "num_hidden_layers": 3}, "(conv layers)"),
    "rwkv": ({}, STATE),
    "recurrent_gemma": ({}, STATE),
    "xlstm": ({}, STATE),
    "deepseek_v32": ({}, "(indexed_attention layers)"),
    "falcon": ({"alibi": True}, "Falcon with alibi positions"),
    "openai-gpt": ({}, "has no key-value cache"),
    "xlnet": ({}, "has no key-value cache"),
    "t5": ({}, "is not a causal language model"),
    "clip": ({}, "is not a causal language model"),
}
RUN = [
    "llama", "qwen2", "qwen3", "qwen3_moe", "mistral", "mixtral", "gemma", "gemma2", "gemma3",
    "gemma3_text", "gpt2", "gpt_neox", "gptj", "opt", "phi", "phi3", "olmo", "olmo2", "olmo3",
    "stablelm", "starcoder2", "granite", "cohere", "cohere2", "falcon", "bloom", "mpt", "smollm3",
    "deepseek_v3", "glm4", "glm4_moe", "gpt_oss", "persimmon", "nemotron", "exaone4", "ernie4_5",
    "seed_oss", "arcee", "helium", "minimax_m2", "hunyuan_v1_dense", "apertus", "llama4_text",
]  # fmt: skip


@pytest.mark.parametrize("model_type", REFUSED)
def test_refused(
    model_type: str, tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes, part = REFUSED[model_type]
    model = tmp_path / "model"
    shutil.copytree(model_folder, model)
    (model / "config.json").write_text(json.dumps({"model_type": model_type} | changes))
    words = ["aime24", "--model-path", str(model), "--data-path", str(tmp_path / "no.jsonl")]
    assert execute(cli, "srl-eval", words) == 3
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert part in line
    assert f"({model_type})" in line
    assert "--backend vllm or server" in line


@pytest.mark.parametrize("model_type", RUN)
def test_run(model_type: str) -> None:
    assert unsupported(AutoConfig.for_model(model_type)) is None


def test_an_unknown_model_type_and_code_of_its_own_are_told(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    shutil.copytree(model_folder, model)
    for content, part in (
        ({"model_type": "nonesuch"}, "nonesuch"),
        ({"model_type": "own", "auto_map": {"AutoConfig": "c.C"}}, "needs code of its own"),
        ({"vocab_size": 5}, "model_type"),
        ({"model_type": "llama", "hidden_size": "wide"}, "hidden_size"),
    ):
        (model / "config.json").write_text(json.dumps(content))
        assert execute(cli, "srl-eval", ["aime24", "--model-path", str(model)]) == 3
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert part in line


def test_sizes_are_the_text_models_also_in_a_composite_one() -> None:
    text = {"vocab_size": 77, "max_position_embeddings": 99}
    assert vocabulary_size(AutoConfig.for_model("gemma3", text_config=text)) == 77
    assert window(AutoConfig.for_model("gemma3", text_config=text)) == 99
    assert window(AutoConfig.for_model("gpt2", n_positions=55)) == 55
