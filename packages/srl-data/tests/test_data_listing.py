"""Rows that are bad or give nothing: all are counted, the first are named, however many."""

import json
from pathlib import Path

import pytest

from srl_data import listing
from srl_data.cli import cli
from srl_data.command.frame import execute
from srl_data.listing import MOST, Listed
from srl_data.passes import chunks
from srl_data.passes import draft as drafts

STEPS = "1. **One** first we say it.\n\n2. **Two** then we say more.\n\n3. **Three** \\boxed{2}."
FIELDS = ("--problem-field", "question", "--field", "solution")
COMMANDS = {
    "build": ("build", "s1k", *FIELDS, "--val-size", "0", "--source"),
    "stepify": ("stepify", *FIELDS, "--source"),
    "pairs": ("pairs", *FIELDS, "--source"),
}
REASONS = {"build": "no_headings", "stepify": "too_few_steps"}


def write_rows(path: Path, empty: int, bad: int = 0) -> Path:
    rows = [json.dumps({"question": "What is 1 + 1?", "solution": STEPS})]
    rows += [json.dumps({"question": f"Say {n}.", "solution": f"It is {n}"}) for n in range(empty)]
    path.write_text("\n".join([*rows, *["{"] * bad]) + "\n")
    return path


def test_a_list_counts_all_and_keeps_the_first():
    found, more = Listed(), Listed()
    for n in range(MOST - 1):
        found.add(str(n))
    for name in "abc":
        more.add(name)
    found.join(more)
    assert (found.count, len(found.first), found.first[-1]) == (MOST + 2, MOST, "a")
    assert [*found.shown(2)] == ["0", "1", "… and 1000 more"]
    assert [*more.shown()] == ["a", "b", "c"]


@pytest.mark.parametrize("name", REASONS)
def test_rows_that_give_nothing_are_counted_whole_and_named_in_part(name, tmp_path, capsys):
    source, output = write_rows(tmp_path / "in.jsonl", MOST + 7), tmp_path / "out.jsonl"
    assert execute(cli, "srl-data", [*COMMANDS[name], str(source), "--output", str(output)]) == 0
    found = json.loads((tmp_path / "out.manifest.json").read_text())
    reason = REASONS[name]
    assert found["reasons"] == {reason: MOST + 7}
    assert len(found["excluded"][reason]) == MOST
    assert str(MOST + 7) in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_the_journal_does_not_grow_with_them(name, tmp_path, monkeypatch):
    sizes = []

    def sized(path, content):
        sizes.append(len(json.dumps(content)))

    monkeypatch.setattr(listing, "MOST", 5)
    monkeypatch.setattr(drafts, "write_json", sized)
    monkeypatch.setattr(drafts, "COMMIT_SECONDS", 0)
    monkeypatch.setattr(chunks, "ROWS", 10)
    source, output = write_rows(tmp_path / "in.jsonl", 300, bad=300), tmp_path / "out.jsonl"
    words = [*COMMANDS[name], str(source), "--output", str(output), "--on-error", "skip"]
    assert execute(cli, "srl-data", words) == 0
    assert len(sizes) > 20
    assert max(sizes) - sizes[2] < 1000


def test_bad_rows_are_counted_whole_and_told_in_part(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(listing, "MOST", 5)
    source, output = write_rows(tmp_path / "in.jsonl", 1, bad=9), tmp_path / "out.jsonl"
    words = ["dedupe", "--source", str(source), "--output", str(output), "--on-error", "skip"]
    assert execute(cli, "srl-data", words) == 0
    assert json.loads((tmp_path / "out.manifest.json").read_text())["counts"]["rows_skipped"] == 9
    said = capsys.readouterr().err
    assert said.count("left out: ") == 6
    assert "… and 4 more" in said


def test_a_slow_disk_is_not_given_the_next_entry_at_once(tmp_path, monkeypatch):
    clock = iter([0.0, 2.0, 9.0, 9.5])  # begun, due, written seven seconds later, not due
    written = []
    monkeypatch.setattr(drafts.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(drafts, "write_json", lambda *_: written.append(1))
    with drafts.draft({"out": tmp_path / "out"}, "key") as outputs:
        outputs.commit()
        outputs.commit()
    assert written == [1]
