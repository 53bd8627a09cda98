"""R1-zero's outputs: `<think>…</think> <answer>…</answer>` and nothing else.

`parse_tagged_output` is the strict grammar, which rewards ask for; `tagged_answer` finds the answer
of an output in whatever form, for evaluation. Left out: whether the answer is right.
"""

from srl_reward import _native
from srl_reward.answer import extract_boxed
from srl_reward.output import InvalidOutput, InvalidReason, after_thinking

OPENED, CLOSED = "<answer>", "</answer>"


def parse_thinking(
    text: str, *, think_prefilled: bool = False, truncated: bool = False
) -> tuple[str, str] | str:
    """Return (thinking, what follows), or the reason why the thinking is malformed."""
    if truncated:
        return InvalidReason.TRUNCATED
    parsed, reason = _native.parse_think(text, think_prefilled)
    return parsed if parsed is not None else InvalidReason(str(reason))


def parse_tagged_output(
    text: str, *, think_prefilled: bool = False, truncated: bool = False
) -> tuple[str, str] | str:
    """Return (thinking, answer) without outer white space, or the reason why the form is wrong.

    Args:
        text: What the model wrote, without the prompt.
        think_prefilled: The prompt ended with `<think>`, so the output must not open it again.
        truncated: Generation stopped at its length limit, which makes any output invalid.
    """
    parsed = parse_thinking(text, think_prefilled=think_prefilled, truncated=truncated)
    if isinstance(parsed, str):
        return parsed
    thinking, rest = parsed[0], parsed[1].strip()
    if OPENED not in rest:
        return "missing_answer"
    if not rest.startswith(OPENED):
        return "text_before_answer"
    content, found, after = rest.removeprefix(OPENED).partition(CLOSED)
    if not found:
        return "unclosed_answer"
    if after:
        return "text_after_answer"
    if OPENED in content:
        return "nested_answer"
    return (thinking, content.strip()) if content.strip() else "empty_answer"


def tagged_answer(text: str, *, think_prefilled: bool = False) -> str | None:
    """Return the content of the last `<answer>` tag with content, after the thinking; else None.

    A tag that is never closed reaches to the end. None too where the thinking is never closed.
    """
    after = after_thinking(text, think_prefilled=think_prefilled)
    if isinstance(after, InvalidOutput):
        return None
    contents = [part.partition(CLOSED)[0].strip() for part in after.split(OPENED)[1:]]
    return next((content for content in reversed(contents) if content), None)


def answer_in(content: str) -> str:
    """Return what a tag's content says: its last box, or else the whole of it."""
    box = extract_boxed(content)
    return content if box is None else box
