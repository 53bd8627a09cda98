"""Bad input: one clear line on standard error, the right exit code, and no traceback."""

import json
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Run = Callable[[str | Sequence[str]], CompletedProcess[str]]
USAGE, BAD_DATA = 2, 3


def assert_refused(done: CompletedProcess[str], code: int, *words: str) -> None:
    """One line `PROGRAM: error: …` that holds every word."""
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    complaints = [line for line in done.stderr.splitlines() if ": error: " in line]
    assert len(complaints) == 1, done
    assert complaints[0].startswith(f"{done.args[0]}: error: ")
    assert [word for word in words if word not in complaints[0]] == [], complaints[0]


# Commands that are wrong before any file is read.
USAGE_ERRORS = [
    ("srl-grpo train --config quikstart", "did you mean 'quickstart'"),
    ("srl-grpo train --config missing/run.yaml", "missing/run.yaml"),
    ("srl-grpo train", "--model"),
    ("srl-grpo train --config smoke_test --num-steps 0", "--num-steps"),
    ("srl-grpo train --config smoke_test --group-size 1", "--group-size"),
    ("srl-grpo train --config smoke_test --zero-stage 4", "--zero-stage"),
    ("srl-grpo train --config smoke_test --temperature nan", "--temperature"),
    ("srl-grpo train --config smoke_test --chunk-size 3", "--chunk-size"),
    ("srl-grpo train --config smoke_test --model x", "not both"),
    ("srl-grpo trian", "trian"),
    ("srl-grpo train --num-stepps 3", "--num-stepps"),
    ("srl-eval aime24 --mode avg0", "--mode"),
    ("srl-eval aime24 --model a --model-path b", "one of them"),
    ("srl-eval aime42", "aime42"),
    ("srl-eval aime24 --model a --mode avg4 --temperature 0", "greedy"),
    ("srl-data build s1k", "--output"),
    ("srl-data synth arithmetic --output a.jsonl --num-problems 0", "--num-problems"),
    ("srl-data synth arithmetic --output a.jsonl --digits-min 5 --digits-max 2", "2"),
]

# Files and models that are missing.
MISSING = [
    ("srl-grpo train --model nowhere --data nowhere.jsonl", "nowhere"),
    ("srl-grpo train --config smoke_test --resume nowhere", "nowhere"),
    ("srl-grpo report nowhere", "nowhere"),
    ("srl-data build s1k --output a.jsonl --source nowhere.json", "nowhere.json"),
    ("srl-data inspect nowhere.jsonl", "nowhere.jsonl"),
    ("srl-eval arithmetic --model-path nowhere --data-path nowhere.jsonl", "nowhere"),
]


@pytest.mark.parametrize(("command", "word"), USAGE_ERRORS)
def test_bad_usage_is_exit_code_2(command: str, word: str, run_inside: Run) -> None:
    assert_refused(run_inside(command), USAGE, word)


