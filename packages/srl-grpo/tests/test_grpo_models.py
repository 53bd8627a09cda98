"""Models as people have them, given to `srl-grpo train`: trained rightly, or one line, code 3."""

import json
import shutil
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from srl_data.arithmetic import ALPHABET
from srl_grpo.toy.characters import alphabet_named
from srl_grpo.toy.model import character_tokenizer

TOKENS = len(alphabet_named("arithmetic")) + 2
SIZES = {
    "vocab_size": TOKENS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": 1,
}


def make_model(folder: Path, model_type: str = "llama", **options: object) -> Path:
    config = AutoConfig.for_model(model_type, **(SIZES | options))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    character_tokenizer(alphabet_named("arithmetic")).save_pretrained(folder)
    return folder


def set_json(path: Path, **changes: object) -> None:
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | changes))


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "model")


@pytest.fixture
def train(call, tiny, tmp_path):
    """Trains a model for two steps; more flags may follow. Weight decay alone moves the weights."""

    def run(model, *flags, out="out"):
        config = tiny(model={"path": str(model), "build": None})
        return call("train", "--config", config, "--output-dir", tmp_path / out, *flags)

    return run


def the_line(errors: str) -> str:
    lines = [line for line in errors.splitlines() if line.strip()]
    assert len(lines) == 1, errors
    assert lines[0].startswith("srl-grpo: error: ")
    return lines[0]


LORA = {"base_model_name_or_path": "some/base"}
KINDS = {
    "nothing": (shutil.rmtree, "does not exist"),
    "an empty folder": (lambda path: [each.unlink() for each in path.iterdir()], "is empty"),
    "LoRA": (
        lambda path: set_json(path / "adapter_config.json", **LORA),
        "is a LoRA adapter, not a whole model: merge it into 'some/base'",
    ),
    "GGUF": (
        lambda path: (path / "config.json").rename(path / "model.gguf"),
        "holds a GGUF file",
    ),
    "GPTQ": (
        lambda path: set_json(path / "config.json", quantization_config={"quant_method": "gptq"}),
        "holds quantised weights (gptq)",
    ),
    "bitsandbytes": (
        lambda path: set_json(path / "config.json", quantization_config={"load_in_4bit": True}),
        "(bitsandbytes, load_in_4bit)",
    ),
    "pickles": (
        lambda path: (path / "model.safetensors").rename(path / "pytorch_model.bin"),
        "holds its weights as a pickle",
    ),
    **{
        name: (
            lambda path, name=name, more=more: (path / "config.json").write_text(
                json.dumps({"model_type": name} | more)
            ),
            part,
        )
        for name, more, part in (
            ("qwen3_5", {}, "keeps a state other than keys and values"),
            ("qwen3_next", {}, "keeps a state other than keys and values"),
            ("mamba", {}, "keeps a state other than keys and values"),
            ("jamba", {}, "keeps a state other than keys and values"),
            ("lfm2", {"full_attn_idxs": [1], "num_hidden_layers": 2}, "(conv layers)"),
            ("falcon_h1", {}, "keeps a state other than keys and values"),
            ("rwkv", {}, "keeps a state other than keys and values"),
            ("llama4_text", {}, "attends in chunks, as Llama 4 does"),
            ("llama4", {}, "attends in chunks, as Llama 4 does"),
            ("falcon", {"alibi": True}, "is a Falcon with alibi positions"),
            ("gemma2", {}, "final_logit_softcapping 30.0"),
            ("gemma3n", {}, "final_logit_softcapping 30.0"),
            ("cohere", {}, "logit_scale 0.0625"),
            ("granite", {"logits_scaling": 8.0}, "logits_scaling 8.0"),
            ("minicpm3", {}, "logits_scaling 10.0"),
            ("t5", {}, "is not a causal language model"),
        )
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_trained_is_told_before_data_is_touched(kind, model, call, tmp_path):
    spoil, part = KINDS[kind]
    spoil(model)
    code, _, errors = call("train", "--model", model, "--data", tmp_path / "no.jsonl")
    assert code == 3
    line = the_line(errors)
    assert part in line
    assert str(model) in line
    assert "vllm" not in line.lower()


def spoil_weights(folder: Path, make: object) -> None:
    path = folder / "model.safetensors"
    save_file(make(load_file(path)), path, {"format": "pt"})


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda w: {f"_orig_mod.{k}": v for k, v in w.items()}, "torch.compile"),
        (lambda w: {f"module.{k}": v for k, v in w.items()}, "data-parallel"),
        (lambda w: {k: v for k, v in w.items() if k != "lm_head.weight"}, "lm_head.weight"),
        (lambda w: w | {"score.weight": torch.ones(1, 32)}, "score.weight"),
        (lambda w: w | {"model.norm.weight": torch.full((32,), float("nan"))}, "not finite"),
    ],
)
def test_weights_that_are_not_the_models_are_told(make, part, model, train):
    spoil_weights(model, make)
    code, _, errors = train(model)
    assert code == 3
    assert part in the_line(errors)


