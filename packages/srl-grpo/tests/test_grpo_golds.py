"""Gold answers that a run's rewards cannot read are named before it starts."""

import json

import pytest

ANSWERS = {"good": "42", "wordy": "no number"}
FORM = {"template": "question_only", "max_prompt_length": 96}


@pytest.fixture
def train(train_records):
    def run(answers, reward, **section):
        records = {name: {"answer": answer} for name, answer in answers.items()}
        return train_records(records, reward, **section)

    return run


@pytest.fixture
def train_records(call, tiny, tmp_path):
    def run(records, reward, **section):
        lines = [
            json.dumps({"id": name, "problem": "6+36=?", "answer": "42", **fields})
            for name, fields in records.items()
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


NAMED = {"first": {}, "second": {"grader": "gsm8k"}, "third": {"grader": "gsm8k"}}


@pytest.mark.parametrize(
    ("reward", "section", "used"),
    [
        ("aime", {}, "aime"),
        ("boxed_think", {}, "exact"),
        ("question_only", {"grader": "drgrpo"}, "drgrpo"),
        ("r1_zero", {"grader": "boxed_integer"}, "boxed_integer"),
    ],
)
def test_records_that_name_another_grader_than_the_reward_s_are_named(
    train_records, reward, section, used
):
    code, out, err = train_records(NAMED, reward, **section)
    assert code == 0, err
    said = (
        f"2 of 3 records name another grader than the reward {reward!r}, which compares by "
        f"{used!r}; the first: record 'second', 'gsm8k'"
    )
    assert said in " ".join(out.split())


@pytest.mark.parametrize(
    ("reward", "section"),
    [("gsm8k", {}), ("r1_zero", {}), ("answer", {"grader": "gsm8k"})],
)
def test_a_reward_that_asks_the_records_or_agrees_says_nothing(train_records, reward, section):
    code, out, err = train_records(NAMED, reward, **section)
    assert code == 0, err
    assert "name another grader" not in out


def test_nothing_is_said_where_all_can_be_read(train):
    code, out, err = train({"a": "42", "b": "7"}, "aime")
    assert code == 0, err
    assert "cannot be read" not in out
