"""`srl-data traces`: questions in, a teacher's answers out, resumable at any moment.

A first pass over the source finds what is wrong with it before a request costs anything, and what
is missing; the second asks for that.
"""

import time
from collections.abc import Iterator
from decimal import Decimal

from srl_data.command.errors import DataError, InterruptedRunError
from srl_data.command.progress import meter
from srl_data.manifest import write_manifest
from srl_data.sources import RowSource
from srl_data.splits import check_outputs, open_source
from srl_data.traces.asking import Asked, Asking
from srl_data.traces.config import TracesConfig
from srl_data.traces.ledger import Key, Ledger, files_of
from srl_data.traces.outcome import Outcome
from srl_data.traces.purse import Purse
from srl_data.traces.questions import QuestionReader, open_questions

COMMAND = "srl-data traces"


def settings_of(config: TracesConfig, reader: QuestionReader) -> dict[str, object]:
    """What all answers of a file share; how many, how fast and for how much may change."""
    given = config.sampling
    return {
        "model": config.model,
        "template": reader.template.label,
        "system": config.system,
        "temperature": given.temperature,
        "top_p": given.top_p,
        "seed": given.seed,
        "extra": given.extra,
    }


def survey(reader: QuestionReader, ledger: Ledger, outcome: Outcome) -> None:
    """Look at every question: DataError for one that comes twice or that was another before."""
    samples = reader.config.sampling.samples
    seen: set[str] = set()
    for question in reader.read(outcome.skipped.add):
        if question.id in seen:
            raise DataError(
                f"{reader.config.source} has two questions called {question.id!r}; answers are "
                "told by it: mend it, or name another column with --id-field"
            )
        seen.add(question.id)
        for sample in range(samples):
            outcome.wanted += 1
            found = ledger.known.get((question.id, sample))
            outcome.known += found is not None
            if found is not None and found[0] != question.request:
                raise DataError(
                    f"{ledger.output} answers another question {question.id!r} than "
                    f"{reader.config.source} has; give another --output"
                )
    outcome.questions = len(seen)
    outcome.others = len(ledger.known) - outcome.known
    if not seen:
        raise DataError(f"{reader.config.source} holds no questions")


def wanted(reader: QuestionReader) -> Iterator[Asked]:
    """All answers that are to be had, in the order of the questions."""
    for question in reader.read(lambda _: None):
        for sample in range(reader.config.sampling.samples):
            yield Asked(question, sample)


def missing(reader: QuestionReader, ledger: Ledger) -> Iterator[Asked]:
    """Those that the file lacks."""
    return (each for each in wanted(reader) if key_of(each) not in ledger.known)


def key_of(asked: Asked) -> Key:
    """By what an answer is known."""
    return asked.question.id, asked.sample


def traces(config: TracesConfig) -> Outcome:
    """Ask for what is missing in the output, and say what came of it.

    Raises InterruptedRunError on Ctrl-C; `Outcome.check` raises for a run that did not end well.
    """
    check_outputs(files_of(config.output), config.source)
    tariff, endpoint = config.money.tariff(config.model), config.endpoint()
    source = open_source(config.source, config.revision)
    reader, ledger = open_questions(config, source), Ledger(config.output, tariff)
    outcome = Outcome(config.output, ledger.failures_path)
    outcome.currency, outcome.as_of = tariff.currency, tariff.as_of
    try:
        ledger.open(settings_of(config, reader))
        survey(reader, ledger, outcome)
        budget = config.money.budget
        limit = None if budget is None else Decimal(repr(budget))
        purse = Purse(limit, ledger.bill.spent, ledger.bill.largest)
        ledger.begin()
        label = f"{config.output.name} ({outcome.known} known)" if outcome.known else "traces"
        began = time.monotonic()
        with meter(label, outcome.wanted - outcome.known, "answers") as shown:
            asking = Asking(config, endpoint, ledger, tariff, purse, shown)
            asking.run(missing(reader, ledger))
        outcome.seconds = time.monotonic() - began
        finish(reader, source, ledger, asking, outcome)
    except KeyboardInterrupt as error:
        raise InterruptedRunError(
            f"interrupted; {len(ledger.known)} answers are in {config.output}: run the same "
            "command again for the others"
        ) from error
    finally:
        ledger.close()
    return outcome


def finish(
    reader: QuestionReader, source: RowSource, ledger: Ledger, asking: Asking, outcome: Outcome
) -> None:
    """The file in order, its manifest, and the counts."""
    ledger.close_files()
    ledger.put_in_order(key_of(each) for each in wanted(reader))
    outcome.answered, outcome.retries = asking.answered, asking.retries
    outcome.failed, outcome.cut = asking.failed, ledger.cut
    outcome.stopped, outcome.fatal = asking.stopped, asking.fatal
    bill, priced = ledger.bill, asking.tariff.price is not None
    outcome.tokens, outcome.unpriced = bill.tokens, bill.unpriced
    outcome.cost = bill.cost if priced or bill.cost else None
    config = reader.config
    options = config.model_dump(mode="json", exclude={"output", "source", "pace"})
    failed: dict[str, list[str]] = {name: sorted(ids) for name, ids in asking.failed.items()}
    write_manifest(
        config.output,
        command=COMMAND,
        source=source.origin,
        options={**options, "problem_field": reader.problem, "currency": outcome.currency},
        counts={
            "questions": outcome.questions,
            "answers_wanted": outcome.wanted,
            "answers": outcome.known + outcome.answered,
            "missing": outcome.missing,
            "other_answers": outcome.others,
            "cut_off": outcome.cut,
            **bill.tokens,
            "cost_in_millionths": round(bill.cost * 1_000_000),
            "replies_of_unknown_cost": bill.unpriced,
        },
        records=len(ledger.known),
        excluded=failed,
    )
