import html
import json
import math
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl_data.command.errors import DataError
from srl_grpo.report import write_report
from srl_grpo.report.charts import Chart, Line, draw
from srl_grpo.report.page import embed
from srl_grpo.report.rollouts import MAX_CHARS, compare, sample, spread, within
from srl_grpo.report.series import (
    Series,
    collect,
    ends,
    robust_range,
    say,
    smooth,
    thin,
    tick_text,
    ticks,
)
from srl_grpo.run.directory import RunDirectory
from srl_grpo.run.trackers import MetricsFile

HOSTILE = '</script><script>alert(1)</script><img src=x onerror=alert(2)>{{script}} & "q" \ud800'


def rollout(step, sample, **changes):
    record = {
        "step": step,
        "id": "s1k-1/2",
        "sample": sample,
        "prompt": "What is next?",
        "completion": "<think>t</think>2. ten",
        "thinking": "t",
        "action": "2. ten",
        "target": "2. tan",
        "reward": 0.5,
        "advantage": 0.1,
        "reason": None,
        "finish_reason": "stop",
        "kept": True,
        "columns": {},
    }
    return {**record, **changes}


@pytest.fixture
def run(tmp_path):
    """A run of 40 steps, exact share rising from 0.25 to 0.64."""
    run = RunDirectory(tmp_path / "my <run>")
    run.path.mkdir()
    run.config.write_text("num_steps: 50\nrollout:\n  group_size: 8\nnote: </pre><b>bold</b>\n")
    metrics = MetricsFile(run.metrics)
    for step in range(1, 41):
        row = {"reward": step / 40, "reward_std": 0.1, "reward/exact": 0.24 + step / 100}
        row |= {"reward/invalid": 0.125, "reward/invalid/no_think": 0.125, "kl": 0.0}
        row |= {"time/rollout": 3.0, "time/update": 1.0, "step_time": 4.0, "num_tokens": 100 * step}
        if step % 20 == 0:
            row["eval/exact"] = 0.5
        metrics.log(step, row)
    metrics.close()
    return run


def page_of(run):
    return write_report(run.path).read_text(encoding="utf-8")


def embedded(page, name):
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page)
    return json.loads(found[1])


def test_the_page_holds_the_numbers(run):
    page = page_of(run)
    assert "<h1>my &lt;run&gt;</h1>" in page
    assert "40 of 50 steps so far · 2:40 min · 4,000 tokens" in page
    assert "<dt>group</dt><dd>8</dd>" in page
    # First and last are means over 4 of the 40 steps: 0.265 and 0.625.
    assert re.search(r"Exact</th><td>26\.5 %</td><td class=\"strong\">62\.5 %</td>", page)
    assert "no think</th><td>12.5 %</td>" in page
    assert re.search(r"rollout</th><td class='strong'>75\.0 %</td><td>3 s</td><td>2:00 min", page)
    assert "Zero throughout: kl to the reference." in page


def test_the_page_needs_nothing_from_elsewhere(run):
    page = page_of(run)
    assert not re.search(r"""(src|href)\s*=|url\(|@import|https?://""", page)
    assert "default-src 'none'" in page


