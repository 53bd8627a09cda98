"""Whole evaluations: files, resuming, refusals, and agreement with lm-eval's own numbers."""

import json
import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from srl_data.command.errors import ConfigError, DataError
from srl_data.prompts import get_template
from srl_eval import EvalConfig, Subject, evaluate, get_task, live_subject, read_samples
from srl_eval.display import shortened
from srl_eval.generate import ChunkedEngine
from srl_eval.grading import Verdict
from srl_eval.plan import prepare
from srl_eval.run import changed_versions
from srl_eval.samples import decode_sample

AIME = get_task("aime24")
Reply = Callable[[str, int], str]


def problems_file(folder: Path, count: int = 6) -> Path:
    path = folder / "problems.jsonl"
    rows = [{"id": f"p{n}", "problem": f"Problem {n}?", "answer": str(n)} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def configure(folder: Path, **sections: dict[str, object]) -> EvalConfig:
    tree: dict[str, dict[str, object]] = {
        "model": {},
        "backend": {"chunk_size": 4},
        "decoding": {"mode": "avg3", "max_new_tokens": 40},
        "data": {"data_path": problems_file(folder)},
        "output": {"output_dir": folder / "out", "bootstrap": 200},
    }
    for name, values in sections.items():
        tree[name] = {**tree.get(name, {}), **values}
    return EvalConfig.model_validate(tree)


def right_or_not(prompt: str, seed: int) -> str:
    """Problem n: correct, wrong, or boxless, by the seed."""
    number = int(prompt.split("Problem ")[1].split("?", maxsplit=1)[0])
    return [f"\\boxed{{{number}}}", "\\boxed{999}", "no idea"][seed % 3]


@pytest.fixture
def subject(
    tokenizer: PreTrainedTokenizerFast, scripted: Callable[..., ChunkedEngine]
) -> Callable[..., Subject]:
    def make(reply: Reply = right_or_not, label: str = "m") -> Subject:
        engine = scripted(reply, 4)
        return live_subject(engine, tokenizer, stop_token_ids=(0,), window=None, label=label)

    return make


def test_files_and_scores(tmp_path: Path, subject: Callable[..., Subject]) -> None:
    metrics = evaluate(AIME, configure(tmp_path), subject())
    samples = read_samples(tmp_path / "out" / "results.jsonl")
    assert [(s.id, s.sample) for s in samples] == [(f"p{d}", n) for d in range(6) for n in range(3)]
    assert len({s.seed for s in samples}) == 18
    expected = {0: Verdict.CORRECT, 1: Verdict.WRONG, 2: Verdict.NO_ANSWER}
    assert [s.verdict for s in samples] == [expected[s.seed % 3] for s in samples]
    assert all(s.extracted == s.gold for s in samples if s.verdict is Verdict.CORRECT)
    assert samples[0].completion_tokens == len(samples[0].response) + 1
    right = [sum(s.seed % 3 == 0 for s in samples if s.doc == doc) / 3 for doc in range(6)]
    assert metrics.accuracy.mean == pytest.approx(np.mean(right))
    assert metrics.accuracy.stderr == pytest.approx(np.std(right, ddof=1) / 6**0.5)
    assert metrics.pass_at[3].mean == pytest.approx(np.mean([share > 0 for share in right]))
    assert sum(metrics.verdicts.values()) == 18
    assert not metrics.partial
    stored = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert stored["accuracy"]["mean"] == metrics.accuracy.mean


def test_lm_eval_computes_the_same_accuracy_and_error(
    tmp_path: Path, subject: Callable[..., Subject]
) -> None:
    metrics = evaluate(AIME, configure(tmp_path), subject())
    assert metrics.harness["accuracy"] == pytest.approx(metrics.accuracy.mean)
    assert metrics.harness["accuracy_stderr"] == pytest.approx(metrics.accuracy.stderr)
    assert metrics.harness["no_answer"] == pytest.approx(metrics.verdicts["no_answer"] / 18)


def test_random_generators_of_the_process_are_left_alone(
    tmp_path: Path, subject: Callable[..., Subject]
) -> None:
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    expected = random.random(), np.random.random(), torch.rand(1).item()
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    evaluate(AIME, configure(tmp_path), subject())
    assert (random.random(), np.random.random(), torch.rand(1).item()) == expected


class BrokenOffError(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("survivors", [0, 1, 2, 4])
@pytest.mark.parametrize("torn", [b"", b'{"task": "aime24", "id": "p'])
def test_interrupted_and_resumed_gives_the_same_bytes(
    tmp_path: Path, subject: Callable[..., Subject], survivors: int, torn: bytes
) -> None:
    whole = tmp_path / "whole"
    evaluate(AIME, configure(tmp_path, output={"output_dir": whole}), subject())
    calls = 0

    def breaking(prompt: str, seed: int) -> str:
        nonlocal calls
        calls += 1
        if calls > 4 * survivors + 1:
            raise BrokenOffError
        return right_or_not(prompt, seed)

    config = configure(tmp_path)
    with pytest.raises(BrokenOffError):
        evaluate(AIME, config, subject(breaking))
    results = tmp_path / "out" / "results.jsonl"
    assert len(results.read_bytes().splitlines()) == 4 * survivors
    with results.open("ab") as file:
        file.write(torn)
    evaluate(AIME, config, subject())
    for name in ("results.jsonl", "metrics.json"):
        assert (tmp_path / "out" / name).read_bytes() == (whole / name).read_bytes()


def test_lines_beyond_the_last_whole_chunk_are_redone(
    tmp_path: Path, subject: Callable[..., Subject]
) -> None:
    config = configure(tmp_path)
    evaluate(AIME, config, subject())
    results = tmp_path / "out" / "results.jsonl"
    complete = results.read_bytes()
    results.write_bytes(b"".join(complete.splitlines(keepends=True)[:7]))
    asked: list[str] = []

    def noting(prompt: str, seed: int) -> str:
        asked.append(prompt)
        return right_or_not(prompt, seed)

    evaluate(AIME, config, subject(noting))
    assert results.read_bytes() == complete
    assert len(asked) == 18 - 4


def test_a_finished_run_generates_nothing(tmp_path: Path, subject: Callable[..., Subject]) -> None:
    config = configure(tmp_path)
    first = evaluate(AIME, config, subject())

    def never(_prompt: str, _seed: int) -> str:
        raise AssertionError

    assert evaluate(AIME, config, subject(never)) == first


@pytest.mark.parametrize(
    ("section", "values", "named"),
    [
        ("decoding", {"seed": 1}, "seed 0 is now 1"),
        ("decoding", {"mode": "avg2"}, "samples 3 is now 2"),
        ("decoding", {"temperature": 1.0}, "temperature 0.6 is now 1.0"),
        ("data", {"limit": 5}, "problems 6 is now 5"),
        ("backend", {"chunk_size": 5}, "chunk_size 4 is now 5"),
    ],
)
def test_another_configuration_is_refused_unless_overwrite(
    tmp_path: Path,
    subject: Callable[..., Subject],
    section: str,
    values: dict[str, object],
    named: str,
) -> None:
    evaluate(AIME, configure(tmp_path), subject())
    with pytest.raises(ConfigError, match=named):
        evaluate(AIME, configure(tmp_path, **{section: values}), subject())
    changed = configure(tmp_path, **{section: values}, output={"overwrite": True})
    if section != "output":
        evaluate(AIME, changed, subject())


def test_another_model_is_refused(tmp_path: Path, subject: Callable[..., Subject]) -> None:
    evaluate(AIME, configure(tmp_path), subject(label="step_100"))
    with pytest.raises(ConfigError, match="model 'step_100' is now 'step_200'"):
        evaluate(AIME, configure(tmp_path), subject(label="step_200"))


def test_answers_of_another_version_are_told(
    tmp_path: Path, subject: Callable[..., Subject], capsys: pytest.CaptureFixture[str]
) -> None:
    """They are kept, being answers to the same questions; a server's packages are its own."""
    evaluate(AIME, configure(tmp_path), subject())
    path = tmp_path / "out" / "run.json"
    record = json.loads(path.read_text())
    now = record["versions"]["torch"]
    path.write_text(json.dumps({**record, "versions": {"torch": "1.0", "vllm": "0.9", "x": "1"}}))
    evaluate(AIME, configure(tmp_path), subject())
    told = capsys.readouterr().err
    assert f"were given by torch 1.0, further ones by {now}" in told
    assert told.count("further ones by") == 1
    evaluate(AIME, configure(tmp_path), subject())  # told again, as long as they are there
    assert capsys.readouterr().err.count("further ones by") == 1
    served = {**record["identity"], "served_model": "m"}
    path.write_text(json.dumps({"identity": served, "versions": {"torch": "1.0"}}))
    assert changed_versions(path) == []


def test_a_model_that_cannot_start_leaves_the_folder_as_it_was(
    tmp_path: Path, subject: Callable[..., Subject]
) -> None:
    def refuse() -> None:
        raise ConfigError("max_model_len 9000 is above the window")

    refused = replace(subject(), check=refuse)
    with pytest.raises(ConfigError, match="above the window"):
        evaluate(AIME, configure(tmp_path), refused)
    assert not (tmp_path / "out" / "run.json").exists()
    evaluate(AIME, configure(tmp_path), subject())
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(ConfigError, match="above the window"):
        evaluate(AIME, configure(tmp_path, output={"overwrite": True}), refused)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    evaluate(AIME, configure(tmp_path), refused)  # finished: nothing is started


def test_foreign_lines_are_refused(tmp_path: Path, subject: Callable[..., Subject]) -> None:
    config = configure(tmp_path)
    evaluate(AIME, config, subject())
    results = tmp_path / "out" / "results.jsonl"
    lines = results.read_bytes().splitlines(keepends=True)
    results.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(DataError, match=r"results.jsonl:1: not sample 0 of problem 'p0'"):
        evaluate(AIME, config, subject())


def test_results_without_a_record_are_refused(
    tmp_path: Path, subject: Callable[..., Subject]
) -> None:
    evaluate(AIME, configure(tmp_path), subject())
    (tmp_path / "out" / "run.json").unlink()
    with pytest.raises(ConfigError, match=r"no readable run.json"):
        evaluate(AIME, configure(tmp_path), subject())


def test_limit_marks_the_result_as_partial(tmp_path: Path, subject: Callable[..., Subject]) -> None:
    metrics = evaluate(AIME, configure(tmp_path, data={"limit": 2}), subject())
    assert metrics.partial
    assert metrics.problems == 2


def test_lone_surrogates_do_not_stop_a_run(tmp_path: Path) -> None:
    line = (
        b'{"task":"t","id":"a","doc":0,"sample":0,"seed":1,"prompt_sha256":"","response":"\\ud800",'
    )
    line += b'"extracted":null,"gold":"1","verdict":"wrong","finish_reason":"stop",'
    line += b'"prompt_tokens":1,"completion_tokens":1,"steps":1}'
    from srl_eval.samples import encode_sample

    sample = decode_sample(line)
    assert decode_sample(encode_sample(sample)) == sample
    del tmp_path


def test_token_cap_is_bounded_by_the_window_and_noted(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, scripted: Callable[..., ChunkedEngine]
) -> None:
    narrow = live_subject(
        scripted(right_or_not, 4), tokenizer, stop_token_ids=(0,), window=110, label="narrow"
    )
    plan = prepare(AIME, configure(tmp_path, decoding={"max_new_tokens": 5000}), narrow)
    longest = max(map(len, plan.prompt_ids))
    assert plan.sampling.max_new_tokens == 110 - longest
    assert any("max_new_tokens 5000 lowered to" in note for note in plan.notes)
    tight = live_subject(
        scripted(right_or_not, 4), tokenizer, stop_token_ids=(0,), window=20, label="tight"
    )
    with pytest.raises(DataError, match="takes 20 in all"):
        prepare(AIME, configure(tmp_path), tight)


def test_modes_settle_sampling() -> None:
    from srl_eval.config import DecodingSection, resolve_sampling

    greedy = resolve_sampling(DecodingSection(top_p=0.5), 10, (0,))
    assert (greedy.temperature, greedy.top_p) == (0.0, 1.0)
    average = resolve_sampling(DecodingSection(mode="avg32"), 10, (0,))
    assert (average.temperature, average.top_p) == (0.6, 0.95)
    own = resolve_sampling(DecodingSection(mode="avg1", temperature=1.0, top_p=1.0), 10, (0,))
    assert (own.temperature, own.top_p) == (1.0, 1.0)
    assert DecodingSection(mode="avg32").samples == 32


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"mode": "avg0"}, "expected greedy, stepwise, or avgN"),
        ({"mode": "best"}, "expected greedy, stepwise, or avgN"),
        ({"mode": "greedy", "temperature": 0.7}, "decodes at temperature 0, not 0.7"),
        ({"mode": "avg4", "temperature": 0.0}, "needs a temperature above 0"),
    ],
)
def test_contradictory_modes_are_refused(values: dict[str, object], reason: str) -> None:
    from srl_eval.config import DecodingSection

    with pytest.raises(ValueError, match=reason):
        DecodingSection.model_validate(values)


