import io
import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from rich.console import Console

from srl_data.command.config import dump_yaml
from srl_data.command.errors import InterruptedRunError
from srl_grpo.config.train import TrainConfig
from srl_grpo.data.prompts import TrainingPrompt
from srl_grpo.heldout.before_after import summary_table
from srl_grpo.heldout.chains import problems_of
from srl_grpo.heldout.evaluation import means, problem_of_instance
from srl_grpo.heldout.paired import paired_interval
from srl_grpo.rollout.algorithm import GroupRelative, NoBaseline, samples_of
from srl_grpo.rollout.groups import Selection
from srl_grpo.rollout.records import rollout_records
from srl_grpo.run.clock import Stopwatch
from srl_grpo.run.resume import changed_keys, interrupted, resume_command, without_flags


def naive_interval(before, after, clusters, seed, resamples=2000):
    """The bootstrap as told: draw clusters, lay their items side by side, take the mean."""
    names = sorted(set(clusters))
    items = {
        name: [a - b for b, a, c in zip(before, after, clusters, strict=True) if c == name]
        for name in names
    }
    generator = np.random.default_rng(seed)
    draws = generator.integers(len(names), size=(resamples, len(names)))
    found = []
    for draw in draws:
        chosen = [value for place in draw for value in items[names[place]]]
        found.append(sum(chosen) / len(chosen))
    found.sort()

    def quantile(share):
        place = share * (len(found) - 1)
        low = int(place)
        return found[low] + (place - low) * (found[min(low + 1, len(found) - 1)] - found[low])

    return quantile(0.025), quantile(0.975)


PAIRS = st.lists(
    st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.sampled_from("abcd")), min_size=1, max_size=15
)


@given(PAIRS, st.integers(0, 5))
def test_intervals_equal_a_brute_force_bootstrap(pairs, seed):
    before, after, clusters = zip(*pairs, strict=True)
    changes = {c: [a - b for b, a, d in pairs if d == c] for c in clusters}
    means_of = [sum(each) / len(each) for each in changes.values()]
    assume(max(means_of) - min(means_of) > 1e-6)
    found = paired_interval(before, after, clusters, seed, resamples=100)
    expected = naive_interval(before, after, clusters, seed, resamples=100)
    assert found == pytest.approx(expected, abs=1e-9)


def test_no_change_anywhere_has_the_exact_interval():
    # Of 12 problems none changed: a change in a share of under 26.5 % could have hidden so.
    clusters = [f"p{n}" for n in range(12) for _ in range(3)]
    for share in (0.0, 1.0):
        found = paired_interval([share] * 36, [share] * 36, clusters)
        assert found == pytest.approx((-0.2646, 0.2646), abs=1e-4)
    # Two steps of each problem: one better, one as before.
    half = paired_interval([0.0, 0.0] * 12, [1.0, 0.0] * 12, [f"p{n // 2}" for n in range(24)])
    assert half[0] < 0.3
    assert half[1] > 0.7
    assert paired_interval([0.0], [1.0], ["p"]) == pytest.approx((-0.95, 1.0))


def test_an_equal_change_of_a_reward_is_bounded_by_its_range():
    names = [f"p{n}" for n in range(12)]
    share = paired_interval([0.0] * 12, [0.0] * 12, names)
    step = paired_interval([-1.0] * 12, [-1.0] * 12, names)
    assert step == pytest.approx((2 * share[0], 2 * share[1]))
    shifted = paired_interval([-0.5] * 12, [0.0] * 12, names)
    assert shifted[0] < 0.5 < shifted[1] < 2


def test_an_equal_change_of_what_has_no_bounds_has_no_interval():
    names = list("abab")
    assert paired_interval([5.0] * 4, [5.0] * 4, names) is None
    assert paired_interval([0.5] * 4, [0.5] * 4, names, is_bounded=False) is None
    assert paired_interval([0.5] * 4, [0.5, 0.25] * 2, names, is_bounded=False) is not None


