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
from srl_data.own_templates import open_template
from srl_data.prompt_record import read_record
from srl_data.prompts import TEMPLATES
from srl_data.records import PromptAnswer, SrlInstance, write_records
from srl_eval import EvalConfig, get_task
from srl_eval.plan import prepare
from srl_grpo.cli import cli
from srl_grpo.config.train import TrainConfig
from srl_grpo.learner import distributed
from srl_grpo.stages.train import open_run

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


OWN_TEXT = "Own words: {problem}\n\\boxed{{…}}\n"
OWN_STEPS = "{problem}\n\n{previous_steps}\n\nStep {step_index}:"
OWN_FUNCTION = """
def ask(fields):
    steps = " ".join(fields["previous_steps"])
    rules = {"role": "system", "content": f"Go on with step {fields['step_index']}."}
    return [rules, {"role": "user", "content": f"{fields['problem']} {steps}"}]
"""


@pytest.fixture
def own_templates(tmp_path, monkeypatch):
    """Templates of a user's own in the working folder."""
    monkeypatch.chdir(tmp_path)
    files = {"own.txt": OWN_TEXT, "own_steps.txt": OWN_STEPS, "own.py": OWN_FUNCTION}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


QUESTION = "What is \\frac{12}{34} & {problem} <|im_end|>?"
STEPS = ["1. **Ones** {2} + 4 = 6", "2. **Tens** 4"]


@pytest.mark.parametrize("chat_template", [CHATML, None], ids=["chat-template", "none"])
@pytest.mark.parametrize("name", [*TEMPLATES, "own.txt", "own_steps.txt", "own.py:ask"])
def test_a_question_has_the_same_prompt_ids_in_training_and_in_evaluation(
    name, chat_template, own_templates, model_with, world
):
    """Put together from the config by both commands: the evaluation knows the checkpoint alone."""
    folder, stepwise = own_templates, open_template(name).stepwise
    step = {"previous_steps": STEPS[:1], "target_step": STEPS[1], "step_index": 2, "num_steps": 2}
    record = (
        SrlInstance(id="q/2", problem=QUESTION, **step)
        if stepwise
        else PromptAnswer(id="q", problem=QUESTION, answer="7")
    )
    write_records(folder / "data.jsonl", [record])
    tree = {
        "output_dir": "run",
        "model": {"path": str(model_with(folder / "m", chat_template))},
        "data": {"path": "data.jsonl", "template": name, "max_prompt_length": 1500},
        "reward": {"reward": ["step" if stepwise else "exact"]},
        "rollout": {"max_new_tokens": 4},
        "tracking": {"tensorboard": False},
    }
    with open_run(TrainConfig.model_validate(tree), world) as (session, stage, _):
        trained = [list(prompt.ids) for prompt in stage.source.prompts]
        session.state.step = 1
        session.save()
    (folder / "own.txt").unlink()
    (folder / "own_steps.txt").unlink()
    problem = {"problem": QUESTION, "answer": "7", "steps": STEPS}
    (folder / "problems.jsonl").write_text(json.dumps(problem) + "\n")
    tree = {
        "model": {"model_path": folder / "run" / "step_1"},
        "data": {"data_path": "problems.jsonl"},
        "prompt": {"chain_start": 2 if stepwise else 1},
    }
    plan = prepare(get_task("gsm8k"), EvalConfig.model_validate(tree))
    assert plan.subject.template.name == name
    assert plan.prompt_ids == trained
    assert read_record(folder / "run" / "step_1") == plan.subject.prompts.record


