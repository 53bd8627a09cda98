"""What people have instead of a model folder: each kind is told as what it is, in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from srl_data.command.errors import DataError
from srl_data.command.frame import execute
from srl_eval.cli import cli
from srl_eval.generate.folders import ModelSource, check_files
from srl_eval.generate.stored_types import quantised_weight

Spoil = Callable[[Path], None]


def write(name: str, content: object = "x") -> Spoil:
    def spoil(folder: Path) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text)

    return spoil


def only(*spoils: Spoil) -> Spoil:
    """An otherwise empty folder."""

    def spoil(folder: Path) -> None:
        shutil.rmtree(folder)
        folder.mkdir()
        for each in spoils:
            each(folder)

    return spoil


def becomes(content: str | None) -> Spoil:
    """No folder: a file, or nothing at all."""

    def spoil(folder: Path) -> None:
        shutil.rmtree(folder)
        if content is not None:
            folder.write_text(content)

    return spoil


def without(*names: str) -> Spoil:
    def spoil(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return spoil


def both(*spoils: Spoil) -> Spoil:
    def spoil(folder: Path) -> None:
        for each in spoils:
            each(folder)

    return spoil


def config(**changes: object) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return spoil


def stored_as(dtype: torch.dtype) -> Spoil:
    """The weights cast to a type that holds no plain numbers."""

    def spoil(folder: Path) -> None:
        path = folder / "model.safetensors"
        cast = {key: tensor.to(dtype) for key, tensor in load_file(path).items()}
        save_file(cast, path, {"format": "pt"})

    return spoil


def only_shard(folder: Path) -> None:
    """The one weights file as a shard with its index."""
    shard = "model-00001-of-00001.safetensors"
    keys = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / shard)
    index = {"weight_map": dict.fromkeys(keys, shard)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def step_folder(folder: Path) -> None:
    (folder / "step_20").mkdir()


BASE = {"base_model_name_or_path": "some/base", "peft_type": "LORA"}
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
SHARD = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model.safetensors"}}
AWQ = {"quant_method": "awq", "bits": 4}
GPTQ = {"quant_method": "gptq", "bits": 4}
BITS = {"load_in_4bit": True}
PACKED = {"quant_method": "compressed-tensors", "format": "pack-quantized"}

KINDS: dict[str, tuple[Spoil, str]] = {
    "missing path": (becomes(None), "does not exist"),
    "a file": (becomes("x"), "is a file; expected a folder with config.json"),
    "empty folder": (only(), "is empty"),
    "folder of other things": (only(write("notes.txt")), "has no config.json"),
    "LoRA": (
        only(write("adapter_config.json", BASE), write("adapter_model.safetensors")),
        "is a LoRA adapter, not a whole model: merge it into 'some/base' first",
    ),
    "LoRA beside a config": (write("adapter_config.json", BASE), "is a LoRA adapter"),
    "damaged LoRA": (only(write("adapter_config.json", "{")), "merge it into its base model"),
    "GGUF folder": (only(write("model-Q4_K_M.gguf")), "holds a GGUF file"),
    "GPTQ": (config(quantization_config=GPTQ), "holds quantised weights (gptq)"),
    "AWQ": (config(quantization_config=AWQ), "holds quantised weights (awq)"),
    "bitsandbytes": (config(quantization_config=BITS), "(bitsandbytes, load_in_4bit)"),
    "compressed": (config(compression_config=PACKED), "(compressed-tensors)"),
    "quantised text model": (config(text_config={"quantization_config": GPTQ}), "(gptq)"),
    "integers without their scales": (
        stored_as(torch.int8),
        "holds quantised weights (lm_head.weight in model.safetensors is I8)",
    ),
    "eight-bit floats": (stored_as(torch.float8_e4m3fn), "in model.safetensors is F8_E4M3)"),
    "packed bytes in a shard": (
        both(stored_as(torch.uint8), only_shard),
        "in model-00001-of-00001.safetensors is U8)",
    ),
    "pickles alone": (
        both(without("model.safetensors"), write("pytorch_model.bin")),
        "holds its weights as a pickle (pytorch_model.bin)",
    ),
    "no weights": (without("model.safetensors"), "not a whole model: model.safetensors missing"),
    "a shard missing": (
        write("model.safetensors.index.json", SHARD),
        "not a whole model: model-00001-of-00002.safetensors missing",
    ),
    "damaged index": (write("model.safetensors.index.json", "{}"), "index.json is damaged"),
    "damaged config": (write("config.json", "{"), "config.json is damaged"),
    "a list for a config": (write("config.json", []), "expected an object, found list"),
    "Git LFS pointers": (write("model.safetensors", LFS), "run `git lfs pull`"),
    "a run's folder": (only(step_folder, write("config.yaml")), "name a checkpoint in it"),
    "the maker's format": (only(write("params.json"), write("x.pth")), "its maker's own format"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_told_before_data_is_touched(
    kind: str, tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    shutil.copytree(model_folder, model)
    spoil, part = KINDS[kind]
    spoil(model)
    words = ["aime24", "--model-path", str(model), "--data-path", str(tmp_path / "no.jsonl")]
    assert execute(cli, "srl-eval", words) == 3
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert part in line
    assert str(model) in line


def test_integers_that_are_no_weights_pass(tmp_path: Path, model_folder: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(model_folder, model)
    path = model / "model.safetensors"
    masks = {"model.attn.bias": torch.ones(2, 2, dtype=torch.bool), "position_ids": torch.arange(3)}
    save_file(load_file(path) | masks, path, {"format": "pt"})
    check_files(ModelSource(str(model)))
    stored_as(torch.int8)(model)
    check_files(ModelSource(str(model)), quantised=True)


@pytest.mark.parametrize("content", [b"", b"\xff" * 4, b"\xff" * 40, b"\x02" + bytes(7) + b"[]"])
def test_a_file_without_a_header_is_left_to_what_loads_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert quantised_weight(path) is None


def test_a_gguf_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model-Q4_K_M.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(DataError, match="is a GGUF file: weights quantised for llama"):
        check_files(ModelSource(str(path)))


def test_a_home_that_no_shell_has_resolved_is_told() -> None:
    with pytest.raises(DataError, match="`~` is the shell's to resolve"):
        check_files(ModelSource("~/models/none"))


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-7B-Instruct", "gpt2"])
def test_a_hub_id_is_left_to_the_hub(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    source = ModelSource(name)
    check_files(source)
    assert source.folder is None
    assert source.fetching["local_files_only"] is False


def test_other_backends_read_quantised_weights_and_a_server_needs_none(
    model_folder: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(model_folder, model)
    config(quantization_config=AWQ)(model)
    check_files(ModelSource(str(model)), quantised=True)
    without("model.safetensors")(model)
    check_files(ModelSource(str(model)), quantised=True, weights=False)
    with pytest.raises(DataError, match="missing"):
        check_files(ModelSource(str(model)), quantised=True)