@pytest.mark.parametrize(("command", "word"), MISSING)
def test_what_is_missing_is_exit_code_3(command: str, word: str, run_inside: Run) -> None:
    assert_refused(run_inside(command), BAD_DATA, word)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("rollout: {group_sise: 4}", "rollout.group_size"),
        ("rolout: {group_size: 4}", "rollout"),
        ("num_step: 4", "num_steps"),
        ("group_size: 4", "rollout.group_size"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(
    text: str, near: str, run_inside: Run, tmp_path: Path
) -> None:
    (tmp_path / "run.yaml").write_text(text)
    done = run_inside(["srl-grpo", "train", "--config", "run.yaml"])
    assert_refused(done, USAGE, "run.yaml", f"did you mean '{near}'?")


@pytest.mark.parametrize("text", ["a: [", "- a\n- b\n", "\x00"])
def test_a_config_that_is_no_mapping_is_refused(text: str, run_inside: Run, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(text)
    assert_refused(run_inside(["srl-grpo", "train", "--config", "run.yaml"]), USAGE, "run.yaml")


def instance_line(**fields: object) -> str:
    """A line of an instance that is sound but for `fields`."""
    sound = {"id": "a/1", "problem": "p", "previous_steps": [], "target_step": "1. a"}
    return json.dumps({**sound, "step_index": 1, "num_steps": 1, **fields})


@pytest.fixture
def instances(run_inside: Run, tmp_path: Path) -> Path:
    """A good data file of a few dozen instances."""
    made = run_inside("srl-data synth arithmetic --output train.jsonl --num-problems 10")
    assert made.returncode == 0, made
    return tmp_path / "train.jsonl"


@pytest.fixture
def training(tmp_path: Path) -> list[str]:
    """A training command with a small model, but for its data."""
    (tmp_path / "run.yaml").write_text("model: {build: {}}\ndata: {template: bare}\n")
    command = "srl-grpo train --config run.yaml --output-dir out --num-steps 1"
    return [*command.split(), "--max-prompt-length", "128", "--max-new-tokens", "32", "--data"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": "cut', "not JSON"),
        ("[1, 2]", "expected a JSON object"),
        ('{"id": "a/1", "problem": "p"}', "previous_steps"),
        (instance_line(problem=" "), "problem: is blank"),
        (instance_line(target_step="So:\n1. n is even\n2. n is odd"), "can never be rewarded"),
        (instance_line(target_step="1. so </think> it is"), "can never be rewarded"),
    ],
)
@pytest.mark.parametrize("reader", ["inspect", "train", "train --data train.jsonl --val-data"])
def test_a_malformed_line_is_named_with_its_number(
    line: str, reason: str, reader: str, instances: Path, training: list[str], run_inside: Run
) -> None:
    lines = instances.read_text().splitlines()
    lines[16] = line
    bad = instances.with_name("bad.jsonl")
    bad.write_text("\n".join(lines) + "\n")
    program, *flags = reader.split()
    commands = {"inspect": ["srl-data", "inspect"], "train": training}
    if flags:
        flags = [*flags[1:], "bad.jsonl", "--eval-every", "1"]
    done = run_inside([*commands[program], *(flags or ["bad.jsonl"])])
    assert_refused(done, BAD_DATA, "bad.jsonl:17: ", reason)


@pytest.mark.parametrize("reader", ["inspect", "train"])
def test_an_empty_data_set_is_refused(
    reader: str, training: list[str], run_inside: Run, tmp_path: Path
) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    commands = {"inspect": ["srl-data", "inspect"], "train": training}
    assert_refused(run_inside([*commands[reader], "empty.jsonl"]), BAD_DATA, "empty.jsonl")


@pytest.mark.parametrize("flag", ["--model", "--model-path"])
def test_a_folder_without_a_model_is_refused(
    flag: str, run_inside: Run, instances: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("no weights here")
    data = instances.with_name("train.eval.jsonl").name
    command = ["srl-eval", "arithmetic", flag, "folder", "--data-path", data]
    assert_refused(run_inside(command), BAD_DATA, "folder")


def test_training_refuses_a_folder_without_a_model(
    run_inside: Run, instances: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    command = ["srl-grpo", "train", "--model", "folder", "--data", instances.name]
    assert_refused(run_inside(command), BAD_DATA, "folder")


def test_prompts_and_completions_that_the_model_cannot_hold_are_refused(
    run_inside: Run, training: list[str], instances: Path
) -> None:
    done = run_inside([*training, instances.name, "--max-new-tokens", "4096"])
    assert_refused(done, USAGE, "4096", "--max-new-tokens")


def test_a_run_is_not_written_over(run_inside: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.yaml").write_text("seed: 1\n")
    command = ["srl-grpo", "train", "--config", "smoke_test", "--output-dir", "out"]
    assert_refused(run_inside(command), USAGE, "out", "--resume auto")


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file can grow past `size` bytes: what a full disk looks like from inside."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_line_and_leaves_no_half_file(run_inside: Run, tmp_path: Path) -> None:
    with files_up_to(4096):
        done = run_inside("srl-data synth arithmetic --output train.jsonl --num-problems 500")
    assert_refused(done, 1, "file size limit", "train.jsonl")
    assert list(tmp_path.iterdir()) == []