def test_the_script_is_allowed_by_its_hash(run):
    import base64
    import hashlib

    page = page_of(run)
    script = re.search(r"<script>(.*?)</script>\n</body>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


def test_what_a_model_writes_is_never_markup(run):
    fields = ["prompt", "completion", "thinking", "action", "target", "reason", "finish_reason"]
    run.write_rollouts(1, [rollout(1, 0, id=HOSTILE, **dict.fromkeys(fields, HOSTILE))])
    page = page_of(run)
    assert "alert(1)</script>" not in page
    assert "<img" not in page
    assert page.count("<script") == 3
    assert "</pre><b>bold" not in page
    [step] = embedded(page, "rollout-data")
    assert step["prompts"] == [{"id": HOSTILE, "text": HOSTILE}]
    assert step["rows"][0]["thinking"] == HOSTILE


@given(st.text())
def test_embedded_json_comes_back_and_closes_no_element(text):
    inside = embed({text: [text]})
    assert not set("<>&") & set(inside)
    assert json.loads(inside) == {text: [text]}


def test_differences_are_marked_by_character():
    ours, theirs = compare("6+0+1=07", "6+0+0=06")
    assert ours == [("6+0+", True), ("1", False), ("=0", True), ("7", False)]
    assert theirs == [("6+0+", True), ("0", False), ("=0", True), ("6", False)]


def test_long_texts_are_compared_by_word_and_then_inside_changes():
    same = "the quick brown fox jumps over it " * 10
    ours, theirs = compare(same + "colour", same + "color")
    assert ours == [(same + "colo", True), ("u", False), ("r", True)]
    assert theirs == [(same + "color", True)]


@given(st.text("ab 1\n", max_size=300), st.text("ab 1\n", max_size=300))
def test_a_comparison_loses_no_text(a, b):
    ours, theirs = compare(a, b)
    assert "".join(text for text, _ in ours) == a
    assert "".join(text for text, _ in theirs) == b
    common = "".join(text for text, same in ours if same)
    assert common == "".join(text for text, same in theirs if same)


def test_rollouts_are_sorted_and_share_their_prompt(run):
    rows = [rollout(3, i, reward=reward) for i, reward in enumerate([0.25, 1.0, -1.0])]
    run.write_rollouts(3, rows)
    [step] = embedded(page_of(run), "rollout-data")
    assert [row["reward"] for row in step["rows"]] == [1.0, 0.25, -1.0]
    assert [row["prompt"] for row in step["rows"]] == [0, 0, 0]
    assert step["prompts"] == [{"id": "s1k-1/2", "text": "What is next?"}]


def test_many_rollouts_are_sampled_and_the_page_says_so(run):
    for step in range(1, 41):
        extra = [rollout(step, i, reason="no_think", action=None) for i in range(9)]
        run.write_rollouts(step, [rollout(step, i) for i in range(30)] + extra)
    page = page_of(run)
    assert "480 of 936 rollouts, from 24 of 40 recorded steps." in page
    steps = [step["step"] for step in embedded(page, "rollout-data")]
    assert (steps[0], steps[-1], len(steps)) == (1, 40, 24)
    invalid = [row for row in embedded(page, "rollout-data")[0]["rows"] if row["reason"]]
    assert len(invalid) == 4


def test_long_texts_are_cut_with_a_note(run):
    run.write_rollouts(1, [rollout(1, 0, thinking="x" * (MAX_CHARS + 1500))])
    thinking = embedded(page_of(run), "rollout-data")[0]["rows"][0]["thinking"]
    assert thinking == "x" * MAX_CHARS + " … [1,500 more characters]"


def test_the_rollouts_stay_within_their_bound():
    steps = [{"step": i, "rows": ["x" * 1000]} for i in range(24)]
    kept = within(steps, 5000)
    assert len(json.dumps(kept)) <= 5000
    assert kept[0]["step"] == 0
    assert kept[-1]["step"] == 23


def test_steps_are_spread_with_both_ends():
    assert spread(list(range(1, 101)), 4) == [1, 34, 67, 100]
    assert spread([5, 6], 4) == [5, 6]


def test_before_and_after_stand_with_their_intervals(run):
    summary = {
        "before": {"reward": 0.9, "exact": 0.25},
        "after": {"reward": 0.95, "exact": 0.75},
        "intervals": {"exact": [0.4, 0.6]},
        "seconds": {"total": 9.0},
    }
    run.summary.write_text(json.dumps(summary))
    text = html.unescape(page_of(run))
    assert re.search(
        r"Exact</th><td>25\.0 %</td><td class=\"strong\">75\.0 %</td><td>\+50\.0", text
    )
    assert "+40.0 … +60.0" in text
    assert re.search(
        r"Reward</th><td>0\.900</td><td class=\"strong\">0\.950</td><td>\+0\.050", text
    )


@pytest.mark.parametrize(
    "row", [{"loss": 2.0}, {"loss": math.nan}, {"reward": 1.0}, {"odd metric <b>": 3.0}]
)
def test_runs_of_one_step_with_few_metrics(tmp_path, row):
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.log(1, row)
    metrics.close()
    page = page_of(RunDirectory(tmp_path))
    assert "1 step" in page
    assert "odd metric <b>" not in page


def test_supervised_runs_show_their_loss_large(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    for step in range(1, 30):
        metrics.log(step, {"loss": 3.0 / step, "learning_rate": 1e-4})
    metrics.close()
    page = page_of(RunDirectory(tmp_path))
    assert 'class="chart hero"><figcaption><h3>Loss' in page
    assert "<h3>Reward" not in page


def test_a_run_that_has_logged_nothing_yet(tmp_path):
    (tmp_path / "config.yaml").write_text("num_steps: 5\n")
    assert "no steps recorded yet" in page_of(RunDirectory(tmp_path))


def test_no_run_no_report(tmp_path):
    with pytest.raises(DataError, match="no such run directory"):
        write_report(tmp_path / "none")
    with pytest.raises(DataError, match="is not a run directory"):
        write_report(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("{}\nrubbish\n")
    with pytest.raises(DataError, match=r"metrics\.jsonl:1: no step"):
        write_report(tmp_path)


def test_later_values_of_a_step_count_and_nan_does_not():
    rows = [{"step": 2.0, "x": 1.0}, {"step": 1.0, "x": 5.0}, {"step": 2.0, "x": 3.0}]
    assert collect([*rows, {"step": 3.0, "x": math.nan}])["x"] == Series([1.0, 2.0], [5.0, 3.0])


def test_thinning_keeps_means_and_smoothing_keeps_constants():
    series = Series([float(i) for i in range(8)], [1.0, 3.0] * 4)
    assert thin(series, 4) == Series([0.5, 2.5, 4.5, 6.5], [2.0] * 4)
    assert smooth(Series(list(range(20)), [0.5] * 20)).values == [0.5] * 20
    line = [float(i) for i in range(40)]
    assert smooth(Series(line, line)).values[2:-2] == line[2:-2]


def test_ends_and_best():
    short = ends(Series([1, 2, 3], [4.0, 1.0, 2.0]), lower_is_better=True)
    assert (short.first, short.last, short.best, short.best_step) == (4.0, 2.0, 1.0, 2)


def test_a_spike_does_not_flatten_a_curve_and_is_named():
    values = [0.5, 0.6] * 20
    values[10] = 900.0
    assert robust_range(values) == pytest.approx((0.5, 0.7))
    data = {"g": Series(list(range(40)), values)}
    picture = draw(Chart("G", (Line("g", ""),)), data, (0, 39))
    assert "peak 900 at step 10" in picture.html


def test_numbers_as_text():
    assert [say(v) for v in (0.98765, 12.34, 12345.6, -0.5, 0.0)] == [
        "0.988",
        "12.3",
        "12,346",
        "−0.500",
        "0",
    ]
    assert say(0.1234, "share") == "12.3 %"
    assert say(7387, "seconds") == "2:03:07 h"
    assert say(math.nan) == "–"
    assert ticks(0.0, 1.0) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert tick_text(0.25, "share") == "25 %"


def test_an_empty_run_has_no_sample(tmp_path):
    assert sample(RunDirectory(tmp_path)).steps == []


def test_importing_the_report_loads_no_torch():
    code = "import sys, srl_grpo.report; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
