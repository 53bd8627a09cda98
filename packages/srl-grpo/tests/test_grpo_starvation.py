"""Runs in which nothing can be learned, and what is said of them."""

import json

import pytest
import yaml

from srl_grpo.config.train import TrainConfig
from srl_grpo.run.checkpoint import read_state, steps_of
from srl_grpo.stages.starvation import Findings, remedies, shortened

NO_SIGNAL = {"max_rounds": 1, "eps_std": 5.0}


def metrics_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_after_so_many_steps_without_an_update_a_run_stops_with_a_diagnosis(call, tiny, tmp_path):
    config = tiny(rollout={**NO_SIGNAL, "max_starved_steps": 3}, num_steps=9)
    code, _, errors = call("train", "--config", config, "--output-dir", "out")
    out = tmp_path / "out"
    assert code == 1
    assert errors.startswith("srl-grpo: error: no update in 3 steps in a row, up to step 3")
    assert "Traceback" not in errors
    assert [line["sampling/starved_steps"] for line in metrics_of(out)] == [1, 2, 3]
    assert steps_of(out) == [3]
    assert read_state(out / "step_3").stage_state["starved_steps"] == 3
    assert (out / "report.html").is_file()
    # Three steps of two groups of two; a random model writes no valid step.
    assert "12 completions, 100.0 % invalid: " in errors
    assert "6 groups, 100.0 % with one reward throughout: all -1 100.0 %" in errors
    assert errors.count("\n  reward -1, ") == 3
    for way in ("teach the format", "--max-new-tokens above 8", "--template (now bare)", "easier"):
        assert way in errors
    assert errors.rstrip().endswith(f"--config {config} --output-dir out --resume auto")


def test_resumed_after_the_stop_it_has_as_many_steps_again(call, tiny, tmp_path):
    config = tiny(rollout={**NO_SIGNAL, "max_starved_steps": 2}, num_steps=9)
    arguments = ("train", "--config", config, "--output-dir", "out", "--resume", "auto")
    for last in (2, 4):
        code, _, errors = call(*arguments)
        assert (code, steps_of(tmp_path / "out")[-1]) == (1, last)
        assert "no update in 2 steps in a row" in errors


def test_the_count_goes_on_from_a_checkpoint_in_the_middle(call, tiny, tmp_path):
    rollout = {**NO_SIGNAL, "max_starved_steps": 4}
    call("train", "--config", tiny(rollout=rollout, num_steps=3), "--output-dir", "out")
    assert read_state(tmp_path / "out/step_3").stage_state["starved_steps"] == 3
    code, _, errors = call(
        "train", "--config", tiny(rollout=rollout, num_steps=9), "--output-dir", "out",
        "--resume", "auto",
    )  # fmt: skip
    assert (code, steps_of(tmp_path / "out")) == (1, [3, 4])
    assert "no update in 4 steps in a row, up to step 4" in errors


def test_a_whole_run_without_an_update_is_no_success_however_short(call, tiny, tmp_path):
    config = tiny(rollout={**NO_SIGNAL, "max_starved_steps": 10}, num_steps=2)
    code, _, errors = call("train", "--config", config, "--output-dir", "out")
    assert (code, steps_of(tmp_path / "out")) == (1, [2])
    assert "no update in 2 steps in a row, up to step 2" in errors
    # The command it names goes on; the same one again is no success either.
    command = errors.rstrip().rpartition("continue with: srl-grpo ")[2].split()
    assert command[-6:] == ["--num-steps", "4", "--output-dir", "out", "--resume", "auto"]
    code, shown, errors = call("train", "--output-dir", "out", "--resume", "auto")
    assert (code, shown) == (1, "")
    assert errors.startswith("srl-grpo: error: none of its steps made an update; nothing to do: ")
    assert "--num-steps above 2" in errors
    code, _, errors = call(*command)
    assert (code, steps_of(tmp_path / "out")) == (1, [2, 4])
    assert "no update in 4 steps in a row, up to step 4" in errors


@pytest.mark.parametrize(
    ("counts", "first"),
    [
        ({"truncated": 62, "missing_think": 38}, "teach the format"),  # a small chat model
        ({"truncated": 62, None: 38}, "let completions be longer"),
        ({"truncated": 100}, "let completions be longer"),
        ({"truncated": 38, "missing_think": 62}, "teach the format"),
    ],
)
def test_what_helps_most_stands_first(counts, first):
    found = Findings()
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    found.take([{"reward": -1.0, "reason": kind, "sample": n} for n, kind in enumerate(kinds)])
    assert remedies(found, TrainConfig(model={"path": "m"}, data={"path": "d"}))[0].startswith(
        first
    )


def test_examples_are_of_each_kind_first_and_three_where_there_are_as_many():
    found = Findings()
    kinds = ["truncated", None, "truncated", "truncated"]
    found.take([{"reward": -1.0, "reason": kind, "sample": n} for n, kind in enumerate(kinds)])
    assert [record["sample"] for record in found.examples()] == [3, 1, 2]


def test_asked_for_it_a_run_goes_on_without_updates(call, tiny, tmp_path):
    config = tiny(rollout={**NO_SIGNAL, "max_starved_steps": 0})
    code, _, errors = call("train", "--config", config, "--output-dir", "out")
    assert (code, errors) == (0, "")
    found = metrics_of(tmp_path / "out")
    assert [line["sampling/starved"] for line in found] == [1.0, 1.0]
    assert "loss" not in found[0]


def test_the_former_key_is_refused_with_the_new_one(call, tiny, tmp_path):
    config = tiny(rollout={"when_starved": "fail"})
    code, _, errors = call("train", "--config", config, "--output-dir", "out")
    assert code == 2
    assert "tiny.yaml: rollout.when_starved is no longer a key" in errors
    assert "max_starved_steps (--max-starved-steps): 1 for the former fail" in errors


def test_outputs_are_shown_on_one_line_with_their_ends():
    assert shortened('a\n"b"') == r'"a\n\"b\""'
    long = shortened("x" * 500 + "end")
    assert len(long) < 200
    assert "[…]" in long
    assert long.endswith('end"')
    assert shortened("\ud800") == '"?"'


@pytest.mark.parametrize(("group", "chunk"), [(2, 64), (6, 60), (7, 63), (48, 48), (100, 100)])
def test_the_chunk_follows_the_group_size(call, tiny, group, chunk):
    from srl_grpo.config.train import RolloutSection

    assert RolloutSection(group_size=group).completions_per_chunk == chunk
    config = tiny(rollout={"chunk_size": None})
    code, shown, _ = call("train", "--config", config, "--group-size", group, "--dry-run")
    assert code == 0
    plan = yaml.safe_load(shown)
    assert plan["rollout"]["group_size"] == group
