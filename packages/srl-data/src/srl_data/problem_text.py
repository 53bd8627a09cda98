r"""What a row of a benchmark or of training data asks, and the answer that its solution boxes.

Known columns: `problem`, `question`, `prompt` (whose request for a box is taken off, since the
prompt template asks for it), `instruction`, or a chat's last question.
"""

import re
from collections.abc import Mapping

from srl_data.columns import columns_shown
from srl_data.conversations import messages_in
from srl_reward.answer import extract_boxed

REQUEST = "\nPlease reason step by step, and put your final answer within \\boxed{}."
TEXT_FIELDS = ("problem", "question", "prompt", "instruction")
BARE_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?![a-zA-Z{\s])([^$\n]*?)(\.?\s*(?:\$|\n|$))")


def problem_text(row: Mapping[str, object]) -> str:
    """The problem's words; ValueError where no known column holds them."""
    name = next((each for each in TEXT_FIELDS if row.get(each)), None)
    if name is not None:
        text = str(row[name])
        return text.removesuffix(REQUEST) if name == "prompt" else text
    if row.get("messages"):
        return messages_in(dict(row), "messages", "--messages-field")[-2]["content"]
    expected = ", ".join([*TEXT_FIELDS, "messages"])
    raise ValueError(f"expected one of the fields {expected}, found {columns_shown(row)}")


def last_box(solution: str) -> str | None:
    r"""The last box of a reference solution; some of MATH's are `\boxed 2$`, without braces."""
    boxed = extract_boxed(solution)
    bare = BARE_BOX.findall(solution) if not boxed else []
    return bare[-1][0].strip() or None if bare else boxed


def with_braces(solution: str) -> str:
    r"""A solution whose `\boxed 2$` are written as `\boxed{2}$`."""
    return BARE_BOX.sub(r"\\boxed{\1}\2", solution)