def test_an_invalid_generation_config_does_not_end_a_run_at_its_first_save(model, train, tmp_path):
    set_json(model / "generation_config.json", temperature=0.6, top_p=0.9, eos_token_id=[0, 3])
    code, shown, errors = train(model)
    assert code == 0, errors
    assert "generation_config.json has sampling's values without do_sample" in shown
    written = json.loads((tmp_path / "out" / "step_2" / "generation_config.json").read_text())
    assert (written["temperature"], written["top_p"], written["do_sample"]) == (0.6, 0.9, True)
    assert written["eos_token_id"] == [0, 3]


def test_every_file_of_a_checkpoint_has_the_umasks_mode(model, train, tmp_path):
    code, _, errors = train(model, "--beta", 0.1, "--warm-start-steps", 1)
    assert code == 0, errors
    for folder in (tmp_path / "out" / "step_2", tmp_path / "out" / "reference"):
        modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}
        assert modes == {0o644}, folder


@pytest.mark.parametrize("model_type", ["qwen2", "llama"])
def test_a_tokenizer_under_a_wrong_label_is_trained_with_as_it_stands(model_type, tmp_path, train):
    model = make_model(tmp_path / "model", model_type)
    label = {"qwen2": "Qwen2Tokenizer", "llama": "LlamaTokenizerFast"}[model_type]
    set_json(model / "tokenizer_config.json", tokenizer_class=label)
    text = "12+34\n1. **Ones** 2+4=6"
    right = character_tokenizer(alphabet_named("arithmetic")).encode(text)
    assert AutoTokenizer.from_pretrained(model).encode(text) != right
    code, shown, errors = train(model)
    assert code == 0, errors
    assert "its tokenizer.json is read as it stands" in shown
    stored = json.loads((tmp_path / "out" / "step_2" / "tokenizer.json").read_text())
    assert stored == json.loads((model / "tokenizer.json").read_text())
    code, _, errors = train(model, "--num-steps", 3, "--resume", "auto")
    assert code == 0, errors


def longer_tokenizer(folder: Path, **special: str) -> None:
    tokenizer = character_tokenizer(alphabet_named("arithmetic"))
    tokenizer.add_tokens(["<step>", "</step>"]) if not special else None
    tokenizer.add_special_tokens(special)
    tokenizer.save_pretrained(folder)


def test_ids_beyond_the_embedding_are_told_and_given_rows_on_request(model, train, tmp_path):
    longer_tokenizer(model)
    code, _, errors = train(model)
    assert code == 3
    assert "--resize-embeddings" in the_line(errors)
    assert "'<step>'" in errors

    code, shown, errors = train(model, "--resize-embeddings", "--beta", 0.1)
    assert code == 0, errors
    assert f"embedding grown from {TOKENS} to {TOKENS + 2} rows" in shown
    code, shown, errors = train(
        model, "--resize-embeddings", "--beta", 0.1, "--num-steps", 3, "--resume", "auto"
    )
    assert code == 0, errors
    assert (tmp_path / "out" / "step_3").is_dir()
    grown = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "step_3")
    assert grown.config.vocab_size == TOKENS + 2
    assert grown.get_input_embeddings().weight.shape[0] == TOKENS + 2
    old = load_file(model / "model.safetensors")["model.embed_tokens.weight"]
    mean = old.mean(0)
    new = grown.get_input_embeddings().weight.detach()[-2:]
    assert float((new - mean).norm()) < float((old - mean).norm(dim=1).min())


def test_a_padding_token_beyond_the_embedding_is_not_used(model, train, tmp_path):
    longer_tokenizer(model, pad_token="[PAD]")
    set_json(model / "config.json", pad_token_id=TOKENS)
    code, _, errors = train(model)
    assert code == 0, errors
    code, _, errors = train(model, "--num-steps", 3, "--resume", "auto")
    assert code == 0, errors
    assert AutoTokenizer.from_pretrained(tmp_path / "out" / "step_3").pad_token == "[PAD]"
    AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "step_3")


def test_a_tokenizer_that_loses_the_prompt_is_refused(model, train):
    path = model / "tokenizer.json"
    stored = json.loads(path.read_text())
    stored["normalizer"] = {"type": "Replace", "pattern": {"String": "+"}, "content": ""}
    path.write_text(json.dumps(stored))
    assert "+" in ALPHABET
    code, _, errors = train(model)
    assert code == 3
    assert "does not give back the first prompt" in the_line(errors)


def test_a_model_that_passed_when_it_was_begun_passes_when_it_is_resumed(model, train, monkeypatch):
    code, _, errors = train(model)
    assert code == 0, errors

    def refuse(_policy, _packing):
        pytest.fail("what depends on the weights is asked again")

    monkeypatch.setattr("srl_grpo.stages.rl_setup.check_scoring", refuse)
    code, _, errors = train(model, "--num-steps", 3, "--resume", "auto")
    assert code == 0, errors