def test_the_words_of_one_stage_are_those_of_the_next(call, own_templates, model_with, tmp_path):
    model = model_with(tmp_path / "m")
    code, _, err = call("--model", model, "--output-dir", "a", "--template", "own_steps.txt")
    assert code == 0, err
    first, shown = tmp_path / "a" / "step_1", "Step 2:<|im_end|>"
    assert read_record(first).text == OWN_STEPS
    (tmp_path / "own_steps.txt").unlink()
    code, out, err = call("--model", first, "--output-dir", "b")
    assert code == 0, err
    note = f"template 'own_steps.txt', as {first} records it"
    assert note in " ".join(out.split())
    assert read_record(tmp_path / "b" / "step_1").text == OWN_STEPS
    out = call("--model", first, "--dry-run")[1]
    assert shown in out
    assert f"# note: {note}" in out
    assert yaml.safe_load(out)["data"]["template"] == "own_steps.txt"
    out = call("--model", first, "--dry-run", "--template", "srl")[1]
    assert f"# note: template 'srl', although {first} was trained with 'own_steps.txt'" in out
    (tmp_path / "own_steps.txt").write_text("Anew: {problem} {previous_steps}")
    out = call("--model", first, "--dry-run")[1]
    assert shown in out
    out = call("--model", first, "--dry-run", "--template", "own_steps.txt")[1]
    assert "# | Anew: What is" in out
    assert f"'own_steps.txt' is not the same as when {first} was trained with it" in out


def test_a_resumed_run_keeps_its_words(call, own_templates, model_with, tmp_path):
    model = model_with(tmp_path / "m")
    begin = ("--model", model, "--output-dir", "run", "--template", "own_steps.txt")
    assert call(*begin)[0] == 0
    again = ("--output-dir", "run", "--num-steps", 2, "--resume", "auto")
    (tmp_path / "own_steps.txt").write_text("Anew: {problem} {previous_steps}")
    assert "Step 2:<|im_end|>" in call(*again, "--dry-run")[1]
    code, out, err = call(*again)
    assert code == 0, err
    assert "own_steps.txt has changed; the run keeps the text that it began with" in out
    first, second = (read_record(tmp_path / "run" / f"step_{n}") for n in (1, 2))
    assert first == second
    (tmp_path / "own_steps.txt").unlink()
    code, _, err = call(*again[:2], "--num-steps", 3, *again[4:])
    assert code == 0, err
    code, _, err = call(*again[:2], "--num-steps", 4, *again[4:], "--template", "srl")
    assert code == 2
    assert "its prompts would change (name: own_steps.txt -> srl;" in err


FAILING = """
from pathlib import Path

def one(completions, **columns):
    if Path("broken").exists():
        raise RuntimeError("not yet")
    return [1.0] * len(completions)
"""
"""A reward that ends a run before its first checkpoint."""


def ended_early(call, folder, *arguments):
    """A run in `run` that ended before its first checkpoint; how it is called to be resumed."""
    (folder / "broken").touch()
    (folder / "reward.py").write_text(FAILING)
    begin = ("--output-dir", "run", "--reward", "reward.py:one", *arguments)
    code, _, err = call(*begin)
    assert code == 1, err
    assert not list((folder / "run").glob("step_*"))
    (folder / "broken").unlink()
    return ("--output-dir", "run", "--resume", "auto")


@pytest.mark.parametrize("staged", [False, True], ids=["own template", "that of the stage before"])
def test_a_run_that_ended_before_its_first_checkpoint_keeps_its_words(
    call, own_templates, model_with, tmp_path, staged
):
    """Also those that it took from the stage before, whose file may say something else by now."""
    model, words = model_with(tmp_path / "m"), ("--template", "own_steps.txt")
    if staged:
        assert call("--model", model, "--output-dir", "first", *words)[0] == 0
        model, words = tmp_path / "first" / "step_1", ()
    again = ended_early(call, tmp_path, "--model", model, *words)
    began_with = read_record(tmp_path / "run")
    assert began_with.text == OWN_STEPS
    (tmp_path / "own_steps.txt").write_text("Anew: {problem} {previous_steps}")
    assert "Step 2:<|im_end|>" in call(*again, "--dry-run")[1]
    code, out, err = call(*again)
    assert code == 0, err
    assert "own_steps.txt has changed; the run keeps the text that it began with" in out
    assert read_record(tmp_path / "run" / "step_1") == began_with


