"""Every weight comes from the files: what is missing, left over or not finite ends the run."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from srl_data.command.errors import DataError
from srl_data.command.frame import execute
from srl_eval.cli import cli
from srl_eval.generate.folders import ModelSource
from srl_eval.generate.weights import load_model

Weights = dict[str, torch.Tensor]


def load(folder: Path) -> object:
    return load_model(ModelSource(str(folder)), dtype=torch.float32)


@pytest.fixture
def folder(tmp_path: Path, model_folder: Path) -> Path:
    copy = tmp_path / "model"
    shutil.copytree(model_folder, copy)
    return copy


def change(folder: Path, make: object) -> None:
    path = folder / "model.safetensors"
    save_file(make(load_file(path)), path, {"format": "pt"})  # type: ignore[operator]


def set_config(folder: Path, name: str = "config.json", **changes: object) -> None:
    path = folder / name
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | changes))


def prefixed(prefix: str):
    return lambda weights: {prefix + key: value for key, value in weights.items()}


def less(part: str):
    return lambda weights: {key: value for key, value in weights.items() if part not in key}


def more(**extra: torch.Tensor):
    return lambda weights: weights | {key.replace("__", "."): t for key, t in extra.items()}


def stand_in(key: str, value: float):
    def make(weights: Weights) -> Weights:
        weights[key].view(-1)[3] = value
        return weights

    return make


NORM = "model.norm.weight"
LORA = {"model__layers__0__self_attn__q_proj__lora_A__weight": torch.ones(2, 2)}

SPOILED = {
    "compiled": (prefixed("_orig_mod."), ["prefix '_orig_mod.'", "torch.compile"]),
    "data parallel": (prefixed("module."), ["prefix 'module.'", "data-parallel"]),
    "peft": (prefixed("base_model.model."), ["prefix 'base_model.model.'", "peft"]),
    "an actor": (prefixed("actor.net."), ["prefix 'actor.net.'", "another module"]),
    "a head left out": (
        less("lm_head"),
        ["1 weights are not in its files (lm_head.weight)", "tie"],
    ),
    "a layer left out": (less("layers.0."), ["model.layers.0.input_layernorm.weight"]),
    "an embedding left out": (less("embed_tokens"), ["model.embed_tokens.weight"]),
    "a norm left out": (less("model.norm"), [NORM, "not in its files"]),
    "everything else": (
        lambda _: {"encoder.weight": torch.ones(2)},
        ["encoder.weight", "different models"],
    ),
    "a value head": (more(score__weight=torch.ones(1, 16)), ["score.weight", "not the model's"]),
    "an adapter inside": (more(**LORA), ["LoRA weights"]),
    "a layer too many": (
        more(model__layers__1__mlp__up_proj__weight=torch.ones(32, 16)),
        ["model.layers.1.mlp.up_proj.weight"],
    ),
    "NaN": (stand_in(NORM, float("nan")), [NORM, "1 values that are not finite", "of 16"]),
    "infinite": (stand_in("lm_head.weight", float("inf")), ["lm_head.weight", "not finite"]),
    "another shape": (
        lambda weights: weights | {NORM: torch.ones(8)},
        [f"{NORM} has shape (8,)", "asks for (16,)"],
    ),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_weights_that_are_not_the_models_are_named(kind: str, folder: Path) -> None:
    make, parts = SPOILED[kind]
    change(folder, make)
    with pytest.raises(DataError) as caught:
        load(folder)
    for part in [str(folder), *parts]:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_says_so_in_one_line(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    change(folder, prefixed("_orig_mod."))
    data = tmp_path / "aime.jsonl"
    data.write_text('{"id": "1", "problem": "What is 1?", "answer": "001"}\n')
    words = ["aime24", "--model-path", str(folder), "--data-path", str(data)]
    assert execute(cli, "srl-eval", [*words, "--output-dir", str(tmp_path / "out")]) == 3
    errors = capfd.readouterr().err
    assert errors.count("_orig_mod.") == 4  # three keys and the prefix, in one line
    assert [line for line in errors.splitlines() if line.strip()][-1].startswith("srl-eval: error")
    assert "MISSING" not in errors


def test_what_the_config_ties_and_the_class_ignores_may_be_absent_or_left_over(
    folder: Path,
) -> None:
    set_config(folder, tie_word_embeddings=True)
    extra = {"model__layers__0__self_attn__rotary_emb__inv_freq": torch.ones(4)}
    change(folder, lambda weights: more(**extra)(less("lm_head")(weights)))
    model = load(folder)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    stored = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    assert torch.equal(model.lm_head.weight, stored)


def test_weights_lie_in_memory_of_their_own(folder: Path) -> None:
    path = folder / "model.safetensors"
    # A file whose tensors start at odd places, as published ones may.
    save_file(load_file(path), path, {"format": "pt", "padding": "x" * 13})
    plain = AutoModelForCausalLM.from_pretrained(folder)
    ours = load(folder)
    for (name, mine), theirs in zip(ours.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine, theirs), name
        assert mine.data_ptr() % 64 == 0, name
        assert mine.untyped_storage().nbytes() == mine.numel() * 4, name


def test_a_padding_id_beyond_the_embedding_does_not_keep_a_model_from_loading(folder: Path) -> None:
    set_config(folder, pad_token_id=258)
    assert load(folder).config.pad_token_id is None


@pytest.mark.parametrize(
    "content",
    [
        {"num_return_sequences": 4},
        {"max_new_tokens": 0},
        {"cache_implementation": "nope"},
        {"eos_token_id": "</s>"},
        {"eos_token_id": [0, "</s>"]},
        {"eos_token_id": 0.5},
    ],
)
def test_a_generation_config_that_transformers_will_not_read_is_named(
    folder: Path, content: dict[str, object]
) -> None:
    (folder / "generation_config.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"generation_config\.json of .* cannot be used") as caught:
        load(folder)
    assert next(iter(content)) in str(caught.value)


@pytest.mark.parametrize("content", [b"{bad", b"", b"\xff\xfe{}"])
def test_a_generation_config_that_is_no_json_is_not_passed_over(
    folder: Path, content: bytes
) -> None:
    (folder / "generation_config.json").write_bytes(content)
    with pytest.raises(DataError, match=r"generation_config\.json of .* cannot be used: .*mend"):
        load(folder)


def test_a_model_without_a_generation_config_is_loaded(folder: Path) -> None:
    (folder / "generation_config.json").unlink(missing_ok=True)
    assert load(folder)