def test_items_of_one_problem_are_not_counted_as_independent():
    # Forty items of which each ten are one problem's: as wide as four items, not as forty.
    change = [0.0, 1.0, 0.0, 1.0]
    after = [value for value in change for _ in range(10)]
    clusters = [name for name in "abcd" for _ in range(10)]
    together = paired_interval([0.0] * 40, after, clusters)
    assert together == paired_interval([0.0] * 4, change, list("abcd"))
    apart = paired_interval([0.0] * 40, after, [str(i) for i in range(40)])
    assert together[1] - together[0] > 2 * (apart[1] - apart[0])


def test_intervals_cover_the_true_change_about_as_often_as_they_say():
    generator = np.random.default_rng(0)
    hits = 0
    for seed in range(200):
        after = generator.normal(0.3, 1.0, size=40)
        low, high = paired_interval([0.0] * 40, after, [str(i) for i in range(40)], seed, 400)
        hits += low <= 0.3 <= high
    assert 0.88 <= hits / 200 <= 0.98


def instance(name: str, index: int, count: int, target: str) -> TrainingPrompt:
    columns = {"problem": "1+1", "target_step": target, "step_index": index, "num_steps": count}
    return TrainingPrompt(0, name, "", (5,), False, columns)


def test_problems_are_those_whose_boxed_last_step_is_there():
    prompts = [
        instance("p/2", 2, 3, "2. **Tens** 1"),
        instance("p/3", 3, 3, r"3. **Answer** \boxed{12}"),
        instance("q/2", 2, 3, r"2. \boxed{5} comes too early"),
        instance("r/3", 3, 3, "3. without a box"),
        TrainingPrompt(0, "other", "", (5,), False, {"answer": "3"}),
    ]
    found = problems_of(prompts)
    assert [(p.id, p.answer) for p in found] == [("p/3", "12")]
    assert found[0].columns["problem"] == "1+1"


def test_the_problem_of_an_instance_is_its_id_up_to_the_step():
    assert problem_of_instance("s1k-00002/3") == "s1k-00002"
    assert problem_of_instance("a/b/3") == "a/b"
    assert problem_of_instance("plain") == "plain"


def test_means_of_each_metric():
    assert means({"reward": [0.0, 1.0, 0.5], "exact": [1.0]}) == {"reward": 0.5, "exact": 1.0}


def test_the_summary_names_values_changes_and_intervals():
    table = summary_table(
        {"loss": 2.5, "reward": 0.25, "greedy_exact": 0.5},
        {"loss": 2.5, "reward": 0.75, "greedy_exact": 0.25},
        {"loss": None, "reward": (0.125, 0.875), "greedy_exact": (-0.5, 0.0)},
    )
    shown = io.StringIO()
    Console(width=100, file=shown).print(table)
    lines = [" ".join(line.split()) for line in shown.getvalue().splitlines()]
    assert "loss 2.500 2.500 +0.000 –" in lines
    assert "reward 0.250 0.750 +0.500 +0.125 … +0.875" in lines
    assert "greedy exact 50.0% 25.0% -25.0% -50.0% … +0.0%" in lines


def test_the_resuming_command_repeats_the_arguments_but_for_the_folder():
    arguments = ["train", "--config", "my run.yaml", "--output-dir", "old", "--lr=1e-5"]
    arguments += ["--resume=x", "--num-steps", "9"]
    command = resume_command(Path("a folder"), arguments)
    assert shlex.split(command) == [
        *("srl-grpo", "train", "--config", "my run.yaml", "--lr=1e-5", "--num-steps", "9"),
        *("--output-dir", "a folder", "--resume", "auto"),
    ]


def test_only_named_flags_and_their_values_are_left_out():
    arguments = ["--a", "--resume", "--resume-not", "x", "--output-dir=y", "--output"]
    assert without_flags(arguments, ("--resume", "--output-dir")) == ["--a", "x", "--output"]


