"""Column arithmetic: right sums, one shape a difficulty, splits that never meet."""

import re
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl_data.arithmetic import (
    ALPHABET,
    DIFFICULTIES,
    PIECES,
    ArithmeticProblem,
    Difficulty,
    problems,
    sloppy_pairs,
    sloppy_stream,
)
from srl_data.command.errors import ConfigError
from srl_data.prompts import bare_messages
from srl_reward import StepReward, parse_step_output

NUMBERS = st.tuples(st.integers(2, 6), st.integers(0), st.integers(0)).map(
    lambda t: (t[0], *(10 ** (t[0] - 1) + n % (9 * 10 ** (t[0] - 1)) for n in t[1:]))
)


def test_the_example_of_the_documentation():
    problem = ArithmeticProblem(806, "+", 600, 3)
    assert problem.problem == "806+600=?"
    assert problem.steps == [
        "1. **Ones** 6+0+0=06",
        "2. **Tens** 0+0+0=00",
        "3. **Hundreds** 8+6+0=14",
        "4. **Answer** \\boxed{1406}",
    ]
    assert problem.thoughts == ["carry 0", "carry 0", "carry 0", "join"]
    metas = [instance.meta for instance in problem.instances()]
    assert [meta["thinking"] for meta in metas] == problem.thoughts
    assert {(meta["answer"], meta["grader"]) for meta in metas} == {("1406", "boxed_integer")}


def test_borrowing():
    problem = ArithmeticProblem(262, "-", 199, 3)
    assert problem.steps == [
        "1. **Ones** 12-9-0=03",
        "2. **Tens** 16-9-1=06",
        "3. **Hundreds** 02-1-1=00",
        "4. **Answer** \\boxed{063}",
    ]
    assert problem.answer == "63"
    assert problem.thoughts == ["borrow 0", "borrow 1", "borrow 1", "join"]


@given(NUMBERS, st.sampled_from("+-"))
def test_every_step_is_a_true_equation_and_the_digits_give_the_answer(numbers, operation):
    digits, left, right = numbers
    if operation == "-":
        left, right = max(left, right), min(left, right)
    problem = ArithmeticProblem(left, operation, right, digits)
    *columns, last = problem.steps
    written = ""
    for step in columns:
        a, b, c, result = map(int, re.search(r"(\d+)\D(\d)\D(\d)=(\d\d)$", step).groups())
        assert result == (a + b + c if operation == "+" else a - b - c)
        written = str(result % 10) + written
    if operation == "+":
        written = str(result // 10) + written
    assert last.endswith(f"\\boxed{{{written}}}")
    expected = left + right if operation == "+" else left - right
    assert int(written) == expected == int(problem.answer)


@given(NUMBERS)
def test_all_problems_of_a_digit_count_have_one_shape(numbers):
    digits, left, right = numbers
    shape = [re.sub(r"\d", "0", step) for step in ArithmeticProblem(left, "+", right, digits).steps]
    first = ArithmeticProblem(10 ** (digits - 1), "+", 10 ** (digits - 1), digits)
    assert shape == [re.sub(r"\d", "0", step) for step in first.steps]


def test_splits_partition_the_problems_and_do_not_tell_the_operands_order():
    every = [ArithmeticProblem(a, "+", b, 2) for a in range(10, 100) for b in range(10, 100)]
    shares = Counter(problem.split for problem in every)
    assert shares["heldout"] / len(every) == pytest.approx(0.2, abs=0.02)
    assert shares["warmup"] / len(every) == pytest.approx(0.3, abs=0.02)
    assert all(p.split == ArithmeticProblem(p.right, "+", p.left, 2).split for p in every)


def test_no_seed_ever_brings_a_held_out_problem_into_another_stream():
    easy = DIFFICULTIES["easy"]
    held_out = {p.name for p in problems(0, 1000, easy, "heldout")}
    for seed in range(3):
        assert held_out.isdisjoint(p.name for p in problems(seed, 2000, easy, "train"))
        names = {item.id.partition("/")[0] for item, _ in islice(sloppy_stream(seed, easy), 3000)}
        assert len(names) > 1000
        assert held_out.isdisjoint(names)


def test_problems_are_seeded_distinct_and_heed_exclusion():
    first = [p.name for p in problems(1, 50)]
    assert first == [p.name for p in problems(1, 50)]
    assert first != [p.name for p in problems(2, 50)]
    assert len(set(first)) == 50
    assert set(first).isdisjoint(p.name for p in problems(1, 50, exclude=first))


def test_more_problems_than_there_are_is_refused():
    with pytest.raises(ConfigError, match=r"about \d+ problems in 'heldout', not 9000"):
        list(problems(0, 9000, DIFFICULTIES["easy"], "heldout"))


@pytest.mark.parametrize("digits", [(1, 2), (3, 2), (2, 7)])
def test_impossible_digit_counts_are_refused(digits):
    with pytest.raises(ConfigError, match="expected 2 <= min <= max <= 6"):
        Difficulty(*digits)


@pytest.mark.parametrize("level", sorted(DIFFICULTIES))
def test_every_instance_scores_one_and_its_text_stays_in_the_alphabet(level):
    reward = StepReward()
    for problem in problems(3, 20, DIFFICULTIES[level]):
        for instance, thought in zip(problem.instances(), problem.thoughts, strict=True):
            output = f"<think>{thought}</think>\n{instance.target_step}"
            assert reward([output], target_step=[instance.target_step]) == [1.0]
            prompt = bare_messages({**instance.model_dump(), "title": "Ones"})[0]["content"]
            assert set(prompt + output) <= set(ALPHABET)


def tokens(text):
    pattern = "|".join(map(re.escape, sorted(PIECES, key=len, reverse=True))) + "|[\\s\\S]"
    return re.findall(pattern, text)


def test_a_whole_example_of_four_digits_is_under_eighty_tokens():
    lengths = [
        len(tokens(bare_messages(instance.model_dump())[0]["content"] + response))
        for instance, response in islice(sloppy_stream(0, Difficulty(4, 4)), 500)
    ]
    assert max(lengths) < 80


def test_sloppiness_without_errors_is_the_expert():
    for instance, response in islice(sloppy_stream(0, carry_error=0, digit_error=0), 200):
        assert parse_step_output(response).action == instance.target_step


def test_error_rates_of_the_sloppy_stream_are_those_asked_for():
    forgotten = carried = wrong = digits = 0
    for instance, response in islice(sloppy_stream(5, carry_error=0.7, digit_error=0), 6000):
        carry = re.search(r"\+(\d)=", instance.target_step)
        if carry and carry[1] == "1":
            carried += 1
            forgotten += re.search(r"\+(\d)=", response)[1] == "0"
    for instance, response in islice(sloppy_stream(5, carry_error=0, digit_error=0.05), 3000):
        step = parse_step_output(response).action
        body, expert = (text.rpartition("** ")[2] for text in (step, instance.target_step))
        assert len(body) == len(expert)
        assert step.partition("**")[0] == instance.target_step.partition("**")[0]
        digits += sum(char.isdigit() for char in expert)
        wrong += sum(a != b for a, b in zip(body, expert, strict=True))
    assert forgotten / carried == pytest.approx(0.7, abs=0.04)
    assert wrong / digits == pytest.approx(0.05, abs=0.01)


def test_warm_start_records_are_the_stream():
    instance, response = next(sloppy_stream(9))
    pair = next(sloppy_pairs(9, 1))
    assert pair.response == response
    assert pair.prompt == bare_messages(instance.model_dump())[0]["content"]
    assert next(sloppy_pairs(9, 2)).id == f"{instance.id}#0"
