"""Overlap with evaluation sets: values of n-grams, properties, the command, real benchmarks."""

import json
import os
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl_data.decontamination import named_source
from srl_data.manifest import read_manifest
from srl_data.overlap import OverlapIndex, ngrams, whole_text, words_of

REAL = Path(os.environ.get("SRL_TEST_DATA", "none"))
TWENTY = [f"w{n}" for n in range(20)]


def index_of(*texts, **options):
    index = OverlapIndex(**options)
    for number, text in enumerate(texts):
        index.add("b", str(number), text)
    return index


def test_thirteen_words_in_a_row_overlap_and_twelve_do_not():
    index = index_of(" ".join(TWENTY))
    (found,) = index.overlaps("x y " + " ".join(TWENTY[4:17]) + " z")
    assert (found.kind, found.shared, found.problem.size, found.share) == ("ngram", 1, 8, 1 / 8)
    assert index.overlaps("x y " + " ".join(TWENTY[4:16]) + " z") == []
    (found,) = index.overlaps(" ".join(TWENTY[2:]))
    assert (found.shared, found.share) == (6, 6 / 8)
    assert index_of(" ".join(TWENTY), size=8).overlaps("x " + " ".join(TWENTY[5:13]))[0].shared == 1


def test_case_marks_and_spacing_do_not_hide_a_copy():
    problem = "Let $ABC$ be a triangle with $AB = 13$, $BC=14$ and $CA = 15$. Find its area."
    (found,) = index_of(problem).overlaps(
        problem.upper().replace(" = ", "=").replace("$", "").replace(",", " ;")
    )
    assert (found.kind, found.share) == ("ngram", 1.0)
    (found,) = index_of(problem).overlaps("  " + problem.replace(" ", "\n").rstrip("."))
    assert found.kind == "exact"
    assert whole_text("$\\left( \\dfrac12 \\right)$.") == whole_text("$(\\frac 12)$")


@pytest.mark.parametrize(
    ("one", "other"),
    [("What is $1+2$?", "What is $1-2$?"), ("$2x$", "$2^x$"), ("Find 12", "Find 1 2 3")],
)
def test_short_problems_that_differ_in_a_mark_do_not_overlap(one, other):
    assert index_of(one).overlaps(other) == []
    assert index_of(one).overlaps(f" {one.upper()}")[0].kind == "exact"


def test_chinese_characters_are_words():
    text = "小明有十二个苹果,他给了小红三个,又买了五个,现在他有多少个苹果?"
    assert words_of("有x1个") == ["有", "x1", "个"]
    (found,) = index_of(text).overlaps("问题:" + text[:20] + "别的")
    assert found.kind == "ngram"


def test_the_closest_come_first_and_a_share_may_be_asked_for():
    index = index_of(" ".join(TWENTY[:13] + ["x"] * 20), " ".join(TWENTY), min_share=0.5)
    assert [each.problem.id for each in index.overlaps(" ".join(TWENTY))] == ["1"]
    index.min_share = 0.0
    assert [each.problem.id for each in index.overlaps(" ".join(TWENTY))] == ["1", "0"]


def test_turns_of_phrase_that_many_have_do_not_count_where_that_is_asked_for():
    phrase = " ".join(TWENTY[:13])
    training = [f"{phrase} {n}" for n in range(4)]
    for common, expected in ((None, 4), (4, 4), (3, 0)):
        index = index_of(f"{phrase} and so on", common=common)
        for text in training:
            index.count(text)
        assert sum(bool(index.overlaps(text)) for text in training) == expected


words = st.lists(st.sampled_from(["a", "b", "c"]), max_size=12)


@given(words, words, st.integers(2, 4))
def test_the_index_finds_what_a_comparison_of_all_n_grams_finds(benchmark, training, size):
    shared = set(ngrams(benchmark, size)) & set(ngrams(training, size))
    found = index_of(" ".join(benchmark), size=size).overlaps(" ".join(training))
    same = benchmark == training
    assert bool(found) == bool(shared or same)
    if found:
        assert found[0].shared == len(shared)
        assert (found[0].kind == "exact") == same


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("aime24=x/y.jsonl", "aime24"),
        ("x/aime24.jsonl.gz", "aime24"),
        ("x/aime24/test.jsonl", "aime24"),
        ("data/aime24", "aime24"),
        ("HuggingFaceH4/MATH-500", "MATH-500"),
        ("test.jsonl", "test"),
    ],
)
def test_an_evaluation_set_is_called_by_its_name_or_its_file(spec, name):
    assert named_source(spec)[0] == name


@pytest.fixture
def call(srl_data):
    return partial(srl_data, "decontaminate")


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.name


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


LONG = " ".join(TWENTY)


