"""Why a run gives nothing, in one line: all reasons with their counts, and what to do.

Left out: what the reasons are; each command has its own.
"""

from collections.abc import Mapping


def by_count(counts: Mapping[str, int]) -> dict[str, int]:
    """Reasons with their counts, the commonest first."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def nothing_left(
    what: str, counts: Mapping[str, int], meanings: Mapping[str, str], advice: Mapping[str, str]
) -> str:
    """`none of the 5 rows …` with the reasons, the commonest in words, and the advice for that."""
    found = by_count(counts)
    common = next(iter(found), "")
    shown = ", ".join(f"{reason}: {count}" for reason, count in found.items())
    because = f" ({shown}: {meanings[common]})" if found else ""
    return f"none of the {what}{because}; {advice.get(common, 'choose another --field')}"
