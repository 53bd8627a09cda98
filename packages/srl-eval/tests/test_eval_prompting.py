"""How an evaluation asks its model: chat template, arguments, frozen date, other thinking marks."""

import datetime as dt
import json
import re
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from srl_data import prompt_record
from srl_data.command.errors import ConfigError, DataError
from srl_data.command.frame import execute
from srl_data.own_templates import open_template
from srl_data.prompt_record import PromptRecord, record_of, write_record
from srl_data.prompts import get_template
from srl_eval import EvalConfig, evaluate, get_task, live_subject, read_samples
from srl_eval.cli import cli
from srl_eval.generate import ChunkedEngine, stop_token_ids

AIME = get_task("aime24")
DATED = (
    "Today: {{ strftime_now('%d %b %Y') }}\n{% for m in messages %}[{{ m.role }}]{{ m.content }}"
    "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
"""A chat template that prints the day."""


@pytest.fixture
def folder(tmp_path: Path, model_folder: Path) -> Callable[[str], Path]:
    """Writes a model with a chat template of its own."""

    def make(chat_template: str) -> Path:
        shutil.copytree(model_folder, tmp_path / "model")
        (tmp_path / "model" / "chat_template.jinja").write_text(chat_template)
        return tmp_path / "model"

    return make


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    path.write_text('{"problem": "What is 1 + 1?", "answer": 2}\n')
    return path


def configure(model: Path, problems: Path, **prompt: object) -> EvalConfig:
    tree = {
        "model": {"model_path": model},
        "decoding": {"max_new_tokens": 2},
        "data": {"data_path": problems},
        "prompt": prompt,
        "output": {"output_dir": problems.parent / "out", "bootstrap": 100},
    }
    return EvalConfig.model_validate(tree)


def test_an_evaluation_resumed_another_day_asks_as_on_the_first(
    folder: Callable[[str], Path], problems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(folder(DATED), problems)
    record = problems.parent / "out" / "run.json"
    results = problems.parent / "out" / "results.jsonl"
    monkeypatch.setattr(prompt_record, "clock", lambda: dt.date(2025, 3, 7))
    evaluate(AIME, config)
    first, lines = json.loads(record.read_text()), results.read_text()
    assert first["identity"]["date"] == "2025-03-07"
    assert first["first_prompt"].startswith("Today: 07 Mar 2025")
    monkeypatch.setattr(prompt_record, "clock", lambda: dt.date(2025, 3, 8))
    evaluate(AIME, config)
    assert results.read_text() == lines
    again = config.output.model_copy(update={"overwrite": True})
    evaluate(AIME, config.model_copy(update={"output": again}))
    second = json.loads(record.read_text())["identity"]
    assert second["date"] == "2025-03-08"
    assert second["prompts_sha256"] != first["identity"]["prompts_sha256"]


def test_a_checkpoint_is_asked_as_it_was_trained(
    folder: Callable[[str], Path], problems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    switched = DATED + "{% if enable_thinking %}<think>{% else %}<think></think>{% endif %}"
    model = folder(switched)
    kept = PromptRecord(
        name="boxed",
        version=1,
        chat_template_kwargs={"enable_thinking": True},
        date=dt.date(2024, 5, 6),
    )
    write_record(model, kept)
    record = problems.parent / "out" / "run.json"
    evaluate(AIME, configure(model, problems))
    found = json.loads(record.read_text())
    assert found["first_prompt"].startswith("Today: 06 May 2024")
    assert found["first_prompt"].endswith("[assistant]<think>")
    assert found["identity"]["chat_template_kwargs"] == {"enable_thinking": True}
    with pytest.raises(ConfigError, match="chat_template_kwargs"):
        evaluate(AIME, configure(model, problems, chat_template_kwargs={"enable_thinking": False}))
    switch = re.escape("pass --chat-template-kwargs '{\"enable_thinking\": true}'")
    with pytest.raises(DataError, match=switch):
        evaluate(AIME, configure(model, problems, template="srl", chat_template_kwargs={}))


def test_a_checkpoint_s_own_words_are_asked_with_after_their_file_is_gone(
    folder: Callable[[str], Path], problems: Path, tmp_path: Path
) -> None:
    model = folder(DATED)
    (tmp_path / "own.txt").write_text("Now: {problem}")
    write_record(model, record_of(open_template(str(tmp_path / "own.txt"))))
    (tmp_path / "own.txt").unlink()
    evaluate(AIME, configure(model, problems))
    found = json.loads((tmp_path / "out" / "run.json").read_text())
    assert found["first_prompt"].endswith("[user]Now: What is 1 + 1?[assistant]")
    assert found["identity"]["template"].startswith(f"{tmp_path}/own.txt/")


def test_an_evaluation_says_whose_template_it_takes(
    folder: Callable[[str], Path], problems: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = folder(DATED)
    write_record(model, record_of(get_template("chat")))
    arguments = ["aime24", "--model", str(model), "--data-path", str(problems), "--dry-run"]
    assert execute(cli, "srl-eval", arguments) == 0
    out = capsys.readouterr().out
    assert "[user]What is 1 + 1?[assistant]" in out
    assert f"# note: template 'chat', as {model} records it" in out
    assert execute(cli, "srl-eval", [*arguments, "--template", "boxed"]) == 0
    out = capsys.readouterr().out
    assert "give the final answer inside" in out
    assert f"# note: template 'boxed', although {model} was trained with 'chat'" in out
    assert execute(cli, "srl-eval", [*arguments, "--template", "none.txt"]) == 2


def test_an_answer_in_steps_needs_a_template_that_shows_them(
    folder: Callable[[str], Path], problems: Path
) -> None:
    with pytest.raises(ConfigError, match=r"'chat' does not; use --template srl, or --solve whole"):
        evaluate(AIME, configure(folder(DATED), problems, template="chat", solve="stepwise"))


def test_a_template_from_a_file_is_used(
    folder: Callable[[str], Path], problems: Path, tmp_path: Path
) -> None:
    (tmp_path / "own.jinja").write_text("{% for m in messages %}<{{ m.content }}>{% endfor %}")
    model = folder(DATED)
    evaluate(AIME, configure(model, problems, chat_template=str(tmp_path / "own.jinja")))
    found = json.loads((tmp_path / "out" / "run.json").read_text())
    assert found["first_prompt"].startswith("<What is 1 + 1?")
    assert found["identity"]["chat_template"] is True


@pytest.mark.parametrize(
    ("generation", "reply"),
    [
        ("", "[THINK]perhaps \\boxed{2}"),
        ("", "<|channel|>analysis<|message|>perhaps \\boxed{2}"),
        ("<seed:think>", "perhaps \\boxed{2}"),
        ("[THINK]\n", "perhaps \\boxed{2}"),
    ],
)
def test_no_box_counts_inside_thinking_of_any_mark(
    tokenizer: PreTrainedTokenizerFast,
    scripted: Callable[..., ChunkedEngine],
    problems: Path,
    generation: str,
    reply: str,
) -> None:
    tokenizer = deepcopy(tokenizer)
    tokenizer.chat_template = "{{ messages[0].content }}" + generation
    engine = scripted(lambda _prompt, _seed: reply)
    subject = live_subject(engine, tokenizer, stop_token_ids=(0,), window=None)
    config = configure(problems, problems)
    config = config.model_copy(
        update={"decoding": config.decoding.model_copy(update={"max_new_tokens": 99})}
    )
    evaluate(AIME, config, subject)
    (sample,) = read_samples(problems.parent / "out" / "results.jsonl")
    assert (sample.extracted, sample.verdict) == (None, "no_answer")
    assert sample.response == reply


def test_stop_tokens_come_from_every_source_once() -> None:
    class Source:
        def __init__(self, ids: object, text: "Source | None" = None) -> None:
            self.eos_token_id, self._text = ids, text

        def get_text_config(self, *, decoder: bool) -> "Source":
            assert decoder
            return self._text or self

    sources = [Source(7), Source([3, 7]), Source(None, Source((9,))), Source(True), object()]
    assert stop_token_ids(sources, (5, 3)) == (3, 5, 7, 9)
    assert stop_token_ids([]) == ()


def test_a_dry_run_shows_the_first_prompt(
    folder: Callable[[str], Path], problems: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = folder(DATED)
    arguments = ["aime24", "--model", str(model), "--data-path", str(problems), "--dry-run"]
    assert execute(cli, "srl-eval", arguments) == 0
    out = capsys.readouterr().out
    assert f"tokens through the chat template of {model}" in out
    assert "# | [user]What is 1 + 1?" in out
    assert "# an answer ends with: '<|end|>' (0)" in out
    assert "# note: the chat template prints the date, which stays" in out
    assert execute(cli, "srl-eval", ["aime24", "--model", "no/model", "--dry-run"]) == 0
    assert "not shown, model 'no/model' is not on this machine" in capsys.readouterr().out


def test_a_chat_template_that_fails_ends_in_one_line(
    folder: Callable[[str], Path], problems: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = folder("{{ header() }}")
    arguments = ["aime24", "--model", str(model), "--data-path", str(problems)]
    assert execute(cli, "srl-eval", arguments) == 3
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"the chat template of {model} fails: UndefinedError: 'header' is undefined" in err
