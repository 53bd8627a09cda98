r"""Final answers out of a model's text: the last box, AIME integers, GSM8K's `####` line.

All in Rust and linear time; none raises on any text. Left out: whether two expressions are equal,
which is `srl_reward.grading`'s.
"""

from srl_reward import _native


def extract_boxed(text: str) -> str | None:
    r"""Return the content of the last complete `\boxed{…}` or `\fbox{…}`, or None.

    Last is the one that starts last among those whose braces close, so a box inside a box wins, and
    so does one after an unclosed box. Braces nest; `\{` and `\}` are none; `\boxed {5}` is a box;
    `\boxed 5` is not, since TeX would box a single digit of it.
    """
    return _native.extract_boxed(text)


def extract_aime_answer(text: str) -> int | None:
    r"""Return the AIME answer, 0 to 999, in the last complete box, or None.

    Leading zeros, `33.`, `33.0`, a degree sign, spacing, braces, text and bold commands, and what
    stands left of an `=` are allowed. Signs, commas, fractions, powers, units, numbers past 999 and
    texts without a box give None.
    """
    return _native.extract_aime_answer(text)


def extract_gsm8k_answer(text: str) -> str | None:
    """Return the number after the last `####` in plain form (`-1234.5`), or None.

    A leading `$`, thousands commas, a final point, decimal zeros and bold marks are dropped, and so
    is a unit behind the number; another number or an operator there is no unit.
    """
    return _native.extract_gsm8k_answer(text)
