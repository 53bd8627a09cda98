"""`--stop` and `--chain-start` reach a run: what is sampled, scored, written and chained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from srl_data.arithmetic import ArithmeticProblem
from srl_data.command.config import load_config
from srl_data.command.errors import DataError
from srl_data.command.frame import execute
from srl_data.prompt_format import Prompt
from srl_eval.generate import Completion, Sampling
from srl_grpo.cli import cli
from srl_grpo.config.train import TrainConfig
from srl_grpo.data.prompts import TrainingPrompt
from srl_grpo.heldout.chains import Chains, given_steps, problems_of
from srl_grpo.learner.distributed import World
from srl_grpo.rollout.engines import PolicyRollout
from srl_grpo.rollout.sync import SharedWeights
from srl_grpo.stages.train import open_run
from srl_reward import StepReward

STEPS = ["1. **A** a", "2. **B** b", "3. **C** \\boxed{7}"]


def smoke(folder: Path, **over: object) -> TrainConfig:
    paths = {tuple(name.split("__")): value for name, value in over.items()}
    overrides = {("warm_start", "steps"): 0, ("output_dir",): folder / "run", **paths}
    return load_config(TrainConfig, "smoke_test", overrides, "srl_grpo.presets")


def test_rollouts_end_at_a_stop_string_which_the_reward_does_not_see(
    tmp_path: Path, world: World
) -> None:
    config = smoke(tmp_path, rollout__stop=["=", "*"], rollout__temperature=1.0)
    with open_run(config, world) as (session, stage, _):
        assert stage.source.sampling.stop == ("=", "*")
        assert stage.held_out is not None
        assert stage.held_out._greedy.stop == ("=", "*")
        columns = {"problem": "12+34", "previous_steps": [], "target_step": "1. a"}
        text, ids = stage.source.prompts[0].text, stage.source.prompts[0].ids
        prompts = [TrainingPrompt(0, "p/1", text, ids, False, columns)] * 48
        seeds = list(range(48))
        done = stage.source.rollout.engine.generate([ids] * 48, stage.source.sampling, seeds)
        scored = stage.source.scorer(prompts, done)
    ended = [item for item in scored if item.completion.stop_string]
    assert len(ended) > 5
    for item in ended:
        tokens = item.completion.token_ids
        whole = str(session.model.tokenizer.decode(list(tokens)))
        assert item.completion.finish_reason == "stop"
        assert whole.startswith(item.text + str(item.completion.stop_string))
        assert not {"=", "*"} & set(item.text)
        assert len(item.completion.logprobs) == len(tokens)
        expected = StepReward().score([item.text], target_step=["1. a"])[0]
        assert expected is not None
        assert item.reward == expected.reward


@pytest.mark.parametrize(
    ("words", "stop"),
    [
        (["--stop", "###"], ["###"]),
        (["--stop", "\n\n", "--stop", "3. "], ["\n\n", "3. "]),
        (["--stop", "[1]"], ["[1]"]),
        ([], []),
    ],
)
def test_each_flag_is_one_string_as_it_stands(
    words: list[str], stop: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    argv = ["train", "--config", "smoke_test", *words, "--dry-run"]
    assert execute(cli, "srl-grpo", argv) == 0
    assert yaml.safe_load(capsys.readouterr().out)["rollout"]["stop"] == stop


def test_an_empty_stop_string_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(cli, "srl-grpo", ["train", "--config", "smoke_test", "--stop", ""]) == 2
    assert "a stop string is empty" in capsys.readouterr().err


def test_a_file_may_give_one_string_or_several(tmp_path: Path) -> None:
    for text, stop in (("'###'", ("###",)), ("['a', \"\\n\"]", ("a", "\n"))):
        path = tmp_path / "run.yaml"
        path.write_text(f"model: {{path: m}}\ndata: {{path: d}}\nrollout: {{stop: {text}}}\n")
        assert load_config(TrainConfig, str(path)).rollout.stop == stop


def last_step(count: int = 3) -> TrainingPrompt:
    columns: dict[str, object] = {
        "problem": "P",
        "previous_steps": STEPS[: count - 1],
        "target_step": STEPS[-1],
        "step_index": count,
        "num_steps": count,
    }
    return TrainingPrompt(0, f"p/{count}", "", (5,), False, columns)


@pytest.mark.parametrize(
    ("start", "given"), [(1, []), (2, STEPS[:1]), (3, STEPS[:2]), (4, STEPS[:2]), (9, STEPS[:2])]
)
def test_a_chain_begins_after_the_experts_first_steps(start: int, given: list[str]) -> None:
    (problem,) = problems_of([last_step()])
    assert given_steps(problem, start) == given


@dataclass
class Written:
    """Prompts, tokenizer and engine in one: remembers what was asked, writes the next step."""

    write: Callable[[list[str]], str]
    opened: str = ""
    finish: str = "stop"
    width: int = 1
    """Tokens of a prompt with steps in it; others have one."""
    asked: list[tuple[object, list[str]]] = field(default_factory=list)
    weights_version: int = 0
    chunk_size: int = 8

    @property
    def tokenizer(self) -> "Written":
        return self

    def prompt(self, **columns: object) -> Prompt:
        steps = list(columns["previous_steps"])  # type: ignore[call-overload]
        self.asked.append((columns["step_index"], steps))
        ids = (5,) * (self.width if steps else 1)
        return Prompt(f"Q{self.opened}", ids)

    def generate(self, prompts: Sequence[Sequence[int]], *_: object) -> list[Completion]:
        assert all(len(ids) <= 4 for ids in prompts), "a prompt over the limit"
        return [Completion((7,), (-1.0,), self.finish, 0) for _ in prompts]  # type: ignore[arg-type]

    def decode(self, _ids: object, **_: object) -> str:
        return self.write(self.asked[-1][1])


def solve(written: Written, world: World, start: int, *prompts: TrainingPrompt) -> object:
    chains = Chains(written, Sampling(4), 4, start)  # type: ignore[arg-type]
    problems = chains.problems(prompts)
    return chains.solve(problems, PolicyRollout(written, SharedWeights()), world)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("start", "seen"), [(1, [[], STEPS[:1], STEPS[:2]]), (2, [STEPS[:1], STEPS[:2]])]
)
def test_the_model_is_asked_for_the_steps_from_there_on(
    start: int, seen: list[list[str]], world: World
) -> None:
    written = Written(lambda steps: f"<think>t</think>{STEPS[len(steps)]}")
    assert solve(written, world, start, last_step()) == [1.0]
    assert written.asked == [(len(steps) + 1, steps) for steps in seen]


def test_a_chain_that_does_not_answer_ends_two_steps_past_the_experts(world: World) -> None:
    written = Written(lambda steps: f"<think>t</think>{len(steps) + 1}. **A** more")
    assert solve(written, world, 2, last_step()) == [0.0]
    assert [index for index, _ in written.asked] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("opening", "prefilled", "finish", "width", "solved"),
    [
        ("<think>t</think>", False, "stop", 4, 1.0),
        ("t</think>", True, "stop", 4, 1.0),  # the prompt opened the thinking
        ("t</think>", False, "stop", 4, 0.0),
        ("<think>t</think>", False, "length", 4, 0.0),  # cut off, however whole it looks
        ("<think>t</think>", False, "stop", 5, 0.0),  # the second prompt is over the limit
    ],
)
def test_a_chains_steps_are_read_as_their_prompt_and_their_end_say(
    opening: str, prefilled: bool, finish: str, width: int, solved: float, world: World
) -> None:
    written = Written(
        lambda steps: f"{opening}{STEPS[len(steps)]}", "<think>" * prefilled, finish, width
    )
    assert solve(written, world, 1, last_step()) == [solved]


def test_the_run_hands_chain_start_over(tmp_path: Path, world: World) -> None:
    config = smoke(tmp_path, evaluation__chain_start=2)
    with open_run(config, world) as (_, stage, _):
        assert stage.held_out is not None
        assert stage.held_out.chains.start == 2


@pytest.mark.parametrize(
    ("grader", "gold", "written", "solved"),
    [
        ("math", "7", "7", 1.0),
        ("math", "7", "8", 0.0),
        ("math", "\\frac{1}{2}", "0.5", 1.0),  # equal, and written otherwise
        ("math", "x+1", "1+x", 1.0),
        ("boxed_integer", "7", "07", 1.0),
        ("boxed_integer", "7", "7.5", 0.0),
    ],
)
def test_the_answer_of_a_chain_is_graded_not_compared_as_text(
    grader: str, gold: str, written: str, solved: float, world: World
) -> None:
    model = Written(lambda _: f"<think>t</think>1. **C** \\boxed{{{written}}}")
    assert solve(model, world, 1, only_step(gold, grader)) == [solved]


def only_step(gold: str, grader: object = None) -> TrainingPrompt:
    """An instance of a solution of one step, with the grader that its record names, if any."""
    columns: dict[str, object] = {
        "problem": "P",
        "previous_steps": [],
        "target_step": f"1. **C** \\boxed{{{gold}}}",
        "step_index": 1,
        "num_steps": 1,
    }
    meta = {} if grader is None else {"grader": grader}
    return TrainingPrompt(0, f"{gold}/1", "", (5,), False, columns, meta)


def test_each_problem_is_graded_as_its_own_record_says(world: World) -> None:
    """One file may hold several kinds; who names none is read as mathematics."""
    model = Written(lambda _: "<think>t</think>1. **C** \\boxed{14/2}")
    asked = [("7", None), ("7", "exact"), ("14/2", "exact"), ("7", "aime"), ("7", "math")]
    prompts = [only_step(*each) for each in asked]
    assert solve(model, world, 1, *prompts) == [1.0, 0.0, 1.0, 0.0, 1.0]


def test_arithmetic_of_a_file_is_graded_as_that_made_on_the_spot() -> None:
    """`srl-data synth arithmetic` says it in each record."""
    *_, last = ArithmeticProblem(12, "+", 34, 2).instances()
    columns = last.model_dump(exclude={"id", "meta"})
    (problem,) = problems_of([TrainingPrompt(0, last.id, "", (5,), False, columns, last.meta)])
    assert problem.grader.name == "boxed_integer"


@pytest.mark.parametrize("name", ["maths", 7, ["math"]])
def test_a_grader_that_there_is_not_is_told_with_its_record(name: object) -> None:
    with pytest.raises(DataError, match=r"record '5/1': meta: unknown grader .*known: aime"):
        problems_of([only_step("5", name)])


def test_an_expert_without_an_answer_that_can_be_graded_is_no_problem() -> None:
    columns = {**last_step().columns, "target_step": "3. **C** \\boxed{}"}
    prompt = TrainingPrompt(0, "p/3", "", (5,), False, columns)
    chains = Chains(None, Sampling(4), 99)  # type: ignore[arg-type]
    assert chains.problems([prompt]) == []
    assert chains.problems([last_step()]) != []