def test_the_chat_template_is_on_or_off_as_asked(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, subject: Callable[..., Subject]
) -> None:
    def prompt(template: str, chat: str) -> tuple[str, object]:
        config = configure(tmp_path, prompt={"chat_template": chat})
        own = subject()
        own = replace(own, prompts=own.prompts.with_template(get_template(template)))
        plan = prepare(AIME, config, own)
        return plan.prompts[0], plan.identity()["chat_template"]

    assert prompt("question_only", "auto") == ("Problem 0?", False)
    assert prompt("question_only", "on") == ("[user]Problem 0?[assistant]", True)
    boxed, chat = prompt("boxed", "off")
    assert boxed.startswith("Problem 0?")
    assert chat is False
    assert prompt("boxed", "auto")[0] == f"[user]{boxed}[assistant]"
    plain = deepcopy(tokenizer)
    plain.chat_template = None
    own = subject().prompts
    with pytest.raises(ConfigError, match="--chat-template on: the tokenizer of m has no chat"):
        prepare(
            AIME,
            configure(tmp_path, prompt={"chat_template": "on"}),
            replace(subject(), prompts=replace(own, chat=replace(own.chat, tokenizer=plain))),
        )


def test_a_long_first_prompt_is_shown_from_both_ends() -> None:
    assert shortened("a" * 1600) == "a" * 1600
    shown = shortened("a" * 1000 + "b" * 500 + "c" * 600)
    assert shown == "a" * 1000 + "\n[... 500 characters ...]\n" + "c" * 600


def test_a_folder_that_cannot_be_made_is_told_in_a_line(
    tmp_path: Path, subject: Callable[..., Subject]
) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    config = configure(tmp_path, output={"output_dir": tmp_path / "loop/out"})
    with pytest.raises(ConfigError, match=r"cannot write .*links lead in a circle"):
        evaluate(AIME, config, subject=subject())
