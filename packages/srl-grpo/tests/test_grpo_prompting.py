"""What a run makes of its model's chat template: stop tokens, dates, arguments, records."""

import datetime as dt
import json
import sys

import pytest
import tokenizers
import torch
import transformers
import yaml

from srl_data.command.frame import execute
from srl_data.prompt_record import read_record
from srl_data.records import SrlInstance, write_records
from srl_grpo.cli import cli
from srl_grpo.learner import distributed

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DATED = "Today: {{ strftime_now('%d %b %Y') }}\n" + CHATML
SWITCHED = CHATML.replace(
    "assistant\n", "assistant\n{% if not enable_thinking %}<think></think>{% endif %}"
)
MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


@pytest.fixture(scope="session")
def model_with():
    """Writes a tiny ChatML base model, whose end token is not what ends a turn."""

    def write(folder, chat_template=CHATML):
        alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
        vocabulary = {piece: n for n, piece in enumerate([*MARKS, *alphabet])}
        core = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
        core.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = tokenizers.decoders.ByteLevel()
        fast = transformers.PreTrainedTokenizerFast(
            tokenizer_object=core, eos_token=MARKS[0], pad_token=MARKS[0]
        )
        fast.add_tokens([transformers.AddedToken(text, special=True) for text in MARKS])
        fast.chat_template = chat_template
        torch.manual_seed(0)
        config = transformers.Qwen3Config(
            vocab_size=len(fast),
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            max_position_embeddings=1600,
            eos_token_id=0,
            pad_token_id=0,
            bos_token_id=None,
        )
        transformers.Qwen3ForCausalLM(config).save_pretrained(folder)
        fast.save_pretrained(folder)
        return folder

    return write


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.jsonl"
    instance = SrlInstance(
        id="p/2",
        problem="What is <|im_end|> 12+34?",
        previous_steps=["1. **Ones** 6"],
        target_step="2. **Tens** 4",
        step_index=2,
        num_steps=2,
    )
    write_records(path, [instance])
    return path


