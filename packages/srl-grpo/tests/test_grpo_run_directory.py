import json
import math
import os
import re

import pytest
import zstandard

from srl_data.command.config import Section
from srl_data.command.errors import ConfigError, DataError
from srl_grpo.run.directory import (
    RunDirectory,
    begin_run,
    default_run_path,
    open_run,
    read_rollouts,
    resume_run,
    safe_environment,
    write_rollouts,
)


class Toy(Section):
    seed: int = 7
    name: str = "tóy"


def test_a_new_run_records_config_and_surroundings(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh12345")
    monkeypatch.setenv("SRL_PLAIN", "kept")
    run = begin_run(Toy(), tmp_path / "run")

    assert run.config.read_text() == "seed: 7\nname: tóy\n"
    environment = json.loads((run.environment / "environment.json").read_text())
    assert environment["SRL_PLAIN"] == "kept"
    assert "HF_TOKEN" not in environment
    assert "hf_abcdefgh12345" not in (run.environment / "environment.json").read_text()
    packages = (run.environment / "packages.txt").read_text().splitlines()
    assert any(line.startswith("zstandard==") for line in packages)
    assert json.loads((run.environment / "hardware.json").read_text())["cpus"] == os.cpu_count()
    assert set(json.loads((run.environment / "git.json").read_text())) == {
        "sha",
        "branch",
        "changed",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("WANDB_API_KEY", "x"),
        ("my_token", "x"),
        ("DB_PASSWORD", "x"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "x"),
        ("BASIC_AUTH", "x"),
        ("SESSION_COOKIE", "x"),
        ("GITHUB_PAT", "x"),
        ("HTTPS_PROXY", "http://user:hunter2@proxy:8080"),
        ("REDIS", "redis://:hunter2@host/0"),
        ("INNOCENT", "hf_abcdefgh12345"),
        ("ALSO_INNOCENT", "prefix sk-abcdefgh12345"),
    ],
)
def test_secrets_are_dropped(name, value):
    assert safe_environment({name: value, "HOME": "/root"}) == {"HOME": "/root"}


def test_ordinary_variables_are_kept():
    plain = {
        "PATH": "/bin",
        "PROXY": "http://proxy:8080/a@b",
        "PATTERN": "task-management",
        "PWD1": "",
    }
    assert safe_environment(plain) == plain


def test_a_folder_that_holds_a_run_is_refused_with_the_fix(tmp_path):
    begin_run(Toy(), tmp_path)
    with pytest.raises(ConfigError, match=r"already holds a run.*--resume auto") as caught:
        begin_run(Toy(), tmp_path)
    assert caught.value.exit_code == 2


def test_other_files_do_not_make_a_run(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text("{}\n")
    assert begin_run(Toy(), tmp_path).config.exists()


def test_an_output_dir_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        begin_run(Toy(), tmp_path / "x")


def test_open_run_names_what_is_wrong(tmp_path):
    with pytest.raises(DataError, match="no such run directory"):
        open_run(tmp_path / "none")
    with pytest.raises(DataError, match="is not a run directory"):
        open_run(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="found a file"):
        open_run(tmp_path / "file")


def test_resuming_drops_later_rollouts_and_keeps_the_first_surroundings(tmp_path):
    run = begin_run(Toy(), tmp_path)
    first = (run.environment / "environment.json").stat().st_mtime_ns
    for step in (1, 2, 3):
        run.write_rollouts(step, [{"step": step}])

    again = resume_run(tmp_path, Toy(seed=8), step=2)

    assert list(again.rollout_files()) == [1, 2]
    assert "seed: 8" in again.config.read_text()
    assert (run.environment / "environment.json").stat().st_mtime_ns == first
    assert len(list(run.environment.glob("resumed_*/packages.txt"))) == 1


def test_rollouts_come_back_as_written(tmp_path):
    run = RunDirectory(tmp_path)
    records = [
        {"id": "a/1", "completion": "tab\t, newline\n, ü, \U0001d54a", "reward": 0.5},
        {"id": "a/2", "completion": "lone \ud800 surrogate", "reward": -1.0},
        {"id": "a/3", "advantage": math.nan, "columns": {"x": [math.inf, 1.0]}},
    ]
    assert run.write_rollouts(123, records) == 3
    assert run.rollout_file(123).name == "step_000123.jsonl.zst"
    back = list(run.read_rollouts(123))
    assert back[:2] == records[:2]
    assert back[2] == {"id": "a/3", "advantage": None, "columns": {"x": [None, 1.0]}}


def test_rollouts_of_many_megabytes_stream_line_by_line(tmp_path):
    path = tmp_path / "r.zst"
    write_rollouts(path, ({"id": str(i), "completion": "x" * 100_000} for i in range(200)))
    stream = read_rollouts(path)
    assert next(stream)["id"] == "0"
    assert sum(1 for _ in stream) == 199


def test_a_failed_write_leaves_the_old_rollouts(tmp_path):
    path = tmp_path / "r.zst"
    write_rollouts(path, [{"id": "old"}])

    def broken():
        yield {"id": "new"}
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        write_rollouts(path, broken())
    assert list(read_rollouts(path)) == [{"id": "old"}]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", ["not zstd", "not json", "cut", "list"])
def test_damaged_rollouts_are_refused_by_name(tmp_path, damage):
    path = tmp_path / "r.zst"
    if damage == "not zstd":
        path.write_bytes(b"plain text, no frame")
    elif damage == "cut":
        write_rollouts(path, [{"id": str(i), "x": os.urandom(4000).hex()} for i in range(100)])
        path.write_bytes(path.read_bytes()[:150_000])
    else:
        line = b"{oops\n" if damage == "not json" else b"[1]\n"
        path.write_bytes(zstandard.compress(b'{"id": "ok"}\n' + line))
    with pytest.raises(DataError, match=r"r\.zst"):
        list(read_rollouts(path))


def test_the_default_name_has_a_stamp_and_a_commit(tmp_path):
    assert re.fullmatch(r"\d{8}T\d{6}Z_([0-9a-f]{10}|v[\d.]+)", default_run_path(tmp_path).name)
