"""The page's part about the training data: what they are, and what they were compared with."""

from html import escape

from srl_grpo.report.sections import read_json
from srl_grpo.run.data_record import NAME, overlaps_of
from srl_grpo.run.directory import RunDirectory


def data_section(run: RunDirectory) -> str:
    """The training data's file, and by evaluation set what overlapped and was left out."""
    record = read_json(run.environment / NAME)
    if not record:
        return ""
    told = f"{record.get('name')}"
    if digest := record.get("sha256") or record.get("revision"):
        told += f" ({str(digest)[:12]}…)"
    overlaps = overlaps_of(record)
    if not overlaps:
        note = f"{told} was compared with no evaluation set (srl-data decontaminate)."
        return f"<section><h2>Training data</h2><p class='note'>{escape(note)}</p></section>"
    rows = "".join(overlap_row(name, each) for name, each in overlaps.items())
    return (
        "<section><h2>Training data</h2><table class='numbers'><thead><tr><th></th>"
        "<th>its problems</th><th>the same text</th><th>an n-gram</th></tr></thead>"
        f"<tbody>{rows}</tbody></table><p class='note'>{escape(told)}: training problems that "
        "overlapped with each evaluation set and were left out.</p></section>"
    )


def overlap_row(name: str, counts: dict[str, object]) -> str:
    """One evaluation set."""
    cells = "".join(
        f"<td>{escape(str(counts.get(key, '–')))}</td>" for key in ("problems", "exact", "ngram")
    )
    return f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'