@pytest.fixture
def call(monkeypatch, capsys, tmp_path, world, data):
    """Runs `srl-grpo train` on the data in this process: exit code, standard output, errors."""
    monkeypatch.setattr(distributed, "start", lambda: world)
    monkeypatch.setattr(distributed, "stop", lambda: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "300")
    tree = {
        "num_steps": 1,
        "data": {"path": str(data), "max_prompt_length": 1500},
        "rollout": {
            "batch_size": 1,
            "group_size": 2,
            "max_new_tokens": 4,
            "max_rounds": 1,
            "max_starved_steps": 0,
        },
        "tracking": {"tensorboard": False},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(tree))

    def run(*arguments):
        words = ["train", "--config", "c.yaml", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", ["srl-grpo", *words])
        capsys.readouterr()
        code = execute(cli, "srl-grpo", words)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def test_the_end_of_a_turn_becomes_a_stop_token_here_and_in_the_checkpoint(
    call, model_with, tmp_path
):
    model = model_with(tmp_path / "m")
    code, out, err = call("--model", model, "--output-dir", "run")
    assert code == 0, err
    shown = " ".join(out.split())
    assert "ends a turn with '<|im_end|>', which no configuration names" in shown
    assert "1 records spell control tokens, encoded as text: '<|im_end|>' in record 'p/2'" in shown
    checkpoint = tmp_path / "run" / "step_1"
    generation = json.loads((checkpoint / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [0, 2]
    record = read_record(checkpoint)
    assert (record.name, record.version, record.date) == ("srl", 1, None)
    assert len(record.prompt_sha256) == len(record.chat_template_sha256) == 64
    assert read_record(tmp_path / "run") == record


def test_a_run_resumed_another_day_has_the_prompts_of_the_first(
    call, model_with, tmp_path, monkeypatch
):
    model = model_with(tmp_path / "m", DATED)
    days = iter([dt.date(2025, 3, 7), *[dt.date(2025, 3, 8)] * 50])
    day = next(days)
    monkeypatch.setattr("srl_data.prompt_record.clock", lambda: day)
    options = ("--model", model, "--output-dir", "run", "--num-steps", 2)
    assert call(*options[:-2], "--num-steps", 1)[0] == 0
    day = next(days)
    assert call(*options, "--resume", "auto")[0] == 0
    first, second = (read_record(tmp_path / "run" / f"step_{n}") for n in (1, 2))
    assert first == second
    assert first.date == dt.date(2025, 3, 7)
    code, _, err = call("--model", tmp_path / "run" / "step_2", "--dry-run")
    assert code == 0, err
    assert call("--model", tmp_path / "run" / "step_2", "--dry-run")[1].count("07 Mar 2025") == 1
    assert call("--model", model, "--dry-run")[1].count("08 Mar 2025") == 1


def test_a_resumed_run_with_other_prompts_is_refused(call, model_with, tmp_path):
    model = model_with(tmp_path / "m", SWITCHED)
    on = ("--chat-template-kwargs", '{"enable_thinking": true}')
    code, _, err = call("--model", model, "--output-dir", "run")
    assert code == 3
    assert "pass --chat-template-kwargs '{\"enable_thinking\": true}'" in err
    assert call("--model", model, "--output-dir", "run", *on)[0] == 0
    checkpoint = tmp_path / "run" / "step_1"
    assert read_record(checkpoint).chat_template_kwargs == {"enable_thinking": True}
    assert call("--model", checkpoint, "--output-dir", "next")[0] == 0
    off = ("--chat-template-kwargs", '{"enable_thinking": false}')
    again = ("--output-dir", "run", "--num-steps", 2, "--resume", "auto")
    code, _, err = call("--model", model, *again, *off)
    assert code == 2
    assert "its prompts would change (chat_template_kwargs: {'enable_thinking': True} -> " in err


def test_a_template_from_a_file_stands_in_the_checkpoint(call, model_with, tmp_path):
    model = model_with(tmp_path / "m", None)
    (tmp_path / "own.jinja").write_text(CHATML.replace("assistant\n", "assistant:\n"))
    code, _, err = call("--model", model, "--output-dir", "run", "--chat-template", "own.jinja")
    assert code == 0, err
    checkpoint = tmp_path / "run" / "step_1"
    stored = transformers.AutoTokenizer.from_pretrained(checkpoint)
    assert "assistant:\n" in stored.chat_template
    assert read_record(checkpoint).chat_template == "on"
    _, out, _ = call("--model", checkpoint, "--dry-run")
    assert "# | <|im_start|>assistant:" in out
    _, out, _ = call("--model", checkpoint, "--dry-run", "--chat-template", "off")
    assert "im_start" not in out.partition("# first prompt")[2]


def test_a_dry_run_shows_the_first_prompt_and_what_ends_an_answer(call, model_with, tmp_path):
    model = model_with(tmp_path / "m")
    code, out, err = call("--model", model, "--dry-run")
    assert code == 0, err
    text = out[out.index("# first prompt") :]
    assert text.startswith("# first prompt, of 'p/2': ")
    assert f" tokens through the chat template of {model}\n# | <|im_start|>system\n" in text
    assert "# | What is <|im_end|> 12+34?" in text
    assert "# an answer ends with: '<|endoftext|>' (0), '<|im_end|>' (2)" in text
    assert "# note: it spells '<|im_end|>', which is encoded as text" in text
    assert yaml.safe_load(out)["num_steps"] == 1
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_says_what_is_folded_and_refuses_what_a_run_would(call, model_with, tmp_path):
    drops = CHATML.replace("messages %}", "messages if m.role != 'system' %}")
    code, out, _ = call("--model", model_with(tmp_path / "folds", drops), "--dry-run")
    assert code == 0
    assert "# note: the chat template of" in out
    assert "it stands at the head of the user's turn" in out
    loses = CHATML.replace("m.content", "m.content[:9]")
    code, _, err = call("--model", model_with(tmp_path / "loses", loses), "--dry-run")
    assert code == 3
    assert err.count("\n") == 1
    assert "loses the user's text" in err


@pytest.mark.parametrize("model", ["some/model", "runs/none/step_3"])
def test_a_dry_run_of_a_model_that_is_not_here_says_so(call, model):
    code, out, err = call("--model", model, "--dry-run")
    assert code == 0, err
    assert f"# first prompt: not shown, model '{model}' is not on this machine" in out


def test_a_dry_run_shows_the_prompt_of_a_model_made_on_the_spot(capsys):
    assert execute(cli, "srl-grpo", ["train", "--config", "smoke_test", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "without a chat template of the model made on the spot" in out
    assert "# an answer ends with: '<|end|>' (0)" in out