def test_an_interrupted_run_says_how_to_go_on(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["srl-grpo", "train", "--config", "quickstart"])
    error = interrupted(Path("runs/x"), 5)
    assert isinstance(error, InterruptedRunError)
    assert error.exit_code == 130
    command = "srl-grpo train --config quickstart --output-dir runs/x --resume auto"
    assert str(error).endswith(command)
    assert "step 5" in str(error)
    assert "\n" not in str(error)


def test_rollouts_are_told_as_the_model_saw_them(make_group):
    kept, dropped = make_group([1.0, 0.0], exact=True), make_group([0.5, 0.5], reason="empty")
    selection = Selection(wanted=2)
    selection.add([kept, dropped], [True, False])
    prompts = [instance("p/2", 2, 3, "2. **Tens** 1")]
    samples = samples_of(selection.kept, GroupRelative(advantage_eps=1e-9))
    records = list(rollout_records(4, selection, prompts, samples))
    assert [r["advantage"] for r in records[:2]] == pytest.approx([0.5**0.5, -(0.5**0.5)])
    assert [r["advantage"] for r in records[2:]] == [None, None]
    assert [(r["kept"], r["sample"], r["reason"]) for r in records] == [
        *((True, 0, None), (True, 1, None), (False, 0, "empty"), (False, 1, "empty")),
    ]
    first = records[0]
    assert (first["step"], first["id"], first["target"]) == (4, "p/2", "2. **Tens** 1")
    assert first["columns"] == {"problem": "1+1", "step_index": 2, "num_steps": 3}
    json.dumps(records)


def test_advantages_stay_with_their_groups_where_others_were_dropped_between(make_group):
    rewards = [[2.0, 0.0], [0.5, 0.5], [0.0, 4.0], [1.0, 0.0]]
    groups = [make_group(each) for each in rewards]
    selection = Selection(wanted=2)
    selection.add(groups, [True, False, True, True])  # the last one is more than was wanted
    samples = samples_of(selection.kept, NoBaseline(2))
    prompts = [instance("p/2", 2, 3, "2. **Tens** 1")]
    records = list(rollout_records(1, selection, prompts, samples))
    assert [r["advantage"] for r in records] == [2.0, 0.0, None, None, 0.0, 4.0, None, None]
    assert [r["reward"] for r in records] == [value for each in rewards for value in each]


def test_a_part_of_a_reward_never_takes_the_place_of_what_the_model_was_asked(make_group):
    group = make_group([1.0, 0.0], parts={"prompt": "mine", "id": "mine", "action": "kept"})
    selection = Selection(wanted=1)
    selection.add([group], [True])
    prompts = [instance("p/2", 2, 3, "2. **Tens** 1")]
    first = next(rollout_records(1, selection, prompts, samples_of([group], GroupRelative())))
    assert (first["id"], first["prompt"], first["action"]) == ("p/2", prompts[0].text, "kept")


def test_phases_add_up_to_the_step(monkeypatch):
    ticks = iter([0.0, 1.0, 4.0, 5.0, 6.0, 10.0, 20.0])
    monkeypatch.setattr("srl_grpo.run.clock.monotonic", lambda: next(ticks))
    entered: list[str] = []
    clock = Stopwatch(entered.append)
    for name in ("rollout", "rollout"):
        with clock(name):
            pass
    assert clock.metrics() == {"step_time": 10.0, "time/rollout": 4.0, "time/other": 6.0}
    assert clock.metrics() == {"step_time": 10.0, "time/other": 10.0}
    assert entered == ["rollout", "rollout"]


def test_what_a_resumed_run_trains_otherwise_is_named() -> None:
    config = TrainConfig.model_validate(
        {"model": {"path": "m"}, "data": {"path": "d.jsonl"}, "num_steps": 7}
    )
    before = yaml.safe_load(dump_yaml(config))
    assert changed_keys(before, config) == []
    before["optimizer"]["learning_rate"] = 0.5
    before["checkpoint"]["keep_last"] = 9
    assert changed_keys(before, config) == ["optimizer.learning_rate: 0.5 -> 1e-06"]
