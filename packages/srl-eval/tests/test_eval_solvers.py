"""Chained steps: context grows by the model's own steps, and every end has its reason."""

from collections.abc import Callable
from copy import deepcopy
from typing import Protocol

import pytest
from transformers import PreTrainedTokenizerFast

from srl_data.prompt_format import PromptFormat, open_prompts
from srl_data.prompt_record import ChatOptions
from srl_data.prompts import get_template
from srl_eval.generate import ChunkedEngine, Sampling, seed_for
from srl_eval.solvers import Answer, StepwiseSolver, WholeSolver, step_sampling

Reply = Callable[[str, int], str]


def opened(tokenizer: PreTrainedTokenizerFast, template: str) -> PromptFormat:
    return open_prompts(tokenizer, get_template(template), ChatOptions())


class MakeEngine(Protocol):
    def __call__(self, reply: Reply, chunk_size: int = 4) -> ChunkedEngine: ...


def solve(
    tokenizer: PreTrainedTokenizerFast,
    make: MakeEngine,
    reply: Reply,
    problems: list[str],
    **limits: int,
) -> list[Answer]:
    solver = StepwiseSolver(
        opened(tokenizer, "bare"),
        Sampling(limits.get("step", 60), 0.0, stop_token_ids=(0,)),
        max_steps=limits.get("max_steps", 5),
        max_tokens=limits.get("max_tokens", 1000),
        window=limits.get("window"),
    )
    columns = [{"problem": problem} for problem in problems]
    return solver.solve(make(reply), columns, [seed_for(0, n) for n in range(len(problems))])


def counting(prompt: str, _seed: int) -> str:
    """Step after step, and at the third the answer: how many steps the prompt held."""
    done = prompt.count("**S**")
    last = f"3. **S** \\boxed{{{done}}}"
    return "<think>t</think>\n" + (last if done == 2 else f"{done + 1}. **S** go")


def test_steps_are_fed_back_until_a_box(
    tokenizer: PreTrainedTokenizerFast, scripted: MakeEngine
) -> None:
    (answer,) = solve(tokenizer, scripted, counting, ["P"])
    assert answer.answer_text == "1. **S** go\n\n2. **S** go\n\n3. **S** \\boxed{2}"
    assert answer.response.count("<think>t</think>") == 3
    assert (answer.steps, answer.finish_reason) == (3, "stop")
    assert answer.completion_tokens == len(answer.response) - 2 * 2 + 3


def test_each_course_ends_for_its_own_reason(
    tokenizer: PreTrainedTokenizerFast, scripted: MakeEngine
) -> None:
    def reply(prompt: str, seed: int) -> str:
        if prompt.startswith("bad"):
            return "no tags"
        if prompt.startswith("cut"):
            return "<think>" + "x" * 100
        if prompt.startswith("endless"):
            return "<think>t</think>\ngo on"
        return counting(prompt, seed)

    problems = ["bad", "good", "cut", "endless"]
    bad, good, cut, endless = solve(tokenizer, scripted, reply, problems)
    assert (bad.finish_reason, bad.steps, bad.answer_text) == ("stop", 1, "")
    assert (good.finish_reason, good.steps) == ("stop", 3)
    assert (cut.finish_reason, cut.steps, cut.completion_tokens) == ("length", 1, 60)
    assert (endless.finish_reason, endless.steps) == ("length", 5)


def test_caps_on_tokens_and_window_end_a_course(
    tokenizer: PreTrainedTokenizerFast, scripted: MakeEngine
) -> None:
    def endless(_prompt: str, _seed: int) -> str:
        return "<think>t</think>\n" + "s" * 13

    (capped,) = solve(tokenizer, scripted, endless, ["P"], max_tokens=63, max_steps=50)
    assert (capped.steps, capped.finish_reason) == (3, "length")
    (full,) = solve(tokenizer, scripted, endless, ["P"], window=100, max_steps=50)
    assert (full.steps, full.finish_reason) == (3, "length")


