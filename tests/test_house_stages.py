"""recipes/compare_stages.py: its commands are taken, its arms are in order, seeds are pooled."""

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType

import pytest

from srl_data.records import PromptAnswer, write_records
from srl_data.synth_chain import ChainConfig, synth_chain
from srl_eval.compare import compare
from srl_eval.grading import Verdict
from srl_eval.samples import Sample, encode_sample

InRecipe = Callable[[str], str]
Run = Callable[[str | Sequence[str]], CompletedProcess[str]]
CORRECT = [[True, False], [True, True], [False, False]]
"""Of two seeds, whether each of three problems is right."""


@pytest.fixture(scope="module")
def recipe(root: Path) -> Iterator[ModuleType]:
    """The recipe's module, its folder on the path as when it is run."""
    sys.path.insert(0, str(root / "recipes"))
    try:
        import compare_stages

        yield compare_stages
    finally:
        sys.path.remove(str(root / "recipes"))


@pytest.fixture
def in_recipe(root: Path, tmp_path: Path) -> InRecipe:
    """Runs lines that fail, with `recipe` at hand, in a process of their own; what it said at last.

    The recipe forks, and this process may be too large for that when many tests have run.
    """

    def run(lines: str) -> str:
        head = (
            "import os, signal, time\nfrom pathlib import Path\nimport compare_stages as recipe\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", head + textwrap.dedent(lines)],
            env={**os.environ, "PYTHONPATH": str(root / "recipes")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode
        return done.stderr

    return run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a seed, few of each."""
    folder = tmp_path_factory.mktemp("data")
    synth_chain(ChainConfig(output=folder / "chain.jsonl", num_problems=2, num_warmup=2))
    return folder


def test_every_command_of_an_arm_is_taken(recipe: ModuleType, data: Path, run_inside: Run) -> None:
    start, run = Path("model"), Path("run")
    rates = json.loads(recipe.RATES.read_text("utf-8"))
    for arm in recipe.ARMS.values():
        if arm.name != recipe.START:
            words = arm.command(data, start, rates, 3, run).words
            done = run_inside([*words, "--dry-run"])
            assert done.returncode == 0, done
            assert "# dry run: would " in done.stdout


def test_every_command_of_the_start_and_of_an_evaluation_is_taken(
    recipe: ModuleType, data: Path, run_inside: Run
) -> None:
    found = [recipe.data_command(data / "a.jsonl", 0, 1, 1)]
    before = None
    for phase in recipe.PHASES:
        found.append(phase.command(data, before, Path("run")))
        before = Path("model")
    found += [
        make(data, "test", Path("model"), Path("out")) for make in recipe.EVALUATIONS.values()
    ]
    for command in found:
        done = run_inside([*command.words, "--dry-run"])
        assert done.returncode == 0, done


def test_an_arm_comes_after_its_start_and_brings_it_along(recipe: ModuleType) -> None:
    assert [arm.name for arm in recipe.needed(["srl_rlvr"])] == ["start", "srl", "srl_rlvr"]
    names = [arm.name for arm in recipe.needed(list(recipe.ARMS))]
    assert names == list(recipe.ARMS)
    for name in names[1:]:
        assert names.index(recipe.ARMS[name].start) < names.index(name)


def test_every_arm_has_a_rate_of_its_own_and_three_to_choose_from(recipe: ModuleType) -> None:
    rates = json.loads(recipe.RATES.read_text("utf-8"))
    assert rates.keys() == recipe.ARMS.keys() - {recipe.START}
    for name, choices in recipe.CHOICES.items():
        assert len(set(choices)) == 3
        assert rates[name] in choices
    for name, of in recipe.SECONDS.items():
        assert rates[name] == rates[of]


def finished(folder: Path, correct: Sequence[bool]) -> Path:
    """A finished evaluation of three problems."""
    folder.mkdir(parents=True)
    config = {"decoding": {"mode": "greedy"}, "output": {"bootstrap": 100}}
    identity = {"task": "chain.test", "problems": 3, "samples": 1, "grader": "boxed_integer"}
    record = {"identity": identity, "config": config, "partial": False}
    (folder / "run.json").write_text(json.dumps(record))
    problems = [PromptAnswer(id=f"p{n}", problem="1 #1+01", answer="2") for n in range(3)]
    write_records(folder / "problems.jsonl", problems)
    samples = [
        Sample(
            task="chain.test",
            id=f"p{n}",
            doc=n,
            sample=0,
            seed=0,
            prompt_sha256="",
            response="",
            extracted="2",
            gold="2",
            verdict=Verdict.CORRECT if good else Verdict.WRONG,
            finish_reason="stop",
            prompt_tokens=1,
            completion_tokens=1,
            steps=1,
        )
        for n, good in enumerate(correct)
    ]
    (folder / "results.jsonl").write_bytes(b"".join(map(encode_sample, samples)))
    return folder


def test_seeds_are_samples_of_a_problem_so_that_intervals_are_over_problems(
    recipe: ModuleType, tmp_path: Path
) -> None:
    pools = []
    for name, seeds in (("a", zip(*CORRECT, strict=True)), ("b", [[True] * 3] * 2)):
        runs = [
            finished(tmp_path / name / str(seed), correct) for seed, correct in enumerate(seeds)
        ]
        pools.append(recipe.pooled(runs, tmp_path / "pooled" / name))
    found = compare(pools, resamples=200)
    first, second = found.rows
    assert found.problems == 3
    assert first.score == pytest.approx(3 / 6)
    assert second.difference == pytest.approx(3 / 6)
    assert (second.wins, second.losses) == (2, 0)


def test_what_is_done_is_not_done_again_and_another_command_is_refused(
    in_recipe: InRecipe, tmp_path: Path
) -> None:
    words = ["srl-data", "synth", "chain", "--num-problems", "2", "--output", "data/a.jsonl"]
    told = in_recipe(f"""
        command = recipe.Command({tuple(words)!r})
        made = Path("data")
        recipe.do(command, made, "data")
        answers = made / "a.answers.jsonl"
        assert len(answers.read_text().splitlines()) == 2
        answers.unlink()
        recipe.do(command, made, "data")
        assert not answers.exists()
        recipe.do(recipe.Command((*command.words, "--seed", "1")), made, "data")
    """)
    assert "is of another command" in told


def test_a_command_that_fails_ends_the_table_with_its_line_and_is_not_done(
    in_recipe: InRecipe, tmp_path: Path
) -> None:
    told = in_recipe("""
        words = ("srl-data", "synth", "chain", "--output", "a", "--operations", "0")
        recipe.do(recipe.Command(words), Path("data"), "data")
    """)
    assert re.search(r"(?s)operations = 0.*failed: srl-data synth chain", told)
    assert list(tmp_path.glob("*.json")) == []


def test_two_processes_never_work_on_one_seed(recipe: ModuleType, tmp_path: Path) -> None:
    with (
        recipe.alone(tmp_path / "seed_0"),
        pytest.raises(SystemExit, match=r"seed_0 is in use by process \d+"),
        recipe.alone(tmp_path / "seed_0"),
    ):
        pytest.fail("never reached")
    with recipe.alone(tmp_path / "seed_0"):
        pass


def test_a_command_does_not_outlive_the_table_that_runs_it(
    in_recipe: InRecipe, tmp_path: Path
) -> None:
    began = time.monotonic()
    told = in_recipe("""
        class Interrupting(recipe.Command):
            def main(self):
                time.sleep(0.5)
                Path("child").write_text(str(os.getpid()))
                os.kill(os.getppid(), signal.SIGINT)
                time.sleep(120)

        recipe.do(Interrupting(("srl-grpo", "train")), Path("run"), "run")
    """)
    assert "KeyboardInterrupt" in told
    assert time.monotonic() - began < 60
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "child").read_text()), 0)
    assert list(tmp_path.glob("*.json")) == []


def test_a_comparison_on_the_page_has_its_tables_without_lists_of_problems(
    recipe: ModuleType,
) -> None:
    from stages_page import shifted

    text = (
        "# chain: 3 problems\n\n| run |\n|---|\n| a |\n\n- a better than b on 1: p0\n\nIntervals.\n"
    )
    assert shifted(text) == "| run |\n|---|\n| a |\n\n\nIntervals.\n"


def test_a_difference_on_the_page_is_of_the_arm_that_its_line_names(
    recipe: ModuleType, tmp_path: Path
) -> None:
    from stages_page import differences

    def folder(first: str, found: dict[str, float]) -> Path:
        runs = [{"name": first, "difference": None, "difference_interval": None}]
        runs += [
            {"name": name, "difference": value, "difference_interval": [value - 0.1, value + 0.1]}
            for name, value in found.items()
        ]
        made = tmp_path / first
        made.mkdir()
        (made / "compare.json").write_text(json.dumps({"tasks": [{"runs": runs}]}))
        return made

    arms = list(recipe.needed(["srl", "rlvr"]))
    firsts = {
        "start": folder("start", {"rlvr": 0.2, "srl": 0.5}),
        "rlvr": folder("rlvr", {"start": -0.2, "srl": 0.3}),
    }
    assert list(differences(arms, {"steps": firsts, "whole": firsts}))[2:] == [
        "| RLVR − untrained | +20.0 (+10.0 to +30.0) | +20.0 (+10.0 to +30.0) |",
        "| SRL − untrained | +50.0 (+40.0 to +60.0) | +50.0 (+40.0 to +60.0) |",
        "| SRL − RLVR | +30.0 (+20.0 to +40.0) | +30.0 (+20.0 to +40.0) |",
    ]
