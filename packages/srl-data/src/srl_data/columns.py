"""Columns of a row, read strictly: there, a text, not blank; or a ValueError that names them.

What a row means is its reader's business.
"""

import math
from collections.abc import Mapping, Sequence

from srl_data.records import Row, is_unicode
from srl_reward.grading import GRADERS

ABSENT = object()
"""What `value_at` gives for a column that is not there."""


def columns_shown(row: Mapping[str, object], most: int = 12) -> str:
    """The columns of a row for a message."""
    names = sorted(map(str, row))
    return ", ".join([*names[:most], "…"] if len(names) > most else names) or "none"


def value_at(row: Mapping[str, object], name: str) -> object:
    """The value of a column, or of a key within one (`meta.thinking`); `ABSENT` without."""
    if name in row:
        return row[name]
    first, _, rest = name.partition(".")
    inner = row.get(first)
    return value_at(inner, rest) if rest and isinstance(inner, Mapping) else ABSENT


def value_with_meta(row: Row, name: str) -> object:
    """As `value_at`; also a key of the row's `meta`."""
    found = value_at(row, name)
    meta = row.get("meta")
    return value_at(meta, name) if found is ABSENT and isinstance(meta, Mapping) else found


def checked_text(value: object, name: str, flag: str, row: Row) -> str:
    """A column's text; ValueError where it is absent, no text, or blank."""
    if value is ABSENT:
        raise ValueError(f"no column {name!r} ({flag}); its columns: {columns_shown(row)}")
    if not isinstance(value, str):
        raise ValueError(f"column {name!r} ({flag}) holds {described(value)}, expected a text")
    if not value.strip():
        raise ValueError(f"column {name!r} ({flag}) is blank ({value[:20]!r}), expected a text")
    if not is_unicode(value):
        raise ValueError(f"column {name!r} ({flag}) holds half of a surrogate pair, expected text")
    return value


def text_in(row: Row, name: str, flag: str) -> str:
    """The text of a column that every row has to have."""
    return checked_text(value_at(row, name), name, flag, row)


def answer_in(row: Row, name: str, flag: str) -> str:
    """A final answer: a text, or a number, which many data sets write as one (`27.0` is `27`)."""
    value = value_with_meta(row, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return checked_text(value, name, flag, row)
    if not math.isfinite(value):
        raise ValueError(f"column {name!r} ({flag}) holds {value!r}, expected a finite number")
    return str(int(value)) if value == int(value) else str(value)


def grader_in(row: Row) -> str | None:
    """How the answer is compared, where the row or its `meta` says so; ValueError if unknown."""
    grader = value_with_meta(row, "grader")
    if grader is ABSENT or grader is None:
        return None
    if grader not in GRADERS:
        raise ValueError(f"unknown grader {grader!r}; expected one of {', '.join(GRADERS)}")
    return str(grader)


def name_of(row: Row, default: str) -> str:
    """A row's own id, or its place."""
    found = row.get("id")
    known = isinstance(found, str | int) and not isinstance(found, bool)
    return str(found) if known and str(found).strip() else default


def described(value: object) -> str:
    """A value that is no text, for a message."""
    if value is None:
        return "nothing (null)"
    kind = "a list" if isinstance(value, Sequence) else type(value).__name__
    return f"{str(value)[:30]!r} ({kind})"
