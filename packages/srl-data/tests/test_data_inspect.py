"""`srl-data inspect`, manifests and progress."""

import io
import json
import math
import sys
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from srl_data.cli import cli
from srl_data.command import progress
from srl_data.command.errors import DataError
from srl_data.command.frame import execute
from srl_data.command.progress import duration
from srl_data.inspection import InspectConfig, histogram, inspect, quantiles, spread
from srl_data.manifest import Source, beside, manifest_path, read_manifest, write_manifest
from srl_data.prompt_record import record_of, write_record
from srl_data.prompts import get_template
from srl_data.records import PromptAnswer, SftPair, SrlInstance, write_records


def instances(count):
    return [
        SrlInstance(
            id=f"q/{k}",
            problem="p" * 10,
            previous_steps=["1. a"] * (k - 1),
            target_step="s" * k,
            step_index=k,
            num_steps=count,
        )
        for k in range(1, count + 1)
    ]


def command(capsys, *argv):
    code = execute(cli, "srl-data", [str(arg) for arg in argv])
    out, err = capsys.readouterr()
    return code, out, err


def test_counts_lengths_and_rendered_records(tmp_path):
    file = tmp_path / "f.jsonl"
    write_records(file, instances(5))
    findings = inspect(InspectConfig(file=file, show=2, template="bare"))
    assert (findings.kind, findings.records, len(findings.problems)) == ("SrlInstance", 5, 1)
    assert findings.lengths["answer, characters"] == [1, 2, 3, 4, 5]
    assert findings.lengths["prompt, characters"] == [11, 16, 21, 26, 31]
    assert findings.shown == [
        ("q/1", "pppppppppp\n", "s"),
        ("q/5", "pppppppppp\n" + "1. a\n" * 4, "sssss"),
    ]
    assert findings.manifest == "none (f.manifest.json is missing)"


def test_every_kind_of_record_is_told_by_its_fields(tmp_path, capsys):
    file = tmp_path / "f.jsonl"
    write_records(file, [PromptAnswer(id="1", problem="P?", answer="7", grader="aime")])
    code, out, _ = command(capsys, "inspect", file)
    assert code == 0
    assert "1 PromptAnswer records, 1 problems" in out
    assert "P?" in out
    write_records(file, [SftPair(id="1", prompt="raw [bold]x", response="r")])
    code, out, _ = command(capsys, "inspect", file)
    assert "raw [bold]x" in out
    assert "1 SftPair records" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no records"),
        ('{"a": 1}\n', ":1: no record of a known kind: none of the fields target_step"),
        ('{"id": "1", "target_step": "x"}\n', ":1: problem: Field required"),
    ],
)
def test_a_file_without_good_records_is_refused(tmp_path, capsys, text, message):
    file = tmp_path / "f.jsonl"
    file.write_text(text)
    code, _, err = command(capsys, "inspect", file)
    assert code == 3
    assert message in err


class AutoTokenizer:
    """Stands in for the library's: a word a token."""

    chat_template = None
    bos_token_id = None

    @classmethod
    def from_pretrained(cls, name):
        if name == "none":
            raise OSError("no such\nmodel")
        return cls()

    def encode(self, text, *, add_special_tokens):
        assert not add_special_tokens
        return list(range(len(text.split())))


def test_tokens_are_counted_with_a_tokenizer(tmp_path, monkeypatch, capsys):
    library = types.SimpleNamespace(AutoTokenizer=AutoTokenizer)
    monkeypatch.setitem(sys.modules, "transformers", library)
    file = tmp_path / "f.jsonl"
    write_records(file, instances(2))
    findings = inspect(InspectConfig(file=file, tokenizer="any", template="bare"))
    assert findings.lengths["prompt, tokens"] == [1, 3]
    code, _, err = command(capsys, "inspect", file, "--tokenizer", "none")
    assert code == 3
    assert "cannot load a tokenizer from 'none': no such model" in err
    monkeypatch.setitem(sys.modules, "transformers", None)
    code, _, err = command(capsys, "inspect", file, "--tokenizer", "any")
    assert code == 2
    assert "--tokenizer needs transformers" in err


