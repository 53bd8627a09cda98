"""Chains modulo 100: right results, workings that lead to them, splits that never meet."""

import re
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from srl_data.chain import (
    ALPHABET,
    GRADER,
    PIECES,
    STEPS_TEMPLATE,
    WHOLE_TEMPLATE,
    ChainProblem,
    Term,
    problems,
    result_of,
)
from srl_data.chain_stream import CAREFUL, NO_THOUGHT, Habits, sloppy_pairs
from srl_data.cli import cli
from srl_data.command.errors import ConfigError
from srl_data.manifest import Manifest, manifest_path
from srl_data.own_templates import text_template
from srl_data.records import PromptAnswer, SftPair, SrlInstance, read_records
from srl_data.synth_chain import ChainConfig, synth_chain
from srl_reward import ParsedOutput, StepReward, parse_step_output, render_step_output

TERMS = st.one_of(
    st.builds(Term, st.sampled_from("+-"), st.integers(0, 99)),
    st.builds(Term, st.just("*"), st.integers(2, 4)),
)
CHAINS = st.builds(
    ChainProblem, st.integers(0, 99), st.lists(TERMS, min_size=1, max_size=9).map(tuple)
)
SHOWN = ChainProblem(37, (Term("+", 58), Term("-", 19), Term("*", 4)))


def test_the_example_of_the_documentation():
    assert SHOWN.problem == "37 #1+58 #2-19 #3*4"
    assert [step.split(" ")[1] for step in SHOWN.steps] == [
        "37+58=95",
        "95-19=76",
        "76*4=\\boxed{04}",
    ]
    assert SHOWN.workings == [
        "7+8=15,3+5=08+1=09",
        "5-9=16,9-1=08-1=07",
        "6*4=24,7*4=28+2=30",
    ]
    assert SHOWN.answer == "4"
    assert [instance.meta["thinking"] for instance in SHOWN.instances()] == SHOWN.workings
    assert {instance.meta["grader"] for instance in SHOWN.instances()} == {GRADER}


@given(CHAINS)
def test_every_step_is_a_true_equation_and_its_working_leads_to_the_result(problem):
    value = problem.start
    for step, working, term in zip(problem.steps, problem.workings, problem.terms, strict=True):
        before, result = re.fullmatch(
            rf"(?:So|Then) (\d\d){re.escape(str(term))}=(?:\\boxed{{)?(\d\d)}}?", step
        ).groups()
        expected = {"+": value + term.operand, "-": value - term.operand, "*": value * term.operand}
        assert int(before) == value
        assert int(result) == result_of(working) == expected[term.operation] % 100
        value = int(result)
    assert problem.answer == str(value)
    assert problem.steps[-1].endswith("}")
    assert sum("boxed" in step for step in problem.steps) == 1


@given(CHAINS, st.integers(0, 99))
def test_a_forgotten_carry_leaves_the_ones_right(problem, value):
    for term in problem.terms:
        careful = result_of(term.working(value))
        forgetful = result_of(term.working(value, carry=False))
        assert careful % 10 == forgetful % 10


@given(CHAINS)
def test_a_copy_with_its_working_scores_one_and_stays_in_the_alphabet(problem):
    for instance in problem.instances():
        output = render_step_output(str(instance.meta["thinking"]), instance.target_step)
        assert StepReward()([output], target_step=[instance.target_step]) == [1.0]
        prompt = text_template(STEPS_TEMPLATE, "step").messages(**instance.model_dump())
        text = prompt[0]["content"] + output
        for piece in PIECES:
            text = text.replace(piece, "")
        assert set(text) <= set(ALPHABET)


def test_the_wording_is_the_problems_own_and_cannot_be_foreseen():
    first = Counter(p.steps[0].split(" ")[0] for p in problems(0, 200, 5, "train"))
    assert 70 <= first["So"] <= 130
    assert SHOWN.steps == ChainProblem(37, SHOWN.terms).steps


def test_splits_share_nothing_and_seeds_change_the_training_problems_only():
    names = {
        split: {p.name for seed in (0, 1) for p in problems(seed, 300, 5, split)}
        for split in ("train", "validation", "test", "warmup")
    }
    assert sum(map(len, names.values())) == len(set.union(*names.values()))
    assert all({p.split for p in problems(3, 50, 2, split)} == {split} for split in names)


def test_more_problems_than_there_are_is_one_line():
    with pytest.raises(ConfigError, match=r"chains of 1 operations have about \d+ problems"):
        list(problems(0, 20_000, 1, "test"))


def parts_of(pair: SftPair) -> list[ParsedOutput]:
    """The steps of a pair's response."""
    texts = re.split(r"(?:^|\n\n)#\d", pair.response)
    found = [parse_step_output(text) for text in texts if text]
    assert all(isinstance(each, ParsedOutput) for each in found)
    return found


