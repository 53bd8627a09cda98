"""From a problem to a text with an answer in it: in one go, or step after step.

A solver turns a chunk of the work list into answers through an engine, and knows nothing of grading
or files. Problems reach it as columns of a record, so that the prompt template alone decides the
words.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from srl_data.prompt_format import Prompt, PromptFormat
from srl_eval.answer_form import Written, answer_part, grammar_of
from srl_eval.generate.engine import Completer
from srl_eval.generate.sampling import Completion, FinishReason, Sampling
from srl_eval.generate.seeds import seed_for
from srl_eval.generate.text import completion_text
from srl_reward.answer import extract_boxed
from srl_reward.output import InvalidOutput, is_think_prefilled, parse_step_output
from srl_reward.thinking_marks import ends_inside_thinking


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one problem.

    `response` is all the model wrote, `answer_text` the part an answer is looked for in, `bare`
    whether that part is the answer itself. `in_grammar` says whether the response is in the
    template's grammar, None where that has none. Tokens are counted over all steps; `finish_reason`
    is "length" where a cap ended it.
    """

    response: str
    answer_text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    steps: int
    bare: bool = False
    in_grammar: bool | None = None


class Solver(Protocol):
    """Answers for a chunk of problems, in order; `seeds` has one per problem."""

    def solve(
        self, engine: Completer, problems: Sequence[Mapping[str, object]], seeds: Sequence[int]
    ) -> list[Answer]:
        """Solve a chunk; the same chunk again gives the same answers."""
        ...


@dataclass(frozen=True, slots=True)
class WholeSolver:
    """One prompt, one completion; the answer is over where one of the texts `ends` begins.

    It is looked for after the thinking, where the template has it stand (`srl_eval.answer_form`).
    """

    prompts: PromptFormat
    sampling: Sampling
    ends: tuple[str, ...] = ()

    def solve(
        self, engine: Completer, problems: Sequence[Mapping[str, object]], seeds: Sequence[int]
    ) -> list[Answer]:
        """Solve a chunk."""
        prompts = [self.prompts.prompt(**columns) for columns in problems]
        completions = engine.generate([prompt.ids for prompt in prompts], self.sampling, seeds)
        return [self.answer(*parts) for parts in zip(prompts, completions, strict=True)]

    def answer(self, prompt: Prompt, completion: Completion) -> Answer:
        """What a completion of a prompt comes to."""
        text = completion_text(completion, self.prompts.tokenizer)
        found = [place for end in self.ends if (place := text.find(end)) >= 0]
        reason: FinishReason = "stop" if found else completion.finish_reason
        written = Written(
            text[: min(found, default=len(text))],
            ends_inside_thinking(prompt.text),
            reason == "length",
        )
        template = self.prompts.template
        part, grammar = answer_part(template, written), grammar_of(template)
        return Answer(
            response=text,
            answer_text=part.text,
            finish_reason=reason,
            prompt_tokens=len(prompt.ids),
            completion_tokens=len(completion.token_ids),
            steps=1,
            bare=part.bare,
            in_grammar=None if grammar is None else grammar(written),
        )


@dataclass
class _Course:
    """One problem on its way: its steps so far and what they cost."""

    columns: Mapping[str, object]
    seed: int
    max_steps: int
    outputs: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: FinishReason = "length"
    running: bool = True

    @property
    def next_columns(self) -> dict[str, object]:
        """What the next step is asked with: the steps so far, the expert's before the model's."""
        steps = self.columns.get("previous_steps")
        so_far = [*(steps if isinstance(steps, Sequence) else []), *self.actions]
        asked = {"previous_steps": so_far, "step_index": len(so_far) + 1, "title": None}
        return {**self.columns, **asked}

    def end(self, reason: FinishReason) -> None:
        """No more steps."""
        self.finish_reason, self.running = reason, False

    def answer(self) -> Answer:
        """What came of it."""
        return Answer(
            response="\n\n".join(self.outputs),
            answer_text="\n\n".join(self.actions),
            finish_reason=self.finish_reason,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            steps=len(self.outputs),
            in_grammar=0 < len(self.outputs) == len(self.actions),
        )


@dataclass(frozen=True, slots=True)
class StepwiseSolver:
    """A model's own steps, fed back as context, until one holds a boxed answer.

    A problem's column `previous_steps`, if it has one, stands before the model's own steps.
    A step that does not parse ends the course ("stop"), and so nothing was answered; a cap on
    steps, on tokens, or the window ends it as "length". Step k of a problem is drawn with the seed
    (problem's seed, k).
    """

    prompts: PromptFormat
    sampling: Sampling
    max_steps: int
    max_tokens: int
    window: int | None = None
    steps_allowed: Callable[[Mapping[str, object]], int] | None = None
    """Most steps of the model's own for a problem, by its columns; default `max_steps` for all."""

    def solve(
        self, engine: Completer, problems: Sequence[Mapping[str, object]], seeds: Sequence[int]
    ) -> list[Answer]:
        """Solve a chunk, all problems abreast."""
        courses = [
            _Course(columns, seed, self._limit(columns))
            for columns, seed in zip(problems, seeds, strict=True)
        ]
        for index in range(self.max_steps):
            self._step(engine, [course for course in courses if course.running], index)
        return [course.answer() for course in courses]

    def _limit(self, columns: Mapping[str, object]) -> int:
        allowed = self.max_steps if self.steps_allowed is None else self.steps_allowed(columns)
        return min(allowed, self.max_steps)

    def _step(self, engine: Completer, courses: list[_Course], index: int) -> None:
        asked: list[tuple[_Course, Prompt]] = []
        for course in courses:
            prompt = self.prompts.prompt(**course.next_columns)
            if self._fits(prompt, course):
                asked.append((course, prompt))
            else:
                course.end("length")
        if not asked:
            return
        seeds = [seed_for(course.seed, index) for course, _ in asked]
        completions = engine.generate([prompt.ids for _, prompt in asked], self.sampling, seeds)
        for (course, prompt), completion in zip(asked, completions, strict=True):
            course.prompt_tokens += len(prompt.ids)
            self._take(course, completion, prefilled=is_think_prefilled(prompt.text))

    def _fits(self, prompt: Prompt, course: _Course) -> bool:
        length = len(prompt.ids) + self.sampling.max_new_tokens
        room = self.window is None or length <= self.window
        return room and course.completion_tokens < self.max_tokens

    def _take(self, course: _Course, completion: Completion, *, prefilled: bool) -> None:
        text = completion_text(completion, self.prompts.tokenizer)
        cut = completion.finish_reason == "length"
        course.outputs.append(text)
        course.completion_tokens += len(completion.token_ids)
        parsed = parse_step_output(text, think_prefilled=prefilled, truncated=cut)
        if isinstance(parsed, InvalidOutput):
            course.end(completion.finish_reason)
            return
        course.actions.append(parsed.action)
        if extract_boxed(parsed.action) is not None:
            course.end("stop")
        elif len(course.actions) >= course.max_steps:
            course.end("length")


def step_sampling(sampling: Sampling, max_step_tokens: int, window: int | None) -> Sampling:
    """The sampling of one step: its own cap, and never more than half the window."""
    cap = min(sampling.max_new_tokens, max_step_tokens)
    return replace(sampling, max_new_tokens=cap if window is None else min(cap, window // 2))
