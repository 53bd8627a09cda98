"""Suites: several models on several tasks, found complete before the first evaluation."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from srl_data.command.errors import ConfigError
from srl_data.command.frame import execute
from srl_eval.cli import cli
from srl_eval.suite import SuiteConfig, comparable, entries

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def problems(tmp_path: Path, problems_file: Write) -> Path:
    return problems_file(tmp_path, 3)


def suite_tree(tmp_path: Path, model: Path) -> dict[str, object]:
    """A suite over `problems.jsonl`, which the fixture `problems` writes."""
    return {
        "output_dir": str(tmp_path / "suite"),
        "models": [
            {"name": "one", "model_path": str(model)},
            {"name": "two", "model_path": str(model), "template": "question_only"},
        ],
        "tasks": ["aime24"],
        "modes": ["greedy", "avg2"],
        "data": {"aime24": str(tmp_path / "problems.jsonl")},
        "shared": {"decoding": {"max_new_tokens": 8}, "output": {"bootstrap": 100}},
    }


def test_suite_entries(tmp_path: Path, model_folder: Path) -> None:
    suite = SuiteConfig.model_validate(suite_tree(tmp_path, model_folder))
    found = list(entries(suite))
    assert [(e.model, e.folder.name) for e in found] == [
        ("one", "aime24_greedy"),
        ("one", "aime24_avg2"),
        ("two", "aime24_greedy"),
        ("two", "aime24_avg2"),
    ]
    assert found[3].config.decoding.samples == 2
    assert found[3].config.prompt.template == "question_only"
    assert found[0].config.decoding.max_new_tokens == 8
    assert [len(folders) for folders in comparable(suite).values()] == [2, 2]
    bad = SuiteConfig.model_validate({**suite_tree(tmp_path, model_folder), "modes": ["avg0"]})
    with pytest.raises(ConfigError, match="suite entry one, aime24, avg0"):
        list(entries(bad))


def test_a_suite_takes_data_by_any_name_of_its_task(tmp_path: Path, model_folder: Path) -> None:
    tree = suite_tree(tmp_path, model_folder)
    file = tmp_path / "problems.jsonl"
    tree |= {"tasks": ["aime25"], "data": {"aime2025": str(file)}}
    tree["models"] = [{"name": "hub", "model": "a/b", "revision": "abc"}]
    (first, _) = entries(SuiteConfig.model_validate(tree))
    assert first.config.data.data_path == file
    assert first.config.model.revision == "abc"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"models": [{"name": "a", "model": "x"}] * 2}, "two models are called 'a'"),
        ({"models": [{"name": "../a", "model": "x"}]}, "'../a' is not a folder name"),
        ({"models": [{"name": "..", "model": "x"}]}, "'..' is not a folder name"),
        ({"data": {"gsm8k": "x.jsonl"}}, "data for 'gsm8k', which is none of the tasks"),
        ({"tasks": ["aime42"]}, "unknown task 'aime42'"),
    ],
)
def test_a_suite_s_mistakes_are_named(
    tmp_path: Path,
    model_folder: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, object],
    reason: str,
) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(json.dumps({**suite_tree(tmp_path, model_folder), **change}))
    assert execute(cli, "srl-eval", ["suite", str(path), "--dry-run"]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"models": [{"name": "b", "model_path": "nowhere"}]}, 3, "nowhere does not exist"),
        ({"models": [{"name": "b"}]}, 2, "'b' has neither model nor model_path"),
        ({"data": {"aime24": "nowhere.jsonl"}}, 3, "no such file: nowhere.jsonl"),
    ],
)
def test_what_a_suite_lacks_is_found_before_its_first_evaluation(
    tmp_path: Path,
    model_folder: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, list[object]],
    code: int,
    reason: str,
) -> None:
    first = [{"name": "one", "model_path": str(model_folder)}]
    if "models" in change:
        change = {"models": [*first, *change["models"]]}
    path = tmp_path / "suite.yaml"
    path.write_text(json.dumps({**suite_tree(tmp_path, model_folder), **change}))
    assert execute(cli, "srl-eval", ["suite", str(path)]) == code
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "suite").exists()


def test_suite_command(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(json.dumps(suite_tree(tmp_path, model_folder)))
    assert execute(cli, "srl-eval", ["suite", str(path), "--dry-run"]) == 0
    assert "two on aime24 into" in capsys.readouterr().out
    assert execute(cli, "srl-eval", ["suite", str(path)]) == 0
    assert "accuracy in %, with its standard error" in capsys.readouterr().out
    folder = tmp_path / "suite"
    assert (folder / "one" / "aime24_greedy" / "report.html").exists()
    assert (folder / "two" / "aime24_avg2" / "metrics.json").exists()
    assert (
        "template: boxed/1 (one), question_only/1 (two)"
        in (folder / "compare_aime24_avg2.md").read_text()
    )
