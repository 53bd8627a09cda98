"""`--on-error skip`: what is bad is skipped wherever it stands, and no advice leads in a circle."""

import json

import pytest

from srl_data import records
from srl_data.build import BuildConfig, build
from srl_data.cli import cli
from srl_data.command.errors import DataError
from srl_data.command.frame import execute
from srl_data.inspection import InspectConfig, inspect
from srl_data.records import SrlInstance, read_objects, read_records

STEPS = "1. Read.\n\n2. Solve."
GOOD = json.dumps(
    {
        "id": "a/1",
        "problem": "p",
        "previous_steps": [],
        "target_step": "1. a",
        "step_index": 1,
        "num_steps": 1,
    }
)
BAD_LINES = {
    "not JSON": "{oops",
    "no object": "[1]",
    "no known kind": '{"x": 1}',
    "blank problem": GOOD.replace('"p"', '" "'),
    "blank target": GOOD.replace('"1. a"', '""'),
    "too long": '"' + "x" * 2000 + '"',
}


def command(capsys, *argv):
    code = execute(cli, "srl-data", [str(arg) for arg in argv])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(autouse=True)
def _short_lines(monkeypatch):
    monkeypatch.setattr(records, "MAX_LINE_BYTES", 1000)


@pytest.mark.parametrize("bad", BAD_LINES.values(), ids=BAD_LINES)
@pytest.mark.parametrize("place", [1, 2, 3])
def test_inspect_skips_a_bad_line_wherever_it_stands(tmp_path, capsys, bad, place):
    path = tmp_path / "f.jsonl"
    lines = [GOOD, GOOD]
    lines.insert(place - 1, bad)
    path.write_text("\n".join(lines) + "\n")
    code, _, err = command(capsys, "inspect", path)
    assert code == 3
    assert f"{path}:{place}: " in err
    assert "--on-error skip" in err
    code, out, err = command(capsys, "inspect", path, "--on-error", "skip", "--show", 2)
    assert (code, f"skipped: {path}:{place}: " in out) == (0, True), err
    assert "2 SrlInstance records" in out
    assert out.count("a/1 as seen") == 2


def test_a_file_without_a_good_line_is_refused_without_advice_to_skip(tmp_path, capsys):
    path = tmp_path / "f.jsonl"
    for line in BAD_LINES.values():
        path.write_text(line + "\n")
        code, _, err = command(capsys, "inspect", path, "--on-error", "skip")
        assert code == 3
        assert "pass --on-error skip" not in err


def test_a_blank_problem_has_file_and_line_in_a_file_of_instances(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_text(f"{GOOD}\n{BAD_LINES['blank problem']}\n")
    with pytest.raises(DataError, match=r"f\.jsonl:2: problem: is blank"):
        inspect(InspectConfig(file=path))
    skipped = []
    assert len(list(read_records(path, SrlInstance, "skip", skipped.append))) == 1
    assert skipped == [f"{path}:2: problem: is blank (' '), expected a text"]


def test_a_reader_without_the_flag_does_not_advise_it(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_text("{oops\n")
    with pytest.raises(DataError) as caught:
        list(read_objects(path, skippable=False))
    assert str(caught.value).endswith("; mend the line")


def write_source(path, rows):
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        import datasets

        datasets.Dataset.from_list(rows).save_to_disk(str(path))
    return path


def config(source, tmp_path, **options):
    return BuildConfig(
        source=str(source),
        output=tmp_path / "o.jsonl",
        **{"field": "solution", "val_size": 0, **options},
    )


def rows_in(tmp_path):
    """The rows that the instances are of."""
    return {each.meta["row"] for each in read_records(tmp_path / "o.jsonl", SrlInstance)}


ROWS = [
    {"problem": None, "solution": STEPS},
    {"problem": "P", "solution": None},
    {"problem": "P", "solution": STEPS},
    {"problem": "\t", "solution": STEPS},
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["s.json", "s.jsonl", "s.parquet", "s"])
def test_an_empty_column_is_an_exclusion_in_every_format(tmp_path, name):
    survey = build(config(write_source(tmp_path / name, ROWS), tmp_path)).survey
    assert survey.excluded == {
        "missing_problem": ["s1k-00000", "s1k-00003"],
        "missing_solution": ["s1k-00001"],
    }
    assert rows_in(tmp_path) == {2}


@pytest.mark.parametrize("name", ["s.json", "s.jsonl"])
@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_a_first_row_without_a_column_is_an_exclusion_like_any_other(tmp_path, name, on_error):
    rows = [{"id": 1}, {"solution": STEPS}, {"problem": "P"}, {"problem": "P", "solution": STEPS}]
    source = write_source(tmp_path / name, rows)
    survey = build(config(source, tmp_path, on_error=on_error)).survey
    assert survey.excluded == {
        "missing_problem": ["s1k-00000", "s1k-00001"],
        "missing_solution": ["s1k-00002"],
    }
    assert rows_in(tmp_path) == {3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"field": "nope"}, r"no column 'nope' \(--field\); its columns: id, problem, solution"),
        ({"problem_field": "nope"}, r"no column 'nope' \(--problem-field\); its columns: id, prob"),
    ],
)
def test_a_column_that_no_row_has_is_named_with_all_that_there_are(tmp_path, options, message):
    rows = [{"id": 1}, {"problem": "P", "solution": STEPS}]
    with pytest.raises(DataError, match=message):
        build(config(write_source(tmp_path / "s.jsonl", rows), tmp_path, **options))


@pytest.mark.parametrize(("content", "name"), [("{oops\n[1]\n", "s.jsonl"), ('[1, "x"]', "s.json")])
def test_bad_first_rows_are_skipped_counted_and_listed(tmp_path, content, name):
    good = json.dumps({"problem": "P", "solution": STEPS})
    path = tmp_path / name
    path.write_text(content + good if name == "s.jsonl" else content.replace("]", f", {good}]"))
    with pytest.raises(DataError, match="--on-error skip"):
        build(config(path, tmp_path))
    survey = build(config(path, tmp_path, on_error="skip")).survey
    assert len(survey.excluded["malformed_row"]) == 2
    assert rows_in(tmp_path) == {2}


@pytest.mark.parametrize(
    ("row", "options", "advice"),
    [
        ({"problem": " ", "solution": STEPS}, {}, "another --problem-field than 'problem'"),
        ({"problem": 5, "solution": STEPS}, {}, "another --problem-field than 'problem'"),
        ({"question": "", "solution": STEPS}, {}, "another --problem-field than 'question'"),
        ({"problem": "P", "solution": ""}, {}, "choose another --field"),
        ({"problem": "P", "solution": "42"}, {}, "choose another --field"),
        (
            {"problem": "P", "deepseek_attempt": STEPS, "deepseek_grade": "No"},
            {"field": "deepseek_attempt", "only_correct": True},
            "leave --only-correct out",
        ),
    ],
)
def test_the_advice_is_about_the_commonest_reason(tmp_path, row, options, advice):
    source = write_source(tmp_path / "s.jsonl", [row] * 3)
    with pytest.raises(DataError) as caught:
        build(config(source, tmp_path, **options))
    assert str(caught.value).endswith(advice)
