"""`split_steps` and `parse_solution` through Python: values, offsets in code points, reasons."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl_reward import (
    NonConforming,
    NonConformingReason,
    ParsedOutput,
    Solution,
    Step,
    StepReward,
    leading_step_number,
    parse_solution,
    parse_step_output,
    render_step_output,
    split_steps,
    strip_step_number,
)

PIECES = st.lists(
    st.sampled_from(
        [
            "1. a\n",
            "2. b\n",
            "3. **C** c\n",
            "1. **A:** a\r\n",
            "2. **B** b\n",
            "**Step 1:** x\n",
            "**Step 2: T** y\n",
            "### 1. H\n",
            "### 2.\n",
            "```\n",
            "$$\n",
            "\\[\n",
            "\\]\n",
            "\n",
            "text é\ud800😀 ",
            "   1. inner\n",
            "1) p\n",
        ]
    ),
    max_size=16,
).map("".join)


def test_steps_carry_number_title_text_and_code_point_offsets() -> None:
    text = "é😀 intro\n\n1. **Été:** a\n\n2. **B**: b\n"
    first = "é😀 intro\n\n1. **Été:** a"
    assert split_steps(text) == [
        Step(1, "Été", first, 0, len(first)),
        Step(2, "B", "2. **B**: b", text.index("2."), len(text) - 1),
    ]
    assert split_steps(text, preamble="drop")[0].text == "1. **Été:** a"


def test_a_conforming_solution_is_its_steps() -> None:
    solution = parse_solution("1. a\n2. b\n")
    assert solution == Solution((Step(1, None, "1. a", 0, 4), Step(2, None, "2. b", 5, 9)))
    assert pickle.loads(pickle.dumps(solution)) == solution


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("42", NonConforming(NonConformingReason.NO_HEADINGS)),
        ("1. a\n3. b", NonConforming(NonConformingReason.NOT_CONSECUTIVE, 2, 3)),
        ("1. a\n2. b\n1. c\n2. d", NonConforming(NonConformingReason.RESTARTED, 3, 1)),
    ],
)
def test_a_refusal_is_typed(text: str, expected: NonConforming) -> None:
    assert parse_solution(text) == expected
    assert str(expected.reason) == expected.reason.value


def test_an_unknown_preamble_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="preamble is 'cut'"):
        split_steps("1. a", preamble="cut")  # type: ignore[arg-type]


def test_lone_surrogates_come_back_as_they_were() -> None:
    text = "1. **\ud800**a\n2. **\udfff** b\ud800"
    assert [step.text for step in split_steps(text)] == ["1. **\ud800**a", "2. **\udfff** b\ud800"]
    assert split_steps(text)[1].title == "\udfff"
    assert strip_step_number(text) == text[3:]


def test_stripping_keeps_a_bold_title_bold() -> None:
    assert strip_step_number(" **Step 3: Sum** 1+1=2 ") == "**Sum** 1+1=2"
    assert strip_step_number("3. **Sum** 1+1=2") == "**Sum** 1+1=2"
    assert strip_step_number("no number") == "no number"
    assert leading_step_number("### Step 12: x") == 12
    assert leading_step_number("x") is None


def test_a_step_is_a_value() -> None:
    (step,) = split_steps("\n1. **Ü** a")
    same = Step(number=1, title="Ü", text="1. **Ü** a", start=1, end=11)
    assert step == same
    assert hash(step) == hash(same)
    assert step != Step(1, None, "1. **Ü** a", 1, 11)
    assert step != (1, "Ü", "1. **Ü** a", 1, 11)
    assert repr(step) == "Step(number=1, title='Ü', text='1. **Ü** a', start=1, end=11)"
    assert pickle.loads(pickle.dumps(step)) == copy.deepcopy(step) == step
    with pytest.raises(AttributeError):
        step.number = 2  # type: ignore[misc]
    match step:
        case Step(number, title):
            assert (number, title) == (1, "Ü")


@given(PIECES)
def test_every_step_of_a_conforming_solution_is_valid_output_that_scores_one(text: str) -> None:
    solution = parse_solution(text)
    if isinstance(solution, NonConforming):
        return
    assert [step.number for step in solution.steps] == list(range(1, len(solution.steps) + 1))
    for step in solution.steps:
        assert text[step.start : step.end] == step.text
        output = render_step_output("x", step.text)
        assert isinstance(parse_step_output(output), ParsedOutput)
        assert StepReward()([output], target_step=[step.text]) == [1.0]


@given(st.text(max_size=60), st.sampled_from(["keep", "drop"]))
def test_steps_are_slices_of_any_text(text: str, preamble: str) -> None:
    for step in split_steps(text, preamble=preamble):  # type: ignore[arg-type]
        assert text[step.start : step.end] == step.text
