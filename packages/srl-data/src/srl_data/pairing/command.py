"""`srl-data pairs`: one pass from traces or solutions to supervised pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from srl_data.command.errors import ConfigError, DataError
from srl_data.manifest import PAIRS_COMMAND, Manifest, with_manifests, write_manifest
from srl_data.own_templates import open_template
from srl_data.pairing.columns import PairColumns, find_columns
from srl_data.pairing.config import PairsConfig
from srl_data.pairing.reasons import ADVICE, REASONS
from srl_data.pairing.rows import NoPair, PairMaker
from srl_data.passes.chunks import NumberedRow
from srl_data.passes.draft import Tally
from srl_data.passes.run import Pass, run_pass
from srl_data.passes.workers import Outcome, Worker
from srl_data.prompts import Template
from srl_data.reasons import nothing_left
from srl_data.records import encode
from srl_data.responses import ResponseForm
from srl_data.splits import check_outputs, open_source

PAIRS = "pairs"


@dataclass(frozen=True)
class PairsReport:
    """What was written, and what gave no pair."""

    tally: Tally
    columns: PairColumns
    manifest: Manifest

    @property
    def reasons(self) -> dict[str, int]:
        """Rows, or solutions, without a pair by reason, the commonest first."""
        return self.tally.reasons


def pair_template(name: str) -> Template:
    """The template whose form is written; ConfigError for one that asks for a single step."""
    template = open_template(name)
    if template.stepwise:
        raise ConfigError(
            f"--template {name} asks for one step, and a pair holds a whole answer; give chat, "
            "boxed or r1_zero (srl-grpo sft reads SRL instances as they are)"
        )
    return template


def open_worker(config: PairsConfig, columns: PairColumns) -> Worker[Outcome]:
    """The worker of one process."""
    form = ResponseForm(pair_template(config.template), columns.thinks, "")
    return partial(make_pairs, PairMaker(columns, form, config.only_correct))


def make_pairs(maker: PairMaker, rows: Sequence[NumberedRow]) -> Outcome:
    """The pairs of some rows as lines."""
    outcome = Outcome()
    for position, row in rows:
        outcome.counts["rows_read"] += 1
        try:
            found = list(maker.pairs(row, f"row-{position:05d}"))
        except ValueError as error:
            outcome.refused.append((position, str(error)))
            continue
        for each in found:
            if isinstance(each, NoPair):
                outcome.leave_out(each.reason, each.name)
                continue
            outcome.write(PAIRS, encode(each))
            outcome.counts["pairs"] += 1
            outcome.counts["pairs_correct"] += each.meta.get("exact") is True
    return outcome


def pairs(config: PairsConfig) -> PairsReport:
    """Write the pairs and their manifest.

    Raises DataError where no row gives a pair, or a bad row is met.
    """
    check_outputs(with_manifests([config.output]), config.source)
    template = pair_template(config.template)
    source = open_source(config.source, config.revision)
    columns = find_columns(config, source, asked=template.thinks)
    options = config.model_dump(mode="json", exclude={"source", "output", "workers"})
    named = {"problem_field": columns.problem, "field": columns.solution}
    options |= {**named, "thinking_field": columns.thinking, "thinking": columns.thinks}
    options["template"] = template.label
    work = Pass(
        PAIRS_COMMAND, source, {PAIRS: config.output}, options, config.on_error, config.workers
    )
    tally = run_pass(work, partial(open_worker, config, columns), check=partial(check, config))
    manifest = write_manifest(
        config.output,
        command=PAIRS_COMMAND,
        source=source.origin,
        options=options,
        counts=tally.counts,
        records=tally.counts["pairs"],
        reasons=tally.reasons,
        excluded=tally.named,
    )
    return PairsReport(tally, columns, manifest)


def check(config: PairsConfig, tally: Tally) -> None:
    """DataError where no row gave a pair, with what to do about the commonest reason."""
    if tally.counts.get("pairs"):
        return
    reasons = tally.reasons
    if not reasons:
        raise DataError(f"{config.source}: no good row; the first: {tally.skipped.first[0]}")
    what = f"{tally.taken} rows of {config.source} gives a pair"
    raise DataError(nothing_left(what, reasons, REASONS, ADVICE))
