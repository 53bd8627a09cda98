"""`srl-data build s1k` and `srl-data synth arithmetic`: exact files, and bad input."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl_data import sources, splits
from srl_data.build import BuildConfig, build
from srl_data.cli import cli
from srl_data.command.frame import execute
from srl_data.held_out import question_place
from srl_data.instances import target_indices
from srl_data.manifest import read_manifest
from srl_data.overlap import whole_text
from srl_data.records import PromptAnswer, SftPair, SrlInstance, read_records
from srl_data.solutions import ExpertSolution, Fields, read_solution
from srl_reward import StepReward, extract_boxed, target_fault

THREE = "Intro.\n\n1. **First** a\n   1. inner\n\n2. **Second:** b\n\n3. **Third** c\n\nDone."
ROWS = [
    {"question": "Q0", "deepseek_attempt": THREE, "deepseek_grade": "Yes"},
    {"question": "Q1", "deepseek_attempt": "42", "deepseek_grade": "Yes"},
    {"question": "Q2", "deepseek_attempt": "1. a\n2. b\n4. c", "deepseek_grade": "Yes"},
    {"question": " ", "deepseek_attempt": THREE, "deepseek_grade": "Yes"},
    {"question": "Q4", "deepseek_attempt": None, "deepseek_grade": "Yes"},
    {"question": "Q5", "deepseek_attempt": "1. x\n\n2. y", "deepseek_grade": "No"},
    {"question": "Q6", "deepseek_attempt": "1. x\n\n2. use <think>", "deepseek_grade": "Yes"},
    {"question": "Q7", "deepseek_attempt": "1. x\n\n2. y\n\n3. </think>", "deepseek_grade": "Yes"},
    {"question": "Q8 \ud800", "deepseek_attempt": THREE, "deepseek_grade": "Yes"},
    {"question": "Q9", "deepseek_attempt": "Step 1: p\n\nStep 2: q", "deepseek_grade": "Yes"},
]


WRITABLE = [row for row in ROWS if "\ud800" not in row["question"]]


def write_source(path, rows=ROWS):
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def run_build(tmp_path, rows=ROWS, **options):
    source = write_source(tmp_path / "source.jsonl", rows)
    options = {"val_size": 0, **options}
    config = BuildConfig(source=str(source), output=tmp_path / "out.jsonl", **options)
    return build(config), list(read_records(config.output, SrlInstance))


def command(capsys, *argv):
    code = execute(cli, "srl-data", [str(arg) for arg in argv])
    out, err = capsys.readouterr()
    return code, out, err


def test_kept_solutions_become_instances_with_the_expert_s_own_text(tmp_path):
    _, instances = run_build(tmp_path)
    assert [item.id for item in instances] == [
        "s1k-00000/2",
        "s1k-00000/3",
        "s1k-00005/2",
        "s1k-00009/2",
    ]
    assert instances[1] == SrlInstance(
        id="s1k-00000/3",
        problem="Q0",
        previous_steps=["Intro.\n\n1. **First** a\n   1. inner", "2. **Second:** b"],
        target_step="3. **Third** c\n\nDone.",
        step_index=3,
        num_steps=3,
        meta={"row": 0},
    )


def test_every_exclusion_has_its_reason_in_table_and_manifest(tmp_path):
    report, _ = run_build(tmp_path)
    expected = {
        "no_headings": ["s1k-00001"],
        "not_consecutive": ["s1k-00002"],
        "missing_problem": ["s1k-00003"],
        "missing_solution": ["s1k-00004"],
        "not_unicode": ["s1k-00008"],
        "unclosed_thinking": ["s1k-00006"],
        "only_thinking": ["s1k-00007"],
    }
    manifest = read_manifest(tmp_path / "out.jsonl")
    assert report.survey.excluded == manifest.excluded == expected
    assert manifest.reasons == {reason: len(ids) for reason, ids in expected.items()}
    assert manifest.counts == {
        "rows_read": 10,
        "solutions_conforming": 3,
        "steps": 7,
        "instances": 4,
        "solutions_with_thinking_removed": 0,
        "solutions_in_this_file": 3,
        "records_in_this_file": 4,
    }


def test_only_correct_keeps_what_the_grade_says(tmp_path):
    report, instances = run_build(tmp_path, only_correct=True)
    assert report.survey.excluded["graded_wrong"] == ["s1k-00005"]
    assert all(not item.id.startswith("s1k-00005") for item in instances)


@pytest.mark.parametrize(
    ("targets", "indices"), [("2..N", [2, 3]), ("1..N-1", [1, 2]), ("all", [1, 2, 3])]
)
def test_targets(tmp_path, targets, indices):
    _, instances = run_build(tmp_path, ROWS[:1], targets=targets)
    assert [item.step_index for item in instances] == indices
    assert [len(item.previous_steps) for item in instances] == [i - 1 for i in indices]


@given(st.integers(2, 50))
def test_the_default_targets_are_one_fewer_than_the_steps(steps):
    assert len(target_indices("2..N", steps)) == steps - 1
    assert len(target_indices("1..N-1", steps)) == steps - 1
    assert list(target_indices("all", steps)) == list(range(1, steps + 1))


def test_title_hint_and_preamble(tmp_path):
    _, hinted = run_build(tmp_path, ROWS[:1], title_hint=True, preamble="drop", targets="all")
    assert [item.title for item in hinted] == ["First", "Second", "Third"]
    assert hinted[0].target_step == "1. **First** a\n   1. inner"
    _, plain = run_build(tmp_path, ROWS[:1])
    assert {item.title for item in plain} == {None}


def many(count):
    return [
        {"question": f"Question {i % (count - 2)}", "deepseek_attempt": f"1. a{i}\n2. b{i}\n3. c"}
        for i in range(count)
    ]


def test_whole_questions_are_held_out(tmp_path):
    run_build(tmp_path, many(40), val_size=10)
    train = list(read_records(tmp_path / "out.jsonl", SrlInstance))
    val = list(read_records(tmp_path / "out.val.jsonl", SrlInstance))
    assert len(train) + len(val) == 80
    assert len({item.problem for item in val}) == 10
    assert {item.problem for item in val}.isdisjoint(item.problem for item in train)
    ranks = sorted(question_place(f"Question {i}", 42) for i in range(38))
    assert {question_place(item.problem, 42) for item in val} == set(ranks[:10])
    for name, records in (("out", train), ("out.val", val)):
        manifest = read_manifest(tmp_path / f"{name}.jsonl")
        assert manifest.records == len(records)


def test_the_same_build_gives_the_same_bytes_and_another_seed_another_split(tmp_path):
    def bytes_of(**options):
        run_build(tmp_path, many(40), val_size=10, **options)
        return [path.read_bytes() for path in sorted(tmp_path.glob("out*"))]

    first = bytes_of()
    assert len(first) == 4
    assert bytes_of() == first
    assert bytes_of(seed=1)[0] != first[0]


def test_whole_solutions_for_supervised_training(tmp_path):
    run_build(tmp_path, ROWS[:1], sft=True, preamble="drop")
    (pair,) = read_records(tmp_path / "out.sft.jsonl", SftPair)
    assert (pair.id, pair.prompt) == ("s1k-00000", "Q0")
    assert pair.response == THREE.removeprefix("Intro.\n\n")


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_local_formats_give_the_same_rows(tmp_path, suffix):
    source = splits.open_source(str(write_source(tmp_path / f"s{suffix}", WRITABLE)))
    for _ in range(2):
        assert list(source.read("fail", print)) == list(enumerate(WRITABLE))
    assert source.origin.name == f"s{suffix}"
    assert len(source.origin.sha256) == 64


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_saved_datasets_folder_gives_the_same_rows(tmp_path):
    import datasets

    data = datasets.Dataset.from_list(WRITABLE)
    data.save_to_disk(str(tmp_path / "plain"))
    datasets.DatasetDict({"train": data}).save_to_disk(str(tmp_path / "split"))
    for name in ("plain", "split"):
        source = splits.open_source(str(tmp_path / name))
        assert list(source.read("fail", print)) == list(enumerate(WRITABLE))
    (tmp_path / "other").mkdir()
    with pytest.raises(splits.DataError, match="a folder without a data set"):
        splits.open_source(str(tmp_path / "other"))


def test_a_hub_source_is_pinned_to_a_commit_and_its_failure_names_the_fix(monkeypatch):
    import huggingface_hub

    commit = "a" * 40
    assert sources.resolve_commit("owner/name", commit) == commit

    class Hub:
        def dataset_info(self, name, revision, timeout):
            if name == "owner/gone":
                raise ConnectionError("no route")
            assert (name, revision) == ("owner/name", "main")
            return type("Info", (), {"sha": commit})

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    assert sources.resolve_commit("owner/name", "main") == commit
    with pytest.raises(splits.DataError, match=r"no route.*give a local copy"):
        splits.open_source("owner/gone")


def test_a_column_problem_stands_in_for_question_and_the_output_says_so(tmp_path, capsys):
    rows = [{"problem": "P", "solution": THREE}]
    source = write_source(tmp_path / "s.json", rows)
    argv = ["build", "s1k", "--source", source, "--field", "solution", "--val-size", 0]
    code, out, _ = command(capsys, *argv, "--output", tmp_path / "o.jsonl")
    assert code == 0
    assert "No column 'question' in the source: the problems are read from 'problem'." in out
    assert "1 of 1 solutions conform: 3 steps, 2 instances" in out
    code, _, err = command(
        capsys, *argv, "--output", tmp_path / "o.jsonl", "--problem-field", "question"
    )
    assert code == 3
    assert "no column 'question' (--problem-field); its columns: problem, solution" in err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--source", "none.json"], 3, "no such data file: none.json"),
        (["--source", "{tmp}/empty.jsonl"], 3, "holds no rows"),
        (["--source", "{tmp}/empty.json"], 3, "not JSON"),
        (["--source", "{tmp}/object.json"], 3, "object.json holds no rows"),
        (["--source", "{tmp}/s.xlsx"], 3, "unknown kind of file '.xlsx'"),
        (["--source", "{tmp}/broken.parquet"], 3, "not a Parquet file that can be read"),
        (["--source", "{tmp}/bad17.jsonl"], 3, "bad17.jsonl:17: not JSON"),
        (["--source", "{tmp}/s.jsonl", "--field", "nope"], 3, "no column 'nope' (--field)"),
        (["--source", "{tmp}/s.jsonl", "--field", "question"], 3, "no_headings"),
        (["--source", "{tmp}/s.jsonl", "--revision", "main"], 3, "is for hub data sets"),
        (["--source", "{tmp}/s.jsonl", "--val-size", "4"], 2, "leaves nothing to train on"),
        (["--source", "{tmp}/s.jsonl", "--val-size", "-1"], 2, "val_size = -1"),
        (["--source", "{tmp}/s.jsonl", "--targets", "3"], 2, "'3' is not one of"),
        (["--source", "{tmp}/s.jsonl", "--output", "{tmp}/s.jsonl"], 2, "would be written over"),
        (["--source", "{tmp}/s.jsonl", "--output", "{tmp}/s.xlsx/x/y.jsonl"], 2, "cannot write"),
        (
            ["--source", "{tmp}/s.jsonl", "--field", "question", "--only-correct"],
            2,
            "--only-correct needs a graded --field (deepseek_attempt, gemini_attempt)",
        ),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path, capsys, options, code, message):
    write_source(tmp_path / "s.jsonl")
    for name, text in {
        "empty.jsonl": "",
        "empty.json": "",
        "object.json": "{}",
        "s.xlsx": "a,b",
        "broken.parquet": "PAR1",
        "bad17.jsonl": "".join(json.dumps(ROWS[0]) + "\n" for _ in range(16)) + "{oops\n",
    }.items():
        (tmp_path / name).write_text(text)
    given_output = [] if "--output" in options else ["--output", tmp_path / "o.jsonl"]
    options = [option.replace("{tmp}", str(tmp_path)) for option in options]
    if "--val-size" not in options:
        options += ["--val-size", "0"]
    found, out, err = command(capsys, "build", "s1k", *options, *given_output)
    errors = [line for line in err.splitlines() if line.startswith("srl-data: error: ")]
    assert (found, out) == (code, "")
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / "o.jsonl").exists()


def test_a_malformed_line_is_skipped_counted_and_listed_on_request(tmp_path):
    source = tmp_path / "s.jsonl"
    source.write_text("{oops\n" + json.dumps(ROWS[0]) + "\n")
    config = BuildConfig(
        source=str(source), output=tmp_path / "o.jsonl", val_size=0, on_error="skip"
    )
    report = build(config)
    (listed,) = report.survey.excluded["malformed_row"]
    assert listed.startswith(f"{source}:1: not JSON")
    assert [item.id for item in read_records(config.output, SrlInstance)] == [
        "s1k-00001/2",
        "s1k-00001/3",
    ]


@given(st.text(st.characters(exclude_categories=()), max_size=300))
def test_any_solution_gives_checked_steps_or_a_reason(text):
    solution = read_solution({"p": "x", "s": text}, Fields("p", "s"), "keep")
    if isinstance(solution, ExpertSolution):
        reward = StepReward()
        for step in solution.steps:
            fault = target_fault(step.text)
            output = f"<think>x</think>\n{step.text}"
            assert fault or reward([output], target_step=[step.text]) == [1.0]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
        "from srl_data.cli import main; main()"
    )
    argv = ["synth", "arithmetic", "--output", str(tmp_path / "o.jsonl")]
    done = subprocess.run(
        [sys.executable, "-c", code, *argv], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert (
        f"srl-data: error: cannot write {tmp_path}/o.jsonl: file size limit reached" in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys; from srl_data.cli import cli; "
        "heavy = {'torch', 'transformers', 'datasets', 'pyarrow', 'numpy'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_synth_writes_disjoint_files_with_verified_manifests(tmp_path, capsys):
    argv = ["synth", "arithmetic", "--num-problems", 20, "--val-size", 10, "--num-warmup", 30]
    code, out, _ = command(capsys, *argv, "--output", tmp_path / "a.jsonl")
    assert code == 0
    train = list(read_records(tmp_path / "a.jsonl", SrlInstance))
    val = list(read_records(tmp_path / "a.val.jsonl", SrlInstance))
    keys = list(read_records(tmp_path / "a.eval.jsonl", PromptAnswer))
    warmup = list(read_records(tmp_path / "a.warmup.jsonl", SftPair))
    assert (len({item.problem for item in train}), len(keys), len(warmup)) == (20, 10, 30)
    assert [key.problem for key in keys] == list(dict.fromkeys(item.problem for item in val))
    assert all(int(key.answer) == eval(key.id) for key in keys)
    asked = {pair.prompt.partition("\n")[0] for pair in warmup}
    assert {item.problem for item in val}.isdisjoint(asked | {item.problem for item in train})
    pairs = list(read_records(tmp_path / "a.sft.jsonl", SftPair))
    answers = list(read_records(tmp_path / "a.answers.jsonl", PromptAnswer))
    trained = list(dict.fromkeys(item.problem for item in train))
    assert [pair.prompt for pair in pairs] == [each.problem for each in answers] == trained
    for pair, each in zip(pairs, answers, strict=True):
        steps = [item.target_step for item in train if item.problem == pair.prompt]
        assert pair.response == "\n".join(steps)
        assert int(extract_boxed(pair.response)) == int(each.answer) == eval(each.id)
        assert (pair.meta["answer"], pair.meta["grader"]) == (each.answer, each.grader)
    for name in ("a", "a.sft", "a.answers", "a.val", "a.eval", "a.warmup"):
        manifest = read_manifest(tmp_path / f"{name}.jsonl")
        assert f"{tmp_path / name}.jsonl: {manifest.records} records" in out


def test_dry_run_writes_nothing(tmp_path, capsys):
    for name in (["synth", "arithmetic"], ["build", "s1k"]):
        code, out, _ = command(capsys, *name, "--output", tmp_path / "o.jsonl", "--dry-run")
        assert code == 0
        assert "# dry run: would" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif("SRL_TEST_DATA" not in os.environ, reason="SRL_TEST_DATA is not set")
def test_the_real_s1k_reference_solutions(tmp_path):
    source = Path(os.environ["SRL_TEST_DATA"]) / "s1k" / "s1k.json"
    config = BuildConfig(source=str(source), field="solution", output=tmp_path / "o.jsonl")
    survey = build(config).survey
    assert (survey.rows, survey.solutions, survey.steps) == (1000, 253, 1793)
    assert survey.instances == 1540
    counts = {reason: len(ids) for reason, ids in survey.excluded.items()}
    assert counts == {
        "no_headings": 707,
        "other_headings": 18,
        "restarted": 20,
        "rival_numbering": 2,
    }
    assert sum(survey.headings.values()) == 18
    assert survey.thinking == 0
    val = {item.problem for item in read_records(tmp_path / "o.val.jsonl", SrlInstance)}
    assert len({whole_text(problem) for problem in val}) == 60, (
        "one of them is there in two spacings"
    )
