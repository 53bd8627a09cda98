"""What the commands that build splits print: files, exclusions, overlaps."""

from collections.abc import Mapping
from pathlib import Path

from rich.text import Text

from srl_data.answers.command import OVERLAPS, Splitting
from srl_data.answers.config import SplitsConfig
from srl_data.answers.reading import REASONS
from srl_data.manifest import BenchmarkOverlap
from srl_data.tables import new_console, new_table


def print_splits(done: Splitting, config: SplitsConfig) -> None:
    """Files with their counts, then what was left out and why."""
    console = new_console()
    for path, manifest in done.written.items():
        console.print(f"{path}: {manifest.records} records", soft_wrap=True)
    drawn = done.choice.drawn
    if drawn is not None and len(drawn) < config.sample_n:
        console.print(f"only {len(drawn)} questions, not {config.sample_n} (--sample-n)")
    for names, count in done.shared.items():
        mend = count and names == "train and test"
        advice = "; --decontaminate test leaves them out" if mend else ""
        console.print(f"{names}: {count} questions in common{advice}")
    if any(found.counts for found in done.excluded.values()):
        table = new_table("Excluded")
        for column in ("split", "reason", "rows", "meaning", "for example"):
            table.add_column(column)
        for split, found in sorted(done.excluded.items(), key=lambda item: item[0] != "train"):
            for reason, count in found.counts.most_common():
                example = Text(", ".join(found.ids[reason][:2]))
                table.add_row(split, reason, str(count), Text(REASONS[reason]), example)
        console.print(table)
    for line in done.skipped.shown():
        console.print(Text(f"left out: {line}"))
    if config.decontaminate:
        print_overlaps(done.overlaps, config.output_dir / OVERLAPS)


def print_overlaps(counts: Mapping[str, BenchmarkOverlap], pairs: Path) -> None:
    """What overlapped with each evaluation set, and where the pairs are listed."""
    console, table = new_console(), new_table("Overlaps, left out")
    table.add_column("evaluation set")
    for column in ("its problems", "same text", "n-gram", "its problems overlapped"):
        table.add_column(column, justify="right")
    for name, each in counts.items():
        numbers = (each.problems, each.exact, each.ngram, each.problems_overlapped)
        table.add_row(Text(name), *map(str, numbers))
    console.print(table)
    console.print(f"pairs: {pairs}", soft_wrap=True)