def test_each_problem_has_its_own_cap_on_steps(
    tokenizer: PreTrainedTokenizerFast, scripted: MakeEngine
) -> None:
    solver = StepwiseSolver(
        opened(tokenizer, "bare"),
        Sampling(60, 0.0, stop_token_ids=(0,)),
        max_steps=4,
        max_tokens=1000,
        steps_allowed=lambda columns: int(str(columns["problem"])),
    )
    columns: list[dict[str, object]] = [{"problem": text} for text in ("2", "1", "9")]
    engine = scripted(lambda _prompt, _seed: "<think>t</think>\ngo on")
    answers = solver.solve(engine, columns, [1, 2, 3])
    assert [(answer.steps, answer.finish_reason) for answer in answers] == [
        (2, "length"),
        (1, "length"),
        (4, "length"),
    ]


def test_seeds_differ_by_step_and_problem(
    tokenizer: PreTrainedTokenizerFast, scripted: MakeEngine
) -> None:
    seen: list[int] = []

    def reply(prompt: str, seed: int) -> str:
        seen.append(seed)
        return counting(prompt, seed)

    solve(tokenizer, scripted, reply, ["P", "Q"])
    assert seen == [seed_for(seed_for(0, n), step) for step in range(3) for n in range(2)]


def test_whole_answers_use_the_chat_template(
    tokenizer: PreTrainedTokenizerFast, scripted: MakeEngine
) -> None:
    engine = scripted(lambda prompt, _: prompt[:20])
    solver = WholeSolver(opened(tokenizer, "boxed"), Sampling(9, stop_token_ids=(0,)))
    (answer,) = solver.solve(engine, [{"problem": "What?"}], [1])
    assert answer.response == "[user]Wha"
    assert (answer.finish_reason, answer.completion_tokens, answer.steps) == ("length", 9, 1)


@pytest.mark.parametrize(
    ("asked", "step", "window", "expected"),
    [(100, 40, None, 40), (30, 40, 500, 30), (90, 80, 64, 32)],
)
def test_step_cap(asked: int, step: int, window: int | None, expected: int) -> None:
    assert step_sampling(Sampling(asked), step, window).max_new_tokens == expected


@pytest.mark.parametrize(
    ("reply", "answer_text", "cut"),
    [
        (r"<think>\boxed{1}?</think> \boxed{2}", r" \boxed{2}", False),
        (r"<think>\boxed{1}? Then", "", False),
        (r"<think>\boxed{1}? " + "x" * 60, "", True),
        (r"so \boxed{2}", r"so \boxed{2}", False),
    ],
)
def test_a_box_in_the_thinking_is_no_answer(
    tokenizer: PreTrainedTokenizerFast,
    scripted: MakeEngine,
    reply: str,
    answer_text: str,
    cut: bool,
) -> None:
    sampling = Sampling(60, 0.0, stop_token_ids=(0,))
    solver = WholeSolver(opened(tokenizer, "boxed"), sampling)
    (answer,) = solver.solve(scripted(lambda *_: reply), [{"problem": "P"}], [0])
    assert answer.answer_text == answer_text
    assert answer.finish_reason == ("length" if cut else "stop")


def test_a_prompt_that_opens_the_thinking_is_heeded(
    tokenizer: PreTrainedTokenizerFast, scripted: MakeEngine
) -> None:
    tokenizer = deepcopy(tokenizer)
    tokenizer.chat_template = "{{ messages[0].content }}<think>\n"
    solver = WholeSolver(opened(tokenizer, "boxed"), Sampling(60, 0.0, stop_token_ids=(0,)))
    engine = scripted(lambda prompt, _: r"\boxed{1}" + ("</think>2" if "close" in prompt else ""))
    answers = solver.solve(engine, [{"problem": "open"}, {"problem": "close"}], [0, 0])
    assert [answer.answer_text for answer in answers] == ["", "2"]