def test_the_stream_is_sloppy_at_its_rates():
    habits = Habits(careful=(0.7, 0.5, 0.4), forget=0.4, slip=0.0)
    tried, worked, forgotten, carries = Counter(), Counter(), 0, 0
    for pair in sloppy_pairs(0, 6000, 3, habits):
        for part in parts_of(pair):
            value, sign, operand = re.search(r"(\d\d)(\D)(\d+)=", part.action).groups()
            tried[sign] += 1
            if part.thinking == NO_THOUGHT:
                continue
            worked[sign] += 1
            right = Term(sign, int(operand)).working(int(value))
            bare = Term(sign, int(operand)).working(int(value), carry=False)
            assert part.thinking in (right, bare)
            carries += right != bare
            forgotten += right != bare and part.thinking == bare
    for sign, rate in zip("+-*", habits.careful, strict=True):
        assert worked[sign] / tried[sign] == pytest.approx(rate, abs=0.03)
    assert forgotten / carries == pytest.approx(0.4, abs=0.03)


def test_a_slip_is_read_off_the_page_and_goes_into_the_result():
    habits = Habits(careful=(1.0, 1.0, 1.0), forget=0.0, slip=0.2)
    wrong = 0
    for pair in sloppy_pairs(0, 300, 4, habits):
        for part in parts_of(pair):
            written = int(re.search(r"=(?:\\boxed{)?(\d\d)}?$", part.action)[1])
            assert written == result_of(part.thinking)
            value, sign, operand = re.search(r"(\d\d)(\D)(\d+)=", part.action).groups()
            wrong += written != Term(sign, int(operand)).apply(int(value))
    assert wrong > 100


def test_drills_are_right_and_whole_answers_go_on_from_their_own_results():
    for pair in sloppy_pairs(0, 200, 4, CAREFUL, whole_share=1.0):
        assert pair.prompt.endswith("=?")
        assert pair.meta["whole"] is True
        *before, last = parts_of(pair)
        assert "\\boxed{" in last.action
        results = [part.action[-2:] for part in before]
        starts = [re.search(r" (\d\d)", part.action)[1] for part in [*before, last]]
        assert starts == [pair.prompt[:2], *results]
        assert all(part.thinking != NO_THOUGHT for part in [*before, last])


def test_single_steps_are_asked_as_the_template_asks():
    template = text_template(STEPS_TEMPLATE, "step")
    for pair in sloppy_pairs(0, 100, 4, Habits(), whole_share=0.0):
        problem, steps, _ = pair.prompt.split("\n\n", 1)[0], *pair.prompt.rsplit("\n\n", 1)
        previous = [step for step in steps.removeprefix(f"{problem}\n\n").split("\n\n") if step]
        asked = template.messages(problem=problem, previous_steps=previous)
        assert asked[0]["content"] == pair.prompt
        assert len(parts_of(pair)) == 1


def made(folder: Path, **options: object) -> dict[str, Path]:
    """The files of a small config, by their part."""
    config = ChainConfig(
        output=folder / "chain.jsonl",
        num_problems=6,
        val_size=4,
        test_size=5,
        num_drills=3,
        num_warmup=7,
        **options,
    )
    return {path.name: path for path in synth_chain(config)}


def test_the_files_and_their_manifests(tmp_path: Path):
    files = made(tmp_path)
    counts = {name: Manifest.model_validate_json(manifest_path(path).read_text()).records
              for name, path in files.items()}  # fmt: skip
    assert counts == {
        "chain.jsonl": 30,
        "chain.sft.jsonl": 6,
        "chain.answers.jsonl": 6,
        "chain.val.jsonl": 20,
        "chain.val_answers.jsonl": 4,
        "chain.test.jsonl": 5,
        "chain.warmup.jsonl": 10,
    }
    instances = list(read_records(files["chain.jsonl"], SrlInstance))
    answers = list(read_records(files["chain.answers.jsonl"], PromptAnswer))
    whole = list(read_records(files["chain.sft.jsonl"], SftPair))
    assert {i.problem for i in instances} == {a.problem for a in answers}
    assert [pair.response.count("\n\n") for pair in whole] == [4] * 6
    assert (tmp_path / "chain.step.txt").read_text() == f"{STEPS_TEMPLATE}\n"
    assert (tmp_path / "chain.whole.txt").read_text() == f"{WHOLE_TEMPLATE}\n"


def test_one_seed_gives_the_same_bytes_and_another_other_training_problems(tmp_path: Path):
    first, again, other = (
        made(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    for name, path in first.items():
        assert path.read_bytes() == again[name].read_bytes()
        held_out = any(part in name for part in ("val", "test"))
        assert (path.read_bytes() == other[name].read_bytes()) == held_out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--operations", "0"], "--operations"),
        (["--operations", "10"], "--operations"),
        (["--careful", "[0.5, 0.5]"], "--careful"),
        (["--careful", "[0.5, 0.5, 1.5]"], "--careful"),
        (["--whole-share", "-1"], "--whole-share"),
        (["--num-problems", "0"], "--num-problems"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_written(
    words: list[str], said: str, tmp_path: Path
):
    done = CliRunner().invoke(
        cli, ["synth", "chain", "--output", str(tmp_path / "chain.jsonl"), *words]
    )
    assert done.exit_code != 0
    assert said in str(done.exception) + done.output
    assert list(tmp_path.iterdir()) == []


def test_too_many_problems_leave_no_file(tmp_path: Path):
    with pytest.raises(ConfigError, match="not 30000"):
        synth_chain(ChainConfig(output=tmp_path / "a.jsonl", operations=1, num_problems=30_000))
    assert list(tmp_path.iterdir()) == []
