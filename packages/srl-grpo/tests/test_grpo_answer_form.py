"""The template's grammar in training: where answers stand, and what may not be cut off."""

import json
from types import SimpleNamespace

import pytest

from srl_data.prompts import get_template
from srl_eval.generate import Completion, Sampling
from srl_eval.solvers import WholeSolver
from srl_grpo.data.examples import Example
from srl_grpo.heldout.examples import HeldOutExamples
from srl_grpo.heldout.right import right

RECORDS = [{"id": f"q{n}", "problem": f"{n}+1=?", "answer": str(n + 1)} for n in range(4)]


@pytest.fixture
def answers(tiny, tmp_path):
    """Writes the config of a run on answers."""
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))

    def make(template="r1_zero", **sections):
        data = {"path": str(path), "template": template, "max_prompt_length": 240}
        return tiny(synthetic=None, data=data, reward={"reward": "exact"}, num_steps=1, **sections)

    return make


@pytest.mark.parametrize(("stop", "mark"), [("</think>", "</think>"), ("<answer", "<answer>")])
def test_training_refuses_a_stop_text_that_takes_a_tag_away(call, answers, tmp_path, stop, mark):
    code, _, err = call("train", "--config", answers(), "--output-dir", "out", "--stop", stop)
    assert code == 2
    assert f"--stop {stop!r} takes away {mark}, which an answer to template 'r1_zero' must" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "text", "value", "in_form"),
    [
        ("r1_zero", "a</think> <answer>2</answer>", 1, True),
        ("r1_zero", "a</think> <answer>3</answer>", 0, True),
        ("r1_zero", "a</think> \\boxed{2}", 1, False),
        ("r1_zero", "a \\boxed{2}", 0, False),
        ("boxed", "a</think> <answer>2</answer>", 0, None),
        ("boxed", "a</think> \\boxed{2}", 1, None),
    ],
)
def test_held_out_answers_of_supervised_training_are_read_by_the_template(
    world, name, text, value, in_form
):
    class Decoder:
        """Gives one text for any ids."""

        def decode(self, ids, **options):
            return text

    columns = {"problem": "1+1=?", "answer": "2"}
    example = Example("q", "1+1=? <think>", (5,), (6, 0), True, columns)
    prompts = SimpleNamespace(template=get_template(name), tokenizer=Decoder())
    solver = WholeSolver(prompts, Sampling(4, 0.0))  # type: ignore[arg-type]
    held_out = HeldOutExamples([example], solver, world, 0, "math")
    completion = Completion((6, 0), (0.0, 0.0), "stop", 0)
    assert right([held_out.judged(example, completion)]) == [value]
    if in_form is None:
        assert held_out.grammar is None
    else:
        assert held_out.in_form(example, completion) is in_form
