"""Tiny random models of many families, each through the whole road, in one process.

Trained for two steps, its checkpoint loaded by plain transformers, resumed to a third step and held
to the unbroken run, evaluated from its folder. Every step's update is a real one: vocabularies are
so small that chance writes valid steps of unlike rewards.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

import srl_grpo
from srl_data.command.frame import execute
from srl_data.records import SrlInstance
from srl_eval.cli import cli as evaluation
from srl_grpo.config.train import TrainConfig
from srl_grpo.learner import distributed
from srl_grpo.toy.model import character_tokenizer

pytestmark = pytest.mark.slow

MARKS = ["<think>", "</think>", *"0123467", *"+=. \n"]
BASE = {
    "vocab_size": len(MARKS) + 2,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 1,
}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
LATENT = {
    "num_key_value_heads": 4,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
}
GROUPED = EXPERTS | {
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
COMPOSITE = {"text_config": BASE | {"sliding_window": 16}, "vision_config": VISION}
FAMILIES: dict[str, dict[str, object]] = {
    "llama": {"rope_theta": 1e6},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {},
    "qwen3_moe": EXPERTS | {"num_experts": 4},
    "mistral": {"sliding_window": 16},
    "mixtral": {"num_local_experts": 4, "sliding_window": None},
    "gemma": {},
    "gemma3_text": {"sliding_window": 16},
    "gemma3": COMPOSITE | {"mm_tokens_per_image": 4},
    "gpt2": GPT2,
    "gpt_neox": {},
    "gpt_bigcode": GPT2,
    "gptj": GPT2 | {"rotary_dim": 4},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "bloom": {"n_layer": 2, "n_head": 4},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2, "expansion_ratio": 2, "max_seq_len": 64},
    "falcon": {"alibi": False, "head_dim": None, "num_kv_heads": 1},
    "phi": {},
    "phi3": {},
    "olmo": {},
    "olmo2": {},
    "stablelm": {},
    "starcoder2": {"sliding_window": None},
    "smollm3": {},
    "deepseek_v3": LATENT | GROUPED,
    "glm4": {},
    "glm4_moe": GROUPED,
    "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 16},
    "persimmon": {},
    "nemotron": {},
    "exaone4": {"sliding_window": 16},
    "ernie4_5": {},
    "seed_oss": {},
    "arcee": {},
    "helium": {},
}


def make_family(folder: Path, model_type: str) -> None:
    """A seeded model of the family, two layers of a few thousand weights, and its tokenizer."""
    options = BASE | FAMILIES[model_type] if model_type != "gemma3" else FAMILIES[model_type]
    config = AutoConfig.for_model(
        model_type, **{key: value for key, value in options.items() if key != "head_dim" or value}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    path = folder / "model.safetensors"
    # Published files have metadata of any length, so that their tensors begin anywhere.
    save_file(load_file(path), path, {"format": "pt", "made": "x" * 21})
    character_tokenizer(MARKS).save_pretrained(folder)


def write_data(path: Path) -> Path:
    """Instances whose prompts end inside a thought, so that a completion has but to close it."""
    records = [
        SrlInstance(
            id=f"p{n}/2", problem=f"1{n}+34", previous_steps=[f"1. {n}+4=6", "<think>"],
            step_index=2, num_steps=3, target_step=f"2. 1+3={n}",
        )
        for n in range(4)
    ]  # fmt: skip
    path.write_text("".join(record.model_dump_json() + "\n" for record in records))
    return path


def config_of(model: Path, data: Path, run: Path, steps: int, resume: str | None) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "output_dir": str(run),
            "num_steps": steps,
            "model": {"path": str(model)},
            "data": {"path": str(data), "template": "bare", "max_prompt_length": 32},
            "rollout": {"batch_size": 2, "group_size": 4, "max_new_tokens": 16, "chunk_size": 16},
            "optimizer": {"learning_rate": 1e-2},
            "algorithm": {"beta": 0.01, "sampler_cap": 2.0},
            "checkpoint": {"checkpoint_every": 2, "resume": resume},
            "tracking": {"tensorboard": False},
        }
    )


def metrics_of(run: Path) -> list[dict[str, object]]:
    """The logged metrics, without what is measured with a clock."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    timed = ("time", "step_time", "tokens_per_second")
    return [
        {k: v for k, v in json.loads(line).items() if k not in timed and not k.startswith("time/")}
        for line in lines
    ]


@pytest.fixture
def train(monkeypatch, world):
    monkeypatch.setattr(distributed, "start", lambda: world)
    monkeypatch.setattr(distributed, "stop", lambda: None)
    return srl_grpo.train


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("model_type", FAMILIES)
def test_the_whole_road(model_type, train, tmp_path, capsys):
    model, data = tmp_path / "model", write_data(tmp_path / "data.jsonl")
    make_family(model, model_type)
    run, unbroken = tmp_path / "run", tmp_path / "unbroken"
    train(config_of(model, data, run, 2, None))
    train(config_of(model, data, run, 3, "auto"))
    train(config_of(model, data, unbroken, 3, None))

    metrics = metrics_of(run)
    assert metrics == metrics_of(unbroken)
    weights = "step_3/model.safetensors"
    assert (run / weights).read_bytes() == (unbroken / weights).read_bytes()
    for line in metrics:
        assert abs(line["sampling/logprob_difference"]) < 1e-4
        assert line["grad_norm"] > 0

    ids = torch.tensor([[2, 5, 9, 14, 12, 3]])
    plain, found = AutoModelForCausalLM.from_pretrained(run / "step_3", output_loading_info=True)
    assert not any(found.values()), found
    before = AutoModelForCausalLM.from_pretrained(model)
    with torch.no_grad():
        change = (plain(input_ids=ids).logits - before(input_ids=ids).logits).abs().max()
    assert 1e-4 < float(change) < 10

    problems = tmp_path / "aime.jsonl"
    problems.write_text('{"id": "1", "problem": "12+34", "answer": "046"}\n')
    words = [
        *("aime24", "--model-path", str(run / "step_3"), "--data-path", str(problems)),
        *("--output-dir", str(tmp_path / "eval"), "--max-new-tokens", "8"),
    ]
    assert execute(evaluation, "srl-eval", words) == 0, capsys.readouterr().err
    (line,) = (tmp_path / "eval" / "results.jsonl").read_text().splitlines()
    assert json.loads(line)["completion_tokens"] > 0
