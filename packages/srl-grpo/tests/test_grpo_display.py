import io
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from srl_grpo.run.display import (
    Display,
    Panel,
    Progress,
    braille_curve,
    resample,
    sparkline,
)

METRICS = {
    "reward": 0.875,
    "reward_std": 0.125,
    "reward/exact": 0.5,
    "reward/invalid": 0.25,
    "loss": 0.0123,
    "completions/mean_length": 88.4,
    "tokens_per_second": 1234.5,
    "step_time": 2.0,
    "time/rollout": 3.0,
    "time/update": 1.0,
}


def shown(display):
    return display.console.file.getvalue()


def plain(**options):
    return Display(10, console=Console(file=io.StringIO(), width=60), **options)


def terminal(width=80, **options):
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=30)
    return Display(10, console=console, **options)


def test_a_sparkline_spans_the_range():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([1, 1, 3, 3], 2) == "▁█"
    assert sparkline([0.0, 0.5, 1.0], 9, low=0.0, high=1.0) == "▁▅█"


def test_a_sparkline_of_nothing_and_of_one_value():
    assert sparkline([], 8) == ""
    assert sparkline([math.nan], 8) == ""
    assert sparkline([3.0], 8) == "▅"


def test_resampling_takes_means_and_leaves_out_nan():
    assert resample([1, 3, math.nan, 5, 7], 2) == [2, 6]


def test_a_braille_curve_fills_from_the_bottom():
    assert braille_curve([0, 7], 1, 2) == ["⢸", "⣸"]
    assert braille_curve([], 3, 1) == ["⠀⠀⠀"]


NUMBER = st.floats(-1e99, 1e99) | st.sampled_from([math.nan, math.inf, -math.inf])


@given(st.lists(NUMBER, max_size=60), st.integers(1, 20))
def test_pictures_have_their_size_whatever_the_values(values, width):
    assert len(sparkline(values, width)) <= width
    lines = braille_curve(values, width, 3)
    assert [len(line) for line in lines] == [width] * 3


def test_plain_lines_off_a_terminal():
    display = plain()
    with display:
        display.phase("rollout")
        display.step(1, METRICS)
        display.evaluated(1, {"eval/reward": 0.5, "eval/exact": 0.25})
        display.note("saved [bold]x[/bold]")
    lines = shown(display).splitlines()
    assert lines[0].startswith(
        "step  1/10  reward 0.875 ±0.125  exact 50.0 %  invalid 25.0 %  tok/s 1,234  loss 0.0123"
    )
    assert "2.0 s  eta " in lines[0]
    assert lines[1] == "held out  step 1  reward 0.500  exact 25.0 %"
    assert lines[2] == "saved [bold]x[/bold]"
    assert "\x1b" not in shown(display)


def steps_written(display):
    return [line.split()[1] for line in shown(display).splitlines() if line.startswith("step")]


def test_every_nth_step_the_first_the_last_and_evaluated_ones_are_written():
    with plain(every=4) as display:
        for step in range(1, 11):
            display.step(step, {"loss": 1.0, **({"eval/reward": 1.0} if step == 6 else {})})
    assert steps_written(display) == ["1/10", "4/10", "6/10", "8/10", "10/10"]


def test_a_run_that_ends_early_writes_its_last_step():
    with plain(every=4) as display:
        for step in range(1, 8):
            display.step(step, {"loss": 1.0})
    assert steps_written(display) == ["1/10", "4/10", "7/10"]


def test_quiet_shows_nothing(capsys):
    with Display(10, quiet=True) as display:
        display.step(1, METRICS)
        display.note("x")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("width", [80, 120])
def test_the_panel_holds_the_numbers_within_its_width(width):
    display = terminal(width, title="quickstart")
    display.step(4, METRICS)
    display.step(5, {**METRICS, "reward": 0.9})
    display.evaluated(5, {"eval/exact": 0.625})
    display.phase("rollout")
    lines = [line.plain for line in Panel(display.progress, "quickstart").lines(min(width, 110))]
    text = "\n".join(lines)
    assert max(cell_len(line) for line in lines) <= width
    assert lines[0].startswith("quickstart")
    assert lines[0].endswith("step 5 of 10")
    for part in (
        "0.900",
        "±0.125",
        "50.0 %",
        "rollout 75 %",
        "update 25 %",
        "exact 62.5 %",
        "50 %",
    ):
        assert part in text


def test_supervised_runs_show_their_loss():
    progress = Progress(10, 0)
    progress.step(1, {"loss": 2.5})
    lines = [line.plain for line in Panel(progress, "sft").lines(80)]
    assert any(line.startswith("loss") and "2.500" in line for line in lines)
    assert not any("exact" in line for line in lines)


def test_the_panel_is_drawn_before_the_first_step():
    lines = [line.plain for line in Panel(Progress(10, 0), "run").lines(80)]
    assert "–" in lines[1]
    assert "starting" in "".join(lines)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_terminal_is_restored_after_an_exception(error):
    display = terminal()

    def train():
        with display:
            display.step(1, METRICS)
            raise error

    with pytest.raises(error):
        train()
    text = shown(display)
    assert text.count("\x1b[?25l") == 1
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "stopped" in text


def test_time_left_follows_the_pace(monkeypatch):
    clock = iter([100.0, 102.0, 104.0, 104.5])
    monkeypatch.setattr("srl_grpo.run.display.monotonic", lambda: next(clock))
    progress = Progress(10, 4)
    progress.step(5, {})
    progress.step(6, {})
    assert progress.pace() == 2.0
    assert progress.remaining() == 7.5


def test_importing_display_loads_no_torch():
    code = "import sys, srl_grpo.run.display; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
