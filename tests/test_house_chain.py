"""The chain as a user walks it, in processes of their own: data, training, checkpoint, evaluation.

Slow: each test starts several processes that load torch.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Run = Callable[[str | Sequence[str]], CompletedProcess[str]]
STEPS = 3
TRAIN = "srl-grpo train --config smoke_test --output-dir"
REAL_CHAIN = """\
srl-data build s1k --source {data}/s1k/s1k.json --field solution --output steps.jsonl
python {root}/scripts/make_small_model.py --data steps.jsonl --output model --steps 60
srl-grpo train --model model --data steps.jsonl --output-dir run --num-steps 2 --batch-size 2 \
--group-size 2 --max-prompt-length 400 --max-new-tokens 64
srl-eval aime24 --model-path run/step_2 --data-path {data}/aime24/test.jsonl --limit 3 \
--mode avg2 --max-new-tokens 32 --output-dir results
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """The run directory of the smoke test, finished."""
    folder = tmp_path_factory.mktemp("chain")
    run_in(folder, f"{TRAIN} run", environment)
    return folder / "run"


def run_in(folder: Path, command: str, environment: dict[str, str]) -> None:
    """Run a command to its good end, on one thread, which is quicker for models this small."""
    program, *arguments = shlex.split(command)
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done


def test_a_run_leaves_what_its_guide_promises(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert {"config.yaml", "metrics.jsonl", "report.html", "rollouts", "summary.json"} <= names
    assert {"sys", "tensorboard", f"step_{STEPS}"} <= names
    lines = (trained / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, STEPS + 1))
    summary = json.loads((trained / "summary.json").read_text())
    for moment in ("before", "after"):
        values = summary[moment]
        assert {"reward", "exact", "invalid", "greedy_reward", "final_answer"} <= set(values)
        assert -1 <= values["reward"] <= 1
    page = (trained / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert 'src="http' not in page


def test_metrics_that_the_training_guide_explains_are_logged(root: Path, trained: Path) -> None:
    guide = (root / "docs/guides/training.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `([\w/]+)`", guide.partition("| Metric |")[2], re.MULTILINE))
    lines = (trained / "metrics.jsonl").read_text().splitlines()
    logged = {name for line in lines for name in json.loads(line)}
    assert len(explained) >= 6
    assert explained - logged == set()


def test_a_checkpoint_loads_in_plain_transformers_and_writes_text(trained: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = trained / f"step_{STEPS}"
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("12+34=", return_tensors="pt").input_ids
    written = model.generate(ids, max_new_tokens=4, do_sample=False)
    assert written.shape[1] > ids.shape[1]
    assert isinstance(tokenizer.decode(written[0]), str)


@pytest.mark.parametrize("mode", ["greedy", "avg2"])
def test_a_checkpoint_is_evaluated_on_held_out_problems(
    mode: str, trained: Path, run_command: Run, tmp_path: Path
) -> None:
    made = run_command("srl-data synth arithmetic --output a.jsonl --difficulty easy --val-size 6")
    assert made.returncode == 0, made
    model = trained / f"step_{STEPS}"
    done = run_command(
        f"srl-eval arithmetic --model-path {model} --data-path a.eval.jsonl --mode {mode} "
        "--output-dir results"
    )
    assert done.returncode == 0, done
    lines = (tmp_path / "results" / "results.jsonl").read_text().splitlines()
    assert len(lines) == 6 * {"greedy": 1, "avg2": 2}[mode]
    assert json.loads((tmp_path / "results" / "metrics.json").read_text())


@pytest.fixture
def cut_short(trained: Path, tmp_path: Path) -> Path:
    """A copy of a checkpoint whose weights end early."""
    folder = tmp_path / "step_2"
    shutil.copytree(trained / f"step_{STEPS}", folder)
    weights = folder / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    return folder


def test_a_checkpoint_cut_short_is_refused_by_training(cut_short: Path, run_command: Run) -> None:
    done = run_command(f"{TRAIN} out --resume {cut_short}")
    assert done.returncode == 3, done
    assert done.stderr.count(": error: ") == 1
    assert "model.safetensors" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_checkpoint_cut_short_is_refused_by_evaluation(
    cut_short: Path, run_command: Run, tmp_path: Path
) -> None:
    made = run_command("srl-data synth arithmetic --output a.jsonl --difficulty easy --val-size 6")
    assert made.returncode == 0, made
    done = run_command(f"srl-eval arithmetic --model-path {cut_short} --data-path a.eval.jsonl")
    assert done.returncode == 3, done
    assert "Traceback" not in done.stderr
    assert str(cut_short) in done.stderr


@pytest.mark.skipif("SRL_TEST_DATA" not in os.environ, reason="SRL_TEST_DATA is not set")
def test_the_chain_on_real_problems(
    root: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    data = Path(os.environ["SRL_TEST_DATA"])
    for command in REAL_CHAIN.format(data=data, root=root).splitlines():
        run_in(tmp_path, command, environment)
    rollouts = sorted(path.name for path in (tmp_path / "run" / "rollouts").iterdir())
    assert rollouts == ["step_000001.jsonl.zst", "step_000002.jsonl.zst"]
    samples = (tmp_path / "results" / "results.jsonl").read_text().splitlines()
    assert len(samples) == 3 * 2
