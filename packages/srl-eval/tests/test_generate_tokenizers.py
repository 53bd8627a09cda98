"""The tokenizer is the one that tokenizer.json describes, and text survives it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, Qwen3Config
from transformers import PreTrainedTokenizerFast as Fast

from srl_data.command.errors import DataError
from srl_eval.generate.folders import ModelSource
from srl_eval.generate.tokenizers import (
    check_ids,
    check_marks,
    check_round_trip,
    load_tokenizer,
    padding_id,
)

TEXT = "Problem: 852 + 296 = ?\n\nSteps so far:\n    1. ok\tdone  <|end|>"
Make = Callable[..., Path]


def characters(text: str) -> Fast:
    """One token a character, by a pattern that no byte-level rebuild would keep."""
    vocabulary = {token: n for n, token in enumerate(["<|end|>", "<|pad|>", *sorted(set(text))])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<|pad|>"))
    raw.pre_tokenizer = pre_tokenizers.Split("", behavior="isolated")
    raw.decoder = decoders.Fuse()
    return Fast(tokenizer_object=raw, eos_token="<|end|>", pad_token="<|pad|>")


@pytest.fixture
def labelled(tmp_path: Path) -> Make:
    """A folder whose tokenizer is of one kind and whose labels say another."""

    def make(tokenizer: Fast, model_type: str, tokenizer_class: str) -> Path:
        tokenizer.save_pretrained(tmp_path)
        settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
        settings["tokenizer_class"] = tokenizer_class
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
        config = {"model_type": model_type, "vocab_size": 258, "num_hidden_layers": 1}
        (tmp_path / "config.json").write_text(json.dumps(config))
        return tmp_path

    return make


def load(folder: Path) -> tuple[object, list[str]]:
    notes: list[str] = []
    return load_tokenizer(ModelSource(str(folder)), notes.append), notes


WRONG_LABELS = [
    ("llama", "LlamaTokenizerFast"),  # as in DeepSeek-Math
    ("llama", "LlamaTokenizer"),
    ("gemma", "GemmaTokenizer"),
]


@pytest.mark.parametrize(("model_type", "label"), WRONG_LABELS)
def test_a_byte_level_vocabulary_under_another_label_is_read_as_it_stands(
    labelled: Make, tokenizer: Fast, model_type: str, label: str
) -> None:
    folder = labelled(tokenizer, model_type, label)
    found, notes = load(folder)
    expected = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(TEXT).ids
    assert found.encode(TEXT, add_special_tokens=False) == expected
    assert found.decode(expected, skip_special_tokens=False) == TEXT
    assert found.eos_token == "<|end|>"
    assert len(notes) == 1
    assert "its tokenizer.json is read as it stands" in notes[0]


def test_a_qwen2_folder_keeps_a_tokenizer_of_its_own(labelled: Make) -> None:
    own = characters(TEXT)
    folder = labelled(own, "qwen2", "PreTrainedTokenizerFast")
    ids = own.encode(TEXT, add_special_tokens=False)
    assert AutoTokenizer.from_pretrained(folder).encode(TEXT, add_special_tokens=False) != ids
    found, notes = load(folder)
    assert found.encode(TEXT, add_special_tokens=False) == ids
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("model_type", "label"),
    [("qwen3", "PreTrainedTokenizerFast"), ("qwen2", "Qwen2Tokenizer"), ("gpt2", "GPT2Tokenizer")],
)
def test_a_tokenizer_that_is_read_rightly_is_left_alone(
    labelled: Make, tokenizer: Fast, model_type: str, label: str
) -> None:
    found, notes = load(labelled(tokenizer, model_type, label))
    assert notes == []
    assert found.decode(found.encode(TEXT), skip_special_tokens=False) == TEXT


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [("tokenizer.json", "{", "is damaged"), ("tokenizer_config.json", "[", "cannot load")],
)
def test_damaged_files_are_named(
    labelled: Make, tokenizer: Fast, name: str, content: str, part: str
) -> None:
    folder = labelled(tokenizer, "qwen3", "PreTrainedTokenizerFast")
    (folder / name).write_text(content)
    with pytest.raises(DataError, match=part) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_a_model_without_a_tokenizer_is_told(tmp_path: Path) -> None:
    Qwen3Config(num_hidden_layers=1).save_pretrained(tmp_path)
    with pytest.raises(DataError, match="has no tokenizer, such as"):
        load(tmp_path)


def test_decoding_does_not_take_spaces_out_before_marks(labelled: Make, tokenizer: Fast) -> None:
    folder = labelled(tokenizer, "qwen3", "PreTrainedTokenizerFast")
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text()) | {"clean_up_tokenization_spaces": True}
    path.write_text(json.dumps(settings))
    found, _ = load(folder)
    assert found.decode(found.encode("7 + 5 = ? it 's"), skip_special_tokens=False) == (
        "7 + 5 = ? it 's"
    )


def changed(tokenizer: Fast, **parts: object) -> Fast:
    raw = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    for name, part in parts.items():
        setattr(raw, name, part)
    return Fast(tokenizer_object=raw, eos_token="<|end|>", pad_token="<|pad|>")


LOSSY = {
    "spaces": (normalizers.Replace(" ", ""), "Problem: 852"),
    "line ends": (normalizers.Replace("\n", " "), "= ?\\n\\nSteps"),
    "line ends doubled": (normalizers.Replace("\n", "\n\n"), "Steps"),
    "digits": (normalizers.Replace("8", "9"), "Problem: 952"),
    "spaces at the end": (normalizers.Strip(left=False), "done"),
}


@pytest.mark.parametrize("kind", LOSSY)
def test_text_that_does_not_come_back_is_refused(kind: str, tokenizer: Fast) -> None:
    normalizer, part = LOSSY[kind]
    with pytest.raises(DataError, match="does not give back the first prompt") as caught:
        check_round_trip(changed(tokenizer, normalizer=normalizer), TEXT[:-7], "m")
    assert part in str(caught.value)


HARMLESS = {
    "nothing": {},
    "a space put first": {"pre_tokenizer": pre_tokenizers.ByteLevel(add_prefix_space=True)},
    "a normal form": {"normalizer": normalizers.NFKC()},
    "small letters": {"normalizer": normalizers.Lowercase()},
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_tokenizers_do_by_design_is_let_pass(kind: str, tokenizer: Fast) -> None:
    check_round_trip(changed(tokenizer, **HARMLESS[kind]), f"{TEXT} ½ x²", "m")


def test_a_mark_of_the_chat_template_is_one_token(tokenizer: Fast) -> None:
    mine = changed(tokenizer)
    mine.add_tokens([AddedToken("<|im_end|>", special=True)])
    mine.chat_template = "{{ messages[0].content }}<|im_end|>"
    check_marks(mine, "m")
    mine.add_tokens([AddedToken("turn", single_word=True)])
    check_marks(mine, "m")  # not the template's
    mine.chat_template = {"default": "{{ messages[0].content }}turn"}
    with pytest.raises(DataError, match="its chat template's 'turn' as the one token 259"):
        check_marks(mine, "m")


@pytest.mark.parametrize("template", [7, [1], {"default": 7}, {"default": None, "tool_use": ""}])
def test_a_chat_template_that_is_no_text_is_told_where_it_is_rendered(
    tokenizer: Fast, template: object
) -> None:
    mine = changed(tokenizer)
    mine.chat_template = template
    check_marks(mine, "m")


def test_a_folder_without_a_tokenizer_is_told(model_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(model_folder, tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"has no tokenizer, such as a tokenizer\.json: copy"):
        load(tmp_path / "model")


def test_ids_beyond_the_embedding_are_counted_and_named(tokenizer: Fast) -> None:
    check_ids(tokenizer, 258, "m")
    mine = changed(tokenizer)
    mine.add_tokens(["<step>", "</step>"])
    mine.add_special_tokens({"eos_token": "<|eot|>"})
    with pytest.raises(DataError, match="has 3 tokens that the model has no embedding for") as no:
        check_ids(mine, 258, "m")
    for part in ("258 rows end before '<step>', id 258", "--resize-embeddings"):
        assert part in str(no.value)
    check_ids(mine, 261, "m")


def test_a_padding_token_beyond_the_embedding_is_not_needed(tokenizer: Fast) -> None:
    mine = changed(tokenizer)
    mine.add_special_tokens({"pad_token": "[PAD]"})
    assert mine.pad_token_id == 258
    check_ids(mine, 258, "m")
    assert padding_id(mine, 258) == mine.eos_token_id == 0
    assert padding_id(mine, 259) == 258
    mine.add_tokens(["<image_soft_token>"])
    check_ids(mine, 258, "m")  # Gemma 3's text-only models carry it along