def test_records_of_any_form_are_left_out_counted_and_listed(call, tmp_path):
    chat = [{"role": "user", "content": f"Hello. {LONG}"}, {"role": "assistant", "content": "r"}]
    rows = [
        {"id": "p", "prompt": "Short?", "response": "r", "extra": [1]},
        {"id": "n", "prompt": "another question", "response": "r"},
        {"messages": chat},
        {"question": f"{LONG} x", "answer": "1"},
    ]
    write(tmp_path / "train.jsonl", *rows)
    write(tmp_path / "a.jsonl", {"problem": "short ?", "answer": "1"}, {"problem": LONG})
    write(tmp_path / "b.jsonl", {"question": LONG + " y"}, {"question": "none"})
    code, out, err = call(
        "train.jsonl", "--output", "o.jsonl", "--against", "aime=a.jsonl", "--against", "b.jsonl"
    )
    assert code == 0, err
    assert "o.jsonl: 1 of 4 records" in out
    assert lines(tmp_path / "o.jsonl") == [rows[1]]
    manifest = read_manifest(tmp_path / "o.jsonl")
    found = {name: each.model_dump() for name, each in manifest.decontamination.items()}
    assert found == {
        "aime": {
            "source": "a.jsonl", "problems": 2, "exact": 1, "ngram": 2, "problems_overlapped": 2,
        },
        "b": {
            "source": "b.jsonl", "problems": 2, "exact": 0, "ngram": 2, "problems_overlapped": 1,
        },
    }  # fmt: skip
    assert manifest.reasons == {"overlap": 3}
    pairs = lines(tmp_path / "o.overlaps.jsonl")
    assert [(each["id"], each["benchmark"], each["kind"]) for each in pairs] == [
        ("p", "aime", "exact"), ("row-00002", "aime", "ngram"), ("row-00002", "b", "ngram"),
        ("row-00003", "aime", "ngram"), ("row-00003", "b", "ngram"),
    ]  # fmt: skip
    assert pairs[1]["benchmark_problem"] == LONG
    assert (pairs[1]["share"], pairs[1]["shared_ngrams"]) == (1.0, 8)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "against"),
        (["--against", "none.jsonl"], 3, "no such data file: none.jsonl"),
        (["--against", "empty.jsonl"], 3, "benchmark 'empty' holds no problems"),
        (["--against", "a.jsonl", "--against", "a=b.jsonl"], 2, "two benchmarks are called 'a'"),
        (["--against", "bad.jsonl"], 3, "bad.jsonl:1: expected one of the fields problem,"),
        (["--against", "t.jsonl"], 3, "t.jsonl: all 1 records overlap; nothing is written"),
        (["--against", "a.jsonl", "--ngram", "1"], 2, "ngram = 1"),
        (["--against", "a.jsonl", "--problem-field", "x"], 3, "no column 'x' (--problem-field)"),
    ],
)
def test_what_cannot_be_is_one_clear_line(call, tmp_path, arguments, code, message):
    write(tmp_path / "t.jsonl", {"problem": "One?"})
    write(tmp_path / "a.jsonl", {"problem": "Two?"})
    write(tmp_path / "b.jsonl", {"problem": "Two?"})
    write(tmp_path / "bad.jsonl", {"text": "Two?"})
    write(tmp_path / "empty.jsonl")
    found, _, err = call("t.jsonl", "--output", "o.jsonl", *arguments)
    assert found == code, err
    assert message in err
    assert not (tmp_path / "o.jsonl").exists()


@pytest.mark.parametrize(
    ("file", "output", "against"),
    [
        ("t.jsonl", "t.jsonl", "a.jsonl"),
        ("t.jsonl", "a.jsonl", "a.jsonl"),
        ("t.jsonl", "a.jsonl", "aime=./a.jsonl"),
        ("t*.jsonl", "t2.jsonl", "a.jsonl"),
        ("set", "set/train.jsonl", "a.jsonl"),
        ("t.jsonl", "x.jsonl", "x.overlaps.jsonl"),
    ],
)
def test_what_is_read_is_not_written_over(call, tmp_path, file, output, against):
    (tmp_path / "set").mkdir()
    names = ("t.jsonl", "t2.jsonl", "a.jsonl", "set/train.jsonl", "x.overlaps.jsonl")
    for name in names:
        write(tmp_path / name, {"problem": name})
    before = {name: (tmp_path / name).read_bytes() for name in names}
    code, _, err = call(file, "--output", output, "--against", against)
    assert code == 2, err
    assert "would be written over" in err
    assert {name: (tmp_path / name).read_bytes() for name in names} == before


@pytest.mark.skipif(not REAL.is_dir(), reason="needs SRL_TEST_DATA")
def test_real_sets_overlap_as_counted(call, tmp_path):
    gsm8k = REAL / "gsm8k"
    code, _, err = call(
        gsm8k / "train.jsonl", "--output", "o.jsonl", "--against", gsm8k / "test.jsonl"
    )
    assert code == 0, err
    found = read_manifest(tmp_path / "o.jsonl").decontamination["gsm8k"]
    assert (found.problems, found.exact, found.ngram, found.problems_overlapped) == (1319, 0, 4, 3)
