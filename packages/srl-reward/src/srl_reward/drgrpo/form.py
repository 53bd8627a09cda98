r"""Where an answer stands by Dr. GRPO's rules, and what is in form.

A box is looked for in the whole text, thinking included; the form is the text `</think> <answer>`,
with that one space, and `</answer>` anywhere.
"""

BOX = "\\boxed"


def is_in_form(text: str) -> bool:
    """Whether a text holds `</think> <answer>` and `</answer>`."""
    return "</think> <answer>" in text and "</answer>" in text


def tag_content(text: str) -> str:
    """All that stands behind the last `<answer>`, without closing tags; of a text in form."""
    return text.rpartition("<answer>")[2].replace("</answer>", "")


def answer_of(text: str) -> str | None:
    """What a tag's content or a gold answer says: its box where it spells one, else all of it.

    None for a box that is broken.
    """
    return box_answer(text) if BOX in text else text


def box_answer(text: str) -> str | None:
    r"""The content of the last `\boxed{…}`; None where there is none, or its braces stay open.

    `\fbox` is no box, and neither is `\boxed` with anything but a brace behind it.
    """
    _, found, after = text.rpartition(BOX)
    end = closing_brace(after)
    return after[1:end] if found and after.startswith("{") and end is not None else None


def closing_brace(text: str) -> int | None:
    """The place of the brace that closes the first one opened; None where none does."""
    depth = 0
    for place, char in enumerate(text):
        depth += (char == "{") - (char == "}")
        if char == "}" and depth == 0:
            return place
    return None