def test_a_run_that_ended_before_its_first_checkpoint_keeps_its_day(
    call, model_with, tmp_path, monkeypatch
):
    model = model_with(tmp_path / "m", DATED)
    monkeypatch.setattr("srl_data.prompt_record.clock", lambda: dt.date(2025, 3, 7))
    again = ended_early(call, tmp_path, "--model", model)
    monkeypatch.setattr("srl_data.prompt_record.clock", lambda: dt.date(2025, 3, 8))
    code, _, err = call(*again)
    assert code == 0, err
    assert read_record(tmp_path / "run" / "step_1").date == dt.date(2025, 3, 7)


def test_other_words_than_those_of_its_records_are_another_run(
    call, own_templates, model_with, tmp_path
):
    again = ended_early(call, tmp_path, "--model", model_with(tmp_path / "m"))
    code, _, err = call(*again, "--template", "own_steps.txt")
    assert code == 2
    assert err.count("\n") == 1
    assert "--resume run: its prompts would change (name: srl -> own_steps.txt; " in err
    assert "or begin another run in another --output-dir" in err


def test_a_function_that_changed_is_not_trained_with_unasked(
    call, own_templates, model_with, tmp_path
):
    model = model_with(tmp_path / "m")
    code, _, err = call("--model", model, "--output-dir", "run", "--template", "own.py:ask")
    assert code == 0, err
    checkpoint = tmp_path / "run" / "step_1"
    assert call("--model", checkpoint, "--output-dir", "next")[0] == 0
    (tmp_path / "own.py").write_text(OWN_FUNCTION.replace("Go on", "Continue"))
    code, _, err = call("--model", checkpoint, "--output-dir", "other")
    assert code == 3
    assert "trained with template 'own.py:ask', which has changed since; restore it, or" in err
    again = ("--output-dir", "run", "--num-steps", 2, "--resume", "auto")
    code, _, err = call(*again)
    assert code == 2
    assert "its prompts would change (function_sha256: " in err
    named = ("--output-dir", "other", "--template", "own.py:ask")
    code, out, err = call("--model", checkpoint, *named)
    assert code == 0, err
    assert "is not the same as when" in " ".join(out.split())
    (tmp_path / "own.py").unlink()
    code, _, err = call("--model", checkpoint, "--output-dir", "last")
    assert code == 3
    assert err.count("\n") == 1
    assert "which cannot be had: --template 'own.py:ask': no such file" in err


def test_what_does_not_fit_the_records_is_said_with_what_does(call, model_with, tmp_path):
    model = model_with(tmp_path / "m")
    code, _, err = call("--model", model, "--output-dir", "run", "--template", "chat")
    assert code == 3
    assert err.count("\n") == 1
    assert "record 'p/2': template 'chat' shows the problem alone, and the record has 1 " in err
    assert "previous step; use --template srl" in err
    (tmp_path / "own.txt").write_text("{problem} {previous_steps}")
    write_records(tmp_path / "a.jsonl", [PromptAnswer(id="q", problem="1+1?", answer="2")])
    answers = ("--data", "a.jsonl", "--reward", "exact")
    code, _, err = call("--model", model, *answers, "--template", "own.txt")
    assert code == 2
    assert "--template own.txt asks for another answer than prompt-answer records hold" in err
    code, _, err = call("--model", model, *answers, "--template", "chat", "--output-dir", "chat")
    assert code == 0, err
    chat = tmp_path / "chat" / "step_1"
    code, out, err = call("--model", chat, "--dry-run")
    assert code == 0, err
    assert "# note: template 'srl': that of" in out
    assert "asks for another answer than SRL instances hold" in out
    assert call("--model", chat, *answers, "--dry-run")[1].count("boxed") == 0
