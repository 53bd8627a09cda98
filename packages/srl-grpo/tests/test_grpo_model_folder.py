"""The transformers part of a checkpoint: saved once, for all to read, as the model came."""

import copy
import json
import os
import stat

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from srl_data.command.errors import DataError
from srl_grpo.learner.model_folder import (
    mend_generation_config,
    open_to_umask,
    save_model_folder,
    try_saving,
    with_older_names,
)
from srl_grpo.toy.characters import alphabet_named
from srl_grpo.toy.model import character_tokenizer

SIZES = {"hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 1, "vocab_size": 64}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
SMALL = SIZES | HEADS


def make(model_type, **options):
    config = AutoConfig.for_model(model_type, **(SMALL | options))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config).eval()


def cloned(model):
    """A state as the engine gathers it: every name with a tensor of its own."""
    parameters = model.named_parameters(remove_duplicate=False)
    return {name: parameter.detach().clone() for name, parameter in parameters}


@pytest.fixture(scope="module")
def tokenizer():
    return character_tokenizer(alphabet_named("arithmetic"))


@pytest.mark.parametrize("model_type", ["qwen2", "llama", "gpt2", "gemma3_text", "opt"])
@pytest.mark.parametrize("tied", [True, False])
def test_each_weight_is_written_once_and_comes_back(model_type, tied, tmp_path, tokenizer):
    sizes = {"n_embd": 32, "n_head": 4, "n_layer": 1} if model_type == "gpt2" else {}
    sizes |= {"word_embed_proj_dim": 32, "ffn_dim": 24} if model_type == "opt" else {}
    model = make(model_type, tie_word_embeddings=tied, **sizes)
    save_model_folder(tmp_path, model, cloned(model), tokenizer)
    stored = load_file(tmp_path / "model.safetensors")
    assert ("lm_head.weight" in stored) != tied
    weights = sum(parameter.numel() for parameter in model.parameters())
    assert sum(tensor.numel() for tensor in stored.values()) == weights
    again, found = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(found.values())
    ids = torch.tensor([[3, 4, 5]])
    assert torch.equal(again(input_ids=ids).logits, model(input_ids=ids).logits)
    head, embedding = again.get_output_embeddings(), again.get_input_embeddings()
    assert (head.weight is embedding.weight) == tied


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002])
def test_the_umask_decides_who_reads(umask, tmp_path, tokenizer):
    model = make("llama")
    before = os.umask(umask)
    try:
        save_model_folder(tmp_path / "m", model, cloned(model), tokenizer)
        (tmp_path / "m" / "trainer").mkdir()
        deep = tmp_path / "m" / "trainer" / "x.pt"
        deep.touch(0o600)
        open_to_umask(tmp_path / "m")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "m").rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"model.safetensors", "config.json", "x.pt"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~umask}


INVALID = {
    "sampling without do_sample": ({"temperature": 0.6, "top_p": 0.9}, True),
    "sampling switched off": ({"do_sample": False, "top_k": 20}, True),
    "min_p alone": ({"min_p": 0.1}, True),
    "beams' settings without beams": ({"early_stopping": True, "length_penalty": 1.2}, None),
    "both": ({"temperature": 0.6, "early_stopping": True}, True),
    "a negative padding id": ({"pad_token_id": -1}, None),
    "a cache that is off": ({"use_cache": False, "cache_implementation": "static"}, None),
}


@pytest.mark.parametrize("kind", INVALID)
def test_a_generation_config_that_transformers_calls_invalid_keeps_its_values(
    kind, tmp_path, tokenizer
):
    values, do_sample = INVALID[kind]
    source, target = tmp_path / "source", tmp_path / "target"
    first = make("llama", eos_token_id=0)
    save_model_folder(source, first, cloned(first), tokenizer)
    (source / "generation_config.json").write_text(json.dumps(values | {"eos_token_id": [0, 5]}))
    model = AutoModelForCausalLM.from_pretrained(source)
    with pytest.raises(ValueError, match="GenerationConfig is invalid"):
        model.save_pretrained(target)
    notes = []
    mend_generation_config(model, notes.append)
    try_saving(model, tokenizer, "m")
    save_model_folder(target, model, cloned(model), tokenizer)
    written = json.loads((target / "generation_config.json").read_text())
    expected = values | {"eos_token_id": [0, 5]} | ({"do_sample": True} if do_sample else {})
    for name, value in expected.items():
        assert written.get(name, getattr(GenerationConfig(), name)) == value, name
    assert any("do_sample: it is set to true" in note for note in notes) == bool(do_sample)
    assert any("is kept as it is" in note for note in notes) == (
        do_sample is None or kind == "both"
    )
    again = AutoModelForCausalLM.from_pretrained(target)
    assert again.generation_config.eos_token_id == [0, 5]


