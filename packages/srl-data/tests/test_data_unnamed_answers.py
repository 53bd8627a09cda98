"""A column called answer that nobody named is taken where it is one, and refuses no row."""

import pytest

from srl_data.pairs import PairFields, answer_of


@pytest.mark.parametrize("value", [["a", "b"], "", "  ", None, True, float("nan"), {"x": 1}])
def test_what_is_no_answer_is_left_alone(value):
    assert answer_of({"prompt": "p", "answer": value}, PairFields()) == {}
    with pytest.raises(ValueError, match="answer"):
        answer_of({"prompt": "p", "answer": value}, PairFields(answer="answer"))


@pytest.mark.parametrize(("value", "text"), [("42", "42"), (27.0, "27"), (3, "3")])
def test_a_text_or_a_number_is_one(value, text):
    assert answer_of({"prompt": "p", "answer": value}, PairFields()) == {"answer": text}
