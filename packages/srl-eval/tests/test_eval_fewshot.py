"""Worked examples: which are taken, how they are put to the model, what is refused."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from srl_data.command.errors import ConfigError, DataError
from srl_data.command.frame import execute
from srl_data.prompt_format import open_prompts
from srl_data.prompt_record import ChatOptions
from srl_data.prompts import get_template
from srl_eval import EvalConfig, Subject, evaluate, get_task, live_subject, read_samples
from srl_eval.cli import cli
from srl_eval.compare import compare
from srl_eval.fewshot import Example, load_fewshot, next_turn_marks, to_example, with_examples
from srl_eval.generate import ChunkedEngine
from srl_eval.plan import Plan, prepare
from srl_eval.problems import load_problems
from srl_eval.tasks import HubSource

AIME = get_task("aime24")


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def configure(folder: Path, count: int = 2, **prompt: object) -> EvalConfig:
    problems = [{"problem": f"Problem {n}?", "answer": n} for n in range(4)]
    examples = [
        {"problem": f"Example {n}?", "solution": f"Solution {n}.", "answer": n} for n in range(9)
    ]
    tree = {
        "decoding": {"max_new_tokens": 40},
        "data": {"data_path": write(folder / "problems.jsonl", *problems)},
        "prompt": {
            "num_fewshot": count,
            "fewshot_path": write(folder / "examples.jsonl", *examples),
            **prompt,
        },
        "output": {"output_dir": folder / "out", "bootstrap": 200},
    }
    return EvalConfig.model_validate(tree)


@pytest.fixture
def subject(
    tokenizer: PreTrainedTokenizerFast, scripted: Callable[..., ChunkedEngine]
) -> Callable[..., Subject]:
    def make(reply: str = "\\boxed{1}", **kwargs: object) -> Subject:
        options = {"tokenizer": tokenizer, "stop_token_ids": (0,), "window": None, **kwargs}
        return live_subject(scripted(lambda _prompt, _seed: reply), **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def plain_tokenizer(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    plain = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|end|>"
    )
    assert plain.chat_template is None
    return plain


def shown(plan: Plan) -> list[int]:
    """Numbers of the examples in the first prompt, in order."""
    return [int(part[0]) for part in plan.prompts[0].split("Example ")[1:]]


def test_examples_are_turns_of_the_chat(tmp_path: Path, subject: Callable[..., Subject]) -> None:
    plan = prepare(AIME, configure(tmp_path), subject())
    first, second = shown(plan)
    request = "Reason step by step and give the final answer inside \\boxed{}."
    assert plan.prompts[0] == "".join(
        f"[user]Example {n}?\n\n{request}"
        f"[assistant]Solution {n}.\n\nThe final answer is \\boxed{{{n}}}."
        for n in (first, second)
    ) + (f"[user]Problem 0?\n\n{request}[assistant]")
    assert bytes(plan.prompts[0], "utf-8").decode() == plan.subject.tokenizer.decode(
        plan.prompt_ids[0], skip_special_tokens=False
    )


def test_examples_are_plain_text_without_a_chat_template(
    tmp_path: Path, subject: Callable[..., Subject], plain_tokenizer: PreTrainedTokenizerFast
) -> None:
    plan = prepare(AIME, configure(tmp_path, 1), subject(tokenizer=plain_tokenizer))
    assert plan.prompts[0].startswith("User: Example ")
    assert "\n\nAssistant: Solution " in plan.prompts[0]
    assert plan.prompts[0].endswith("\\boxed{}.\n\nAssistant:")


@pytest.mark.parametrize("name", ["question_only", "r1_zero"])
def test_templates_of_their_own_words_stay_plain(
    tmp_path: Path, subject: Callable[..., Subject], name: str
) -> None:
    plan = prepare(AIME, configure(tmp_path, 1), subject(template=name))
    (number,) = shown(plan)
    opening, closing = "Assistant:", ""
    if name == "r1_zero":
        opening = "Assistant: <think>"
        closing = f"</think> <answer>\\boxed{{{number}}}</answer>"
    worked = f"Solution {number}.\n\nThe final answer is \\boxed{{{number}}}.{closing}"
    before, after = plan.prompts[0].split(f"\n\n{opening} {worked}\n\n")
    assert before.endswith(f"User: Example {number}?")
    assert after.endswith(f"User: Problem 0?\n\n{opening}")
    assert "[user]" not in plan.prompts[0]


@pytest.mark.parametrize("name", ["boxed", "r1_zero"])
def test_an_invented_next_problem_is_not_the_answer(
    tmp_path: Path,
    subject: Callable[..., Subject],
    plain_tokenizer: PreTrainedTokenizerFast,
    name: str,
) -> None:
    prompt = get_template(name).build({"problem": "Next?"})[0]["content"]
    opening = f"User: {prompt}\n\nAssistant:" if name == "boxed" else prompt
    answer = "It is \\boxed{0}."
    if name == "r1_zero":
        answer = f"a</think> <answer>{answer}</answer>"
    reply = f"{answer}\n\n{opening} It is \\boxed{{7}}."
    config = configure(tmp_path, 1)
    config = config.model_copy(
        update={"decoding": config.decoding.model_copy(update={"max_new_tokens": 400})}
    )
    evaluate(AIME, config, subject(reply, tokenizer=plain_tokenizer, template=name))
    sample = read_samples(tmp_path / "out" / "results.jsonl")[0]
    assert (sample.extracted, sample.verdict, sample.finish_reason) == ("0", "correct", "stop")
    assert sample.response == reply
    assert sample.answer_text == "It is \\boxed{0}."
    assert sample.in_format


def test_the_choice_is_the_seeds_and_not_the_files(
    tmp_path: Path, subject: Callable[..., Subject]
) -> None:
    config = configure(tmp_path, 4)
    first = shown(prepare(AIME, config, subject()))
    assert len(set(first)) == 4
    path = config.prompt.fewshot_path
    assert path is not None
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    assert shown(prepare(AIME, config, subject())) == first
    assert shown(prepare(AIME, configure(tmp_path, 2), subject())) == first[:2]
    assert shown(prepare(AIME, configure(tmp_path, 4, fewshot_seed=1), subject())) != first


def test_the_choice_is_recorded_and_compared(
    tmp_path: Path, subject: Callable[..., Subject]
) -> None:
    evaluate(AIME, configure(tmp_path), subject())
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["identity"]["num_fewshot"] == 2
    assert len(record["identity"]["fewshot_sha256"]) == 64
    assert record["fewshot"]["source"] == str(tmp_path / "examples.jsonl")
    assert all(row.startswith(str(tmp_path)) for row in record["fewshot"]["rows"])
    assert record["config"]["prompt"]["num_fewshot"] == 2
    with pytest.raises(ConfigError, match="num_fewshot 2 is now 3"):
        evaluate(AIME, configure(tmp_path, 3), subject())
    with pytest.raises(ConfigError, match="fewshot_sha256"):
        evaluate(AIME, configure(tmp_path, fewshot_seed=5), subject())


def test_a_comparison_says_that_the_examples_differ(
    tmp_path: Path, subject: Callable[..., Subject]
) -> None:
    folders = [tmp_path / "none", tmp_path / "two"]
    for folder, count in zip(folders, (0, 2), strict=True):
        config = configure(tmp_path, count, **({} if count else {"fewshot_path": None}))
        output = config.output.model_copy(update={"output_dir": folder})
        evaluate(AIME, config.model_copy(update={"output": output}), subject())
    notes = compare(folders, resamples=100).notes
    assert "the runs differ in num_fewshot: none (none), 2 (two)" in notes


def test_a_file_with_an_evaluated_problem_is_refused(
    tmp_path: Path, subject: Callable[..., Subject]
) -> None:
    config = configure(tmp_path, 1)
    path = config.prompt.fewshot_path
    assert path is not None
    with path.open("a") as file:
        file.write(json.dumps({"problem": " problem  3?", "solution": "\\boxed{3}"}) + "\n")
    limited = config.model_copy(update={"data": config.data.model_copy(update={"limit": 1})})
    for given in (config, limited):
        with pytest.raises(DataError, match=r"examples.jsonl:10: this example is one of the eval"):
            prepare(AIME, given, subject())


def test_evaluated_problems_in_the_tasks_own_source_are_left_out(tmp_path: Path) -> None:
    """The real `datasets` over a folder that stands for the hub."""
    rows = [{"question": f"Problem {n}?", "answer": f"R{n} <<1+1=2>>2\n#### {n}"} for n in range(7)]
    (tmp_path / "hub").mkdir()
    write(tmp_path / "hub" / "train.jsonl", *rows)
    source = HubSource(str(tmp_path / "hub"), split="train", revision="0" * 40)
    task = replace(get_task("gsm8k"), fewshot=source)
    config = configure(tmp_path, 3, fewshot_path=None)
    asked = load_problems(task, config.data.data_path, limit=1)
    found = load_fewshot(task, config, asked)
    assert found is not None
    assert found.left_out == 4
    assert sorted(example.problem for example in found.examples) == [
        f"Problem {n}?" for n in (4, 5, 6)
    ]
    assert found.examples[0].solution.startswith("R")
    more = config.model_copy(update={"prompt": config.prompt.model_copy(update={"num_fewshot": 4})})
    with pytest.raises(
        DataError, match="has 3 examples that may be used, --num-fewshot asks for 4"
    ):
        load_fewshot(task, more, asked)


def test_examples_that_leave_no_room_are_an_error(
    tmp_path: Path, subject: Callable[..., Subject]
) -> None:
    with pytest.raises(DataError, match="a lower --num-fewshot"):
        prepare(AIME, configure(tmp_path, 9), subject(window=300))


def test_stepwise_answers_take_no_examples(tmp_path: Path, subject: Callable[..., Subject]) -> None:
    with pytest.raises(ConfigError, match="'srl' is answered step by step"):
        prepare(AIME, configure(tmp_path), subject(template="srl"))
    whole = configure(tmp_path, solve="whole")
    prompt = prepare(AIME, whole, subject(template="srl")).prompts[0]
    assert prompt.count("[system]") == 1
    assert prompt.startswith("[system]")


@pytest.mark.parametrize(
    ("row", "solution"),
    [
        ({"problem": "P", "solution": "So \\boxed{3}."}, "So \\boxed{3}."),
        (
            {"question": "P", "response": "So 3.", "answer": 3},
            "So 3.\n\nThe final answer is \\boxed{3}.",
        ),
        (
            {"question": "P", "answer": "2*2=<<2*2=4>>4 eggs\n#### 4"},
            "2*2=4 eggs\n\nThe final answer is \\boxed{4}.",
        ),
        ({"problem": "P", "solution": ["\\boxed{a}", "b"]}, "\\boxed{a}"),
    ],
)
def test_forms_of_examples(row: dict[str, object], solution: str) -> None:
    assert to_example("x:1", row) == Example("x:1", "P", solution)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"problem": "P", "answer": "3"}, "expected one of the fields solution, response"),
        ({"problem": "P", "solution": "It is 3."}, "the solution has no box"),
        ({"solution": "\\boxed{3}"}, "expected one of the fields problem"),
    ],
)
def test_bad_examples_are_named(
    tmp_path: Path, subject: Callable[..., Subject], row: dict[str, object], reason: str
) -> None:
    config = configure(tmp_path, fewshot_path=write(tmp_path / "bad.jsonl", row))
    with pytest.raises(DataError, match=f"bad.jsonl:1: {reason}"):
        prepare(AIME, config, subject())


def test_no_source_and_no_count_are_usage_errors(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "p.jsonl", {"problem": "P", "answer": 1})
    args = ["aime24", "--model-path", str(model_folder), "--data-path", str(data)]
    assert execute(cli, "srl-eval", [*args, "--num-fewshot", "2"]) == 2
    assert "task aime24 has no worked examples of its own" in capsys.readouterr().err
    assert execute(cli, "srl-eval", [*args, "--fewshot-path", str(data)]) == 2
    assert "does nothing without --num-fewshot" in capsys.readouterr().err


def test_no_examples_leave_the_prompts_as_they_are(tokenizer: PreTrainedTokenizerFast) -> None:
    boxed = open_prompts(tokenizer, get_template("boxed"), ChatOptions())
    assert with_examples(boxed, []).prompt(problem="P") == boxed.prompt(problem="P")


@pytest.mark.skipif("SRL_TEST_DATA" not in os.environ, reason="needs SRL_TEST_DATA")
def test_gsm8k_examples_from_its_training_file(subject: Callable[..., Subject]) -> None:
    folder = Path(os.environ["SRL_TEST_DATA"]) / "gsm8k"
    task = get_task("gsm8k")
    tree = {
        "data": {"data_path": folder / "test.jsonl"},
        "prompt": {"num_fewshot": 5, "fewshot_path": folder / "train.jsonl"},
    }
    plan = prepare(task, EvalConfig.model_validate(tree), subject())
    assert plan.prompts[0].count("The final answer is \\boxed{") == 5
    assert "<<" not in plan.prompts[0]
    tree["prompt"]["fewshot_path"] = folder / "test.jsonl"
    with pytest.raises(DataError, match="as are 1319 in all of 1319"):
        prepare(task, EvalConfig.model_validate(tree), subject())


def test_a_template_with_rules_has_a_next_turn_too(tokenizer: PreTrainedTokenizerFast) -> None:
    plain, chat = (
        open_prompts(tokenizer, get_template("srl"), ChatOptions(mode)) for mode in ("off", "on")
    )
    assert next_turn_marks(plain) == ("\n\nUser:", "\n\nProblem:")
    assert next_turn_marks(chat) == ()


BARE_BOXES = [
    (r"So $x = \boxed 2$.", r"So $x = \boxed{2}$."),
    (r"Thus $\boxed 33$ is it.", r"Thus $\boxed{33}$ is it."),
    (r"We get $\boxed \frac{1}{2}$.", r"We get $\boxed{\frac{1}{2}}$."),
    (r"It is $\fbox 5$.", r"It is $\boxed{5}$."),
    ("It is $\\boxed 7$\n\nDone.", "It is $\\boxed{7}$\n\nDone."),
    (r"$\boxed 3$ and then $\boxed{4}$", r"$\boxed 3$ and then $\boxed{4}$"),
]


@pytest.mark.parametrize(("solution", "shown_as"), BARE_BOXES)
def test_a_box_without_braces_is_read_as_golds_are(solution: str, shown_as: str) -> None:
    assert to_example("x:1", {"problem": "P", "solution": solution}).solution == shown_as


@pytest.mark.parametrize(
    "row",
    [
        {"problem": "P", "solution": "It is 3."},
        {"problem": "P", "answer": "3"},
        {"solution": "\\boxed{3}"},
        {"problem": "P", "solution": "\\boxed{}"},
        {"problem": "", "solution": "\\boxed{3}"},
        {"problem": "P", "solution": "as in \\boxed"},
    ],
)
def test_one_bad_row_is_left_out_and_named(
    tmp_path: Path, subject: Callable[..., Subject], row: dict[str, object]
) -> None:
    config = configure(tmp_path)
    rows = [{"problem": f"E{n}?", "solution": f"\\boxed {n}$"} for n in range(2)]
    write(tmp_path / "examples.jsonl", rows[0], row, rows[1])
    plan = prepare(AIME, config, subject())
    assert plan.fewshot is not None
    assert len(plan.fewshot.examples) == 2
    (note,) = [note for note in plan.notes if "no examples" in note]
    assert "examples.jsonl:2: " in note
    more = configure(tmp_path, 3)
    write(tmp_path / "examples.jsonl", rows[0], row, rows[1])
    with pytest.raises(DataError, match=r"asks for 3; 1 rows are no examples: .*:2: "):
        prepare(AIME, more, subject())
