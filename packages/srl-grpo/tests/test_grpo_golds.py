"""Gold answers that a run's rewards cannot read are named before it starts."""

import json

import pytest

ANSWERS = {"good": "42", "wordy": "no number"}
FORM = {"template": "question_only", "max_prompt_length": 96}


@pytest.fixture
def train(call, tiny, tmp_path):
    def run(answers, reward, **section):
        lines = [
            json.dumps({"id": name, "problem": "6+36=?", "answer": answer})
            for name, answer in answers.items()
        ]
        (tmp_path / "answers.jsonl").write_text("\n".join(lines) + "\n")
        data = {**FORM, "path": str(tmp_path / "answers.jsonl")}
        path = tiny(synthetic=None, data=data, reward={"reward": reward, **section}, num_steps=1)
        return call("train", "--config", path, "--output-dir", "out")

    return run


@pytest.mark.parametrize(
    ("reward", "section"),
    [("aime", {}), ("gsm8k", {}), ("answer", {"grader": "boxed_integer"})],
)
def test_an_answer_that_the_grader_cannot_read_is_named(train, reward, section):
    code, out, err = train(ANSWERS, reward, **section)
    assert code == 0, err
    assert "1 of 2 answers cannot be read by their grader" in out
    assert "record 'wordy', 'no number'" in out


def test_a_run_whose_answers_cannot_be_read_at_all_does_not_start(train, tmp_path):
    code, _, err = train({"a": "x", "b": "1.5"}, "aime")
    assert code == 3
    assert "the rewards can read none of the 2 answers; the first: record 'a', 'x'" in err
    assert not (tmp_path / "out").exists()


def test_nothing_is_said_where_all_can_be_read(train):
    code, out, err = train({"a": "42", "b": "7"}, "aime")
    assert code == 0, err
    assert "cannot be read" not in out
