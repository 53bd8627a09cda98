"""`--chain-start`: a stepwise answer that goes on from the expert's first steps."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from srl_data.command.errors import ConfigError, DataError
from srl_eval import EvalConfig, Subject, evaluate, get_task, live_subject, read_samples
from srl_eval.generate import ChunkedEngine
from srl_eval.problems import expert_steps

AIME = get_task("aime24")
STEPS = ["1. **S** one", "2. **S** two", "3. **S** \\boxed{9}"]


def counting(prompt: str, _seed: int) -> str:
    """Step after step, and at the third the answer: how many expert steps the prompt held."""
    done = prompt.count("**S**")
    expert = prompt.count("one") + prompt.count("two")
    step = f"{done + 1}. **S** " + (f"\\boxed{{{expert}}}" if done == 2 else "go")
    return f"<think>t</think>\n{step}"


@pytest.fixture
def subject(tokenizer: PreTrainedTokenizerFast, scripted: Callable[..., ChunkedEngine]) -> Subject:
    engine = scripted(counting, 4)
    return live_subject(engine, tokenizer, stop_token_ids=(0,), window=None, template="bare")


def configure(folder: Path, row: dict[str, object], **prompt: object) -> EvalConfig:
    path = folder / "problems.jsonl"
    rows = [{"id": f"p{n}", "problem": f"Problem {n}?", "answer": "1", **row} for n in range(2)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return EvalConfig.model_validate(
        {
            "backend": {"chunk_size": 4},
            "decoding": {"mode": "stepwise", "max_new_tokens": 400},
            "prompt": {"template": "bare", **prompt},
            "data": {"data_path": path},
            "output": {"output_dir": folder / f"out{prompt.get('chain_start')}", "bootstrap": 200},
        }
    )


@pytest.mark.parametrize(
    "row", [{"steps": STEPS}, {"solution": "<think>Hm.</think>" + "\n\n".join(STEPS)}]
)
@pytest.mark.parametrize(("start", "expert", "own"), [(1, 0, 3), (2, 1, 2), (3, 2, 1), (9, 2, 1)])
def test_the_experts_first_steps_are_given_and_no_part_of_the_answer(
    tmp_path: Path,
    subject: Subject,
    row: dict[str, object],
    start: int,
    expert: int,
    own: int,
) -> None:
    config = configure(tmp_path, row, chain_start=start)
    assert config.output.output_dir is not None
    evaluate(AIME, config, subject)
    for sample in read_samples(config.output.output_dir / "results.jsonl"):
        assert (sample.extracted, sample.steps) == (str(expert), own)
        assert "one" not in (sample.answer_text or "")
    record = json.loads((config.output.output_dir / "run.json").read_text())
    assert record["identity"].get("chain_start") == (start if start > 1 else None)
    assert record["first_prompt"] == "\n".join(["Problem 0?", *STEPS[:expert], ""])


def test_a_problem_without_steps_is_named(tmp_path: Path, subject: Subject) -> None:
    for row in ({}, {"solution": "It is 9."}, {"steps": []}, {"steps": ["1. a", ""]}):
        with pytest.raises(DataError, match=r"problem 'p0' has no steps of an expert"):
            evaluate(AIME, configure(tmp_path, row, chain_start=2), subject)


def test_a_whole_answer_has_no_chain(tmp_path: Path, subject: Subject) -> None:
    config = configure(tmp_path, {"steps": STEPS}, chain_start=2, solve="whole")
    decoding = config.decoding.model_copy(update={"mode": "greedy"})
    with pytest.raises(ConfigError, match="--chain-start 2 is for answers in steps"):
        evaluate(AIME, config.model_copy(update={"decoding": decoding}), subject)


def test_steps_are_the_rows_own_or_its_solutions() -> None:
    assert expert_steps({"steps": STEPS, "solution": "1. a\n2. b"}) == STEPS
    assert expert_steps({"solution": "1. a\n\n2. b"}) == ["1. a", "2. b"]
    assert expert_steps({"solution": None}) == []
