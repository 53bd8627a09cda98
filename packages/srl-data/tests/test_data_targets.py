"""Instances whose target can never be rewarded: refused by the record, so by every reader."""

import json

import pytest

from srl_data.cli import cli
from srl_data.command.errors import DataError
from srl_data.command.frame import execute
from srl_data.records import SrlInstance, read_records
from srl_reward import StepReward, render_step_output, target_fault

INSTANCE = {
    "id": "a/2",
    "problem": "Is n(n+1) even?",
    "previous_steps": ["1. Look at n."],
    "target_step": "2. It is.",
    "step_index": 2,
    "num_steps": 2,
}
FAULTS = {
    "We look at the cases:\n1. n is even\n2. n is odd": "several_steps",
    "1. n is even\n2. n is odd": "several_steps",
    "2. **Cases** so\n\n3. **End** it": "several_steps",
    "Step 2: a\n\nStep 3: b": "several_steps",
    "2. use <think>": "repeated_think",
    "2. so </think> it is": "misplaced_think",
    "<think>Hm.</think>2. It is.": "repeated_think",
    "2.": "empty_action",
    "**Step 2:**": "empty_action",
}
SOUND = ["2. It is.", "It is.", "2. Cases:\n   1. even\n   2. odd", "\\boxed{5}", "é😀"]


def write(path, *targets):
    rows = [{**INSTANCE, "id": f"a/{n}", "target_step": text} for n, text in enumerate(targets)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("target", FAULTS)
def test_an_exact_copy_of_a_refused_target_earns_less_than_everything(target):
    assert StepReward()([render_step_output("x", target)], target_step=[target]) != [1.0]
    assert target_fault(target) == FAULTS[target]


@pytest.mark.parametrize("target", FAULTS)
def test_the_record_names_file_line_and_reason(tmp_path, target):
    path = write(tmp_path / "f.jsonl", SOUND[0], target)
    with pytest.raises(DataError) as caught:
        list(read_records(path, SrlInstance))
    assert str(caught.value).startswith(f"{path}:2: target_step: can never be rewarded")
    assert f"({FAULTS[target]})" in str(caught.value)


@pytest.mark.parametrize("target", SOUND)
def test_a_sound_target_is_kept_as_it_is(tmp_path, target):
    (record,) = read_records(write(tmp_path / "f.jsonl", target), SrlInstance)
    assert record.target_step == target


def test_inspect_refuses_or_skips_and_lists_them(tmp_path, capsys):
    path = write(tmp_path / "f.jsonl", *FAULTS, SOUND[0])
    assert execute(cli, "srl-data", ["inspect", str(path)]) == 3
    assert "f.jsonl:1: target_step: can never be rewarded" in capsys.readouterr().err
    assert execute(cli, "srl-data", ["inspect", str(path), "--on-error", "skip"]) == 0
    shown = capsys.readouterr().out
    assert "1 SrlInstance records" in shown
    assert shown.count("skipped: ") == len(FAULTS)


def test_grade_refuses_or_skips_and_lists_them(tmp_path, capsys):
    path = write(tmp_path / "f.jsonl", SOUND[0], *FAULTS)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [{**row, "completion": f"<think>x</think>{row['target_step']}"} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert execute(cli, "srl-data", ["grade", str(path)]) == 3
    assert "f.jsonl:2: target_step: can never be rewarded" in capsys.readouterr().err
    assert execute(cli, "srl-data", ["grade", str(path), "--on-error", "skip"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["reward"] == 1.0
    assert shown.err.count("can never be rewarded") == len(FAULTS)