def test_a_good_generation_config_is_not_touched(tmp_path, tokenizer):
    model = make("llama")
    model.generation_config = GenerationConfig(do_sample=True, temperature=0.6, eos_token_id=[1, 2])
    before = copy.deepcopy(model.generation_config)
    notes = []
    mend_generation_config(model, notes.append)
    save_model_folder(tmp_path, model, cloned(model), tokenizer)
    assert notes == []
    found = GenerationConfig.from_pretrained(tmp_path)
    assert (found.temperature, found.do_sample, found.eos_token_id) == (0.6, True, [1, 2])
    assert model.generation_config.to_dict() == before.to_dict()


ROPES = {
    "llama": ({"rope_theta": 1e6}, {"rope_theta": 1e6}),
    "qwen3": ({"rope_theta": 5e6}, {"rope_theta": 5e6}),
    "llama with scaling": (
        {
            "rope_theta": 5e5,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
        {"rope_theta": 5e5, "rope_scaling.factor": 8.0, "rope_scaling.rope_type": "llama3"},
    ),
    "phi": ({"rope_theta": 2e4}, {"rope_theta": 2e4, "partial_rotary_factor": 0.5}),
    "gpt_neox": ({"rotary_emb_base": 3e4}, {"rotary_emb_base": 3e4, "rotary_pct": 0.25}),
    "gemma3_text": ({}, {"rope_theta": 1e6, "rope_local_base_freq": 1e4}),
    "gemma3": (
        {"text_config": SMALL, "vision_config": {"hidden_size": 16, "num_attention_heads": 2}},
        {"text_config.rope_theta": 1e6, "text_config.rope_local_base_freq": 1e4},
    ),
}


@pytest.mark.parametrize("kind", ROPES)
def test_rotary_settings_stand_under_their_older_names_as_well(kind, tmp_path, tokenizer):
    options, older = ROPES[kind]
    model_type = kind.split()[0]
    config = AutoConfig.for_model(
        model_type, **(options if model_type == "gemma3" else SMALL | options)
    )
    if model_type == "gemma3":
        config.save_pretrained(tmp_path)
        path = tmp_path / "config.json"
        path.write_text(json.dumps(with_older_names(json.loads(path.read_text()))))
    else:
        model = make(model_type, **options)
        save_model_folder(tmp_path, model, cloned(model), tokenizer)
    written = json.loads((tmp_path / "config.json").read_text())
    for name, value in older.items():
        found = written
        for part in name.split("."):
            found = found[part]
        assert found == value, name
    part = written.get("text_config", written)
    assert part["rope_parameters"] == config.get_text_config().to_dict()["rope_parameters"]
    again = AutoConfig.from_pretrained(tmp_path)
    assert again.get_text_config().rope_parameters == config.get_text_config().rope_parameters


def test_names_that_would_not_read_back_are_left_out(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(
        "srl_grpo.learner.model_folder.with_older_names", lambda config: config | {"vocab_size": 65}
    )
    model = make("llama")
    save_model_folder(tmp_path, model, cloned(model), tokenizer)
    assert json.loads((tmp_path / "config.json").read_text())["vocab_size"] == 64


def test_the_tokenizer_names_a_class_that_older_transformers_know(tmp_path, tokenizer):
    model = make("llama")
    save_model_folder(tmp_path, model, cloned(model), tokenizer)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.encode("12+3=") == tokenizer.encode("12+3=")


def test_a_trial_save_tells_what_cannot_be_saved_and_what_would_not_come_back(tokenizer):
    model = make("llama")
    try_saving(model, tokenizer, "m", "12+34\n")
    model.config.note = object()
    with pytest.raises(DataError, match="model 'm' could not be saved as a checkpoint") as caught:
        try_saving(model, tokenizer, "m")
    assert "\n" not in str(caught.value)


def test_a_tokenizer_changed_since_it_was_loaded_would_not_come_back(tokenizer):
    class Forgetful(type(tokenizer)):
        def save_pretrained(self, folder, **options):
            return character_tokenizer(list("0123456789")).save_pretrained(folder, **options)

    mine = character_tokenizer(alphabet_named("arithmetic"))
    mine.__class__ = Forgetful
    with pytest.raises(DataError, match="otherwise once it is saved and loaded again"):
        try_saving(make("llama"), mine, "m", "12+34\n")