def test_records_are_shown_in_the_words_that_are_named(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.txt").write_text("{problem} <{previous_steps}>")
    (tmp_path / "own.py").write_text("def ask(columns): return columns['problem'] + '!'")
    write_records(tmp_path / "srl.jsonl", instances(2))
    write_records(
        tmp_path / "a.jsonl", [PromptAnswer(id="1", problem="P?", answer="7", grader="math")]
    )
    for name, file, shown in [
        ("own.txt", "srl.jsonl", "p <1. a>"),
        ("own.py:ask", "a.jsonl", "P?!"),
        ("chat", "a.jsonl", "P?"),
    ]:
        code, out, err = command(capsys, "inspect", file, "--template", name)
        assert code == 0, err
        assert shown in out
    code, _, err = command(capsys, "inspect", "srl.jsonl", "--template", "chat")
    assert code == 3
    assert "record 'q/2': template 'chat' shows the problem alone, and the record has 1 " in err
    assert "use --template srl" in err


def test_records_are_shown_in_the_words_of_the_checkpoint(tmp_path, monkeypatch):
    library = types.SimpleNamespace(AutoTokenizer=AutoTokenizer)
    monkeypatch.setitem(sys.modules, "transformers", library)
    write_records(tmp_path / "srl.jsonl", instances(2))
    write_records(
        tmp_path / "a.jsonl", [PromptAnswer(id="1", problem="P?", answer="7", grader="math")]
    )
    write_record(tmp_path, record_of(get_template("chat")))
    options = {"tokenizer": str(tmp_path)}
    alone = inspect(InspectConfig(file=tmp_path / "a.jsonl", **options))
    assert alone.shown[0][1] == "User: P?\n\nAssistant:"
    assert alone.notes[0] == f"template 'chat', as {tmp_path} records it"
    steps = inspect(InspectConfig(file=tmp_path / "srl.jsonl", **options))
    assert (steps.template, steps.shown[1][1].count("1. a")) == ("srl", 1)
    assert steps.notes[0] == f"template 'srl': that of {tmp_path}, 'chat', shows no steps"


def test_a_changed_file_is_found_out(tmp_path):
    file = tmp_path / "f.jsonl"
    write_records(file, instances(2))
    written = write_manifest(
        file,
        command="c",
        source=Source(name="s"),
        options={},
        counts={},
        records=2,
        excluded={"why": ["a", "b"]},
    )
    assert read_manifest(file) == written
    assert written.reasons == {"why": 2}
    assert written.bytes == file.stat().st_size
    file.write_text(file.read_text() + "\n")
    with pytest.raises(DataError, match="was changed after it was built"):
        read_manifest(file)
    assert "was changed" in inspect(InspectConfig(file=file)).manifest
    manifest_path(file).write_text("{}")
    with pytest.raises(DataError, match="not a manifest"):
        read_manifest(file)


def test_names_beside_a_data_file(tmp_path):
    assert manifest_path(tmp_path / "a.b.jsonl") == tmp_path / "a.b.manifest.json"
    assert beside(tmp_path / "a.jsonl", "val") == tmp_path / "a.val.jsonl"


@given(st.lists(st.integers(0, 10**6), min_size=1))
def test_quantiles_are_in_order_and_of_the_data(lengths):
    values = quantiles(lengths)
    mean = values["mean"]
    ordered = [value for name, value in values.items() if name != "mean"]
    assert ordered == sorted(ordered)
    assert set(ordered) <= set(lengths)
    assert (ordered[0], ordered[-1]) == (min(lengths), max(lengths))
    assert ordered[0] <= mean <= ordered[-1]
    assert len(histogram(lengths)) == 12


def test_histogram_shows_where_the_lengths_are():
    assert histogram([0] * 8 + [11] * 4) == "█▁▁▁▁▁▁▁▁▁▁▅"


@given(st.integers(0, 1000), st.integers(0, 20))
def test_shown_records_are_spread_over_the_file(count, show):
    positions = spread(count, show)
    assert len(positions) == min(count, show)
    assert all(0 <= position < count for position in positions)
    if min(count, show) > 1:
        assert {0, count - 1} <= positions


def test_progress_is_plain_lines_off_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_EVERY_SECONDS", 0.0)
    assert list(progress.track("ab", "reading", total=2, unit="rows")) == ["a", "b"]
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "".join(f"reading: {n}/2 rows in 0 s\n" for n in (1, 2, 2))


def test_progress_is_finished_however_the_block_ends(capsys):
    def work():
        with progress.meter("work", 3) as meter:
            meter.advance(2, note="loss 1.5")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert capsys.readouterr().err == "work: 2/3 items in 0 s, loss 1.5\n"


def test_progress_is_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with progress.meter("work", 3) as meter:
        meter.advance(3, note="note")
    err = capsys.readouterr().err
    assert "3/3" in err
    assert "note" in err


def test_a_manifest_is_plain_utf8_json(tmp_path):
    file = tmp_path / "f.jsonl"
    write_records(file, [])
    write_manifest(
        file, command="c", source=Source(name="é"), options={"b": 1}, counts={}, records=0
    )
    data = json.loads(manifest_path(file).read_text(encoding="utf-8"))
    assert data["source"]["name"] == "é"
    assert data["file"] == "f.jsonl"


def test_a_plain_line_says_how_long_it_will_take(capsys):
    meter = progress.PlainMeter("aime24", 8, "samples")
    meter.done, meter.note, meter.started = 2, "accuracy 0.500", meter.started - 30
    meter.line()
    line = "aime24: 2/8 samples in 30 s, 0.1 samples/s, 1:30 left, accuracy 0.500\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(("width", "lines"), [(80, 2), (140, 1)])
def test_a_note_stands_under_the_bar_where_there_is_no_room(width, lines):
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True)
    meter = progress.BarMeter("aime24", 960, "samples", console)
    meter.advance(640, "accuracy 0.271, 4351 tokens/s, 68% cut off")
    meter.finish()
    last = [line for line in Text.from_ansi(file.getvalue()).plain.splitlines() if line.strip()]
    shown = last[-lines:]
    assert "640/960 samples" in shown[0]
    assert shown[0].rstrip().endswith("left") == (lines == 2)
    assert shown[-1].rstrip().endswith("68% cut off")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(9.4, "9 s"), (187, "3:07"), (43387, "12:03:07"), (math.nan, "–"), (math.inf, "–")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
