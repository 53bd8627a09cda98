"""The page of `compare_stages.py`: what each arm took, what it reaches, and how sure that is."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev

from stages_arms import ARMS, MODEL, PHASES, START, Arm

from srl_data.files import write_json, write_text
from srl_eval.finished import read_run
from srl_eval.samples import encode_sample
from srl_grpo.run.directory import RunDirectory

PAIRS = (
    ("bare", START),
    ("expert", START),
    ("rlvr", START),
    ("srl", START),
    ("srl", "bare"),
    ("srl", "rlvr"),
    ("srl", "working"),
    ("srl_rlvr", "rlvr"),
    ("srl_rlvr", "srl"),
    ("srl_rlvr", "rlvr_twice"),
    ("srl_rlvr", "srl_twice"),
    ("sft_rlvr", "working"),
    ("srl_rlvr", "sft_rlvr"),
)
"""The differences on the page: an arm, and the one that it is measured against."""
FIRSTS = tuple(dict.fromkeys(first for _, first in PAIRS))
"""The arms against which others are measured: the first ones of `srl-eval compare`."""


def pooled(folders: Sequence[Path], into: Path) -> Path:
    """One finished run of the runs of several seeds: a problem's samples are its seeds'.

    `srl-eval compare` takes a problem's samples together, so that intervals are over problems.
    """
    runs = [read_run(folder) for folder in folders]
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    record = json.loads((folders[0] / "run.json").read_text("utf-8"))
    record["identity"]["samples"] = len({sample.sample for sample in runs[0].samples}) * len(runs)
    write_json(into / "run.json", record)
    shutil.copy(folders[0] / "problems.jsonl", into)
    samples = [sample for run in runs for sample in run.samples]
    ordered = sorted(samples, key=lambda sample: sample.doc)
    count = len(folders)
    lines = (
        encode_sample(replace(sample, sample=place % count)) for place, sample in enumerate(ordered)
    )
    (into / "results.jsonl").write_bytes(b"".join(lines))
    return into


def tokens(run: Path) -> tuple[int, int]:
    """Tokens of completions that a run generated and trained on."""
    directory = RunDirectory(run)
    found = [
        (int(str(rollout["tokens"])), bool(rollout["kept"]))
        for step in directory.rollout_files()
        for rollout in directory.read_rollouts(step)
    ]
    generated = sum(count for count, _ in found)
    trained = sum(count for count, kept in found if kept)
    if generated:
        return generated, trained
    last = (run / "metrics.jsonl").read_text("utf-8").splitlines()[-1]
    return 0, int(json.loads(last)["num_tokens"])


def thousands(values: Sequence[float]) -> str:
    """A mean in thousands."""
    return f"{mean(values) / 1000:.0f}k"


def spread(values: Sequence[float]) -> str:
    """A mean of shares with its standard deviation over seeds."""
    error = stdev(values) if len(values) > 1 else 0.0
    return f"{100 * mean(values):.1f} ± {100 * error:.1f}"


def accuracy(folder: Path) -> float:
    """The share of problems that an evaluation has right."""
    scores = read_run(folder).scores()
    return mean(scores.values())


def took(run: Path, name: str) -> float:
    """Processor seconds of a command."""
    found: Mapping[str, float] = json.loads(run.with_name(f"{run.name}.{name}.json").read_text())
    return found["processor"]


def row(arm: Arm, work: Path, seeds: Sequence[int], results: Mapping[str, Sequence[Path]]) -> str:
    """An arm's line in the table."""
    runs = [work / f"seed_{seed}" / arm.name for seed in seeds]
    cells = [arm.label]
    cells += [spread([accuracy(folder) for folder in folders]) for folders in results.values()]
    if arm.name == START:
        cells += ["", "", "", "", ""]
    else:
        generated, trained = zip(*map(tokens, runs), strict=True)
        seconds = mean(took(run, arm.name) for run in runs)
        cells += [str(arm.steps), rate_of(runs[0], arm.name)]
        cells += [thousands(generated), thousands(trained), f"{seconds:.0f}"]
    return f"| {' | '.join(cells)} |"


def rate_of(run: Path, name: str) -> str:
    """The learning rate of a run, from its command."""
    words = json.loads(run.with_name(f"{run.name}.{name}.json").read_text())["command"].split()
    return str(words[words.index("--lr") + 1])


LABELS = {"steps": "By the model's own steps", "whole": "In one answer"}
PAIRED = (
    "Paired by problem, a problem's seeds taken together (`srl-eval compare`): the intervals are "
    "over problems and do not hold what another start model or more seeds would change."
)
HEADERS = (
    *("arm", "own steps, %", "one answer, %", "steps", "learning rate"),
    *("generated", "trained on", "processor s"),
)


def table(
    arms: Sequence[Arm], work: Path, seeds: Sequence[int], modes: Sequence[str]
) -> Iterator[str]:
    """A row per arm."""
    yield f"| {' | '.join(HEADERS)} |"
    yield "|---|" + "--:|" * (len(HEADERS) - 1)
    for arm in arms:
        results = {mode: [result(work, seed, arm, mode) for seed in seeds] for mode in modes}
        yield row(arm, work, seeds, results)


def difference(folder: Path, arm: str) -> str:
    """What `srl-eval compare` found between an arm and the first one, in points, and how sure."""
    (task,) = json.loads((folder / "compare.json").read_text("utf-8"))["tasks"]
    (run,) = (run for run in task["runs"] if run["name"] == arm)
    low, high = run["difference_interval"]
    return f"{100 * run['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def differences(arms: Sequence[Arm], compared: Mapping[str, Mapping[str, Path]]) -> Iterator[str]:
    """A row per pair of arms that were both run."""
    names = {arm.name for arm in arms}
    yield "| difference, points (95 % interval) | own steps | one answer |"
    yield "|---|--:|--:|"
    for arm, first in PAIRS:
        if {arm, first} <= names:
            cells = [difference(folders[first], arm) for folders in compared.values()]
            yield f"| {ARMS[arm].label} − {ARMS[first].label} | {' | '.join(cells)} |"


def result(work: Path, seed: int, arm: Arm, mode: str) -> Path:
    """The folder of an evaluation."""
    return work / f"seed_{seed}" / "results" / f"{arm.name}.{mode}"


def commands(arms: Sequence[Arm], work: Path, seed: int) -> Iterator[str]:
    """The commands of one seed, as they were run, without the folder that they were run in."""
    notes = [
        work / "start" / name
        for phase in PHASES
        for name in (f"{phase.name}_data.data.json", f"{phase.name}.{phase.name}.json")
    ]
    notes += [work / f"seed_{seed}" / "data.data.json"]
    notes += [
        work / f"seed_{seed}" / f"{arm.name}.{arm.name}.json" for arm in arms if arm.name != START
    ]
    for note in notes:
        yield (
            str(json.loads(note.read_text("utf-8"))["command"])
            .replace(f"{work}/", "")
            .replace(f"{MODEL.parent}/", "recipes/")
        )


def minutes(work: Path) -> float:
    """Processor minutes of everything."""
    notes = [json.loads(path.read_text("utf-8")) for path in work.rglob("*.*.json")]
    return sum(float(note["processor"]) for note in notes if "processor" in note) / 60


def write_page(
    output: Path,
    work: Path,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    compared: Mapping[str, Mapping[str, Path]],
    asked: str,
) -> None:
    """Write the page; `compared` holds `srl-eval compare` folders by evaluation and first."""
    lines = [
        "# The stages of training, side by side",
        "",
        (
            f"`{asked}`: {len(seeds)} seeds, torch {version('torch')}, one thread, "
            f"{minutes(work):.0f} "
            "processor minutes in all, evaluations and start model with them."
        ),
        "",
        *table(arms, work, seeds, list(compared)),
        "",
        (
            "Held-out problems of five operations, greedy: by the model's own steps, its thoughts "
            "forgotten between them, and in one answer. Means and standard deviations over seeds. "
            "Tokens and processor seconds are those of the arm's own command, not of its start."
        ),
        "",
    ]
    lines += [*differences(arms, compared), "", f"{PAIRED} The same in full:", ""]
    for mode, folders in compared.items():
        text = (folders[START] / "compare.md").read_text("utf-8")
        lines += [f"## {LABELS[mode]}", "", shifted(text)]
    lines += ["## Commands of one seed", "", "```text", *commands(arms, work, seeds[0]), "```"]
    write_text(output, "\n".join(lines) + "\n")


def shifted(text: str) -> str:
    """A page as a part of another: its tables and notes, without heading and lists of problems."""
    lines = text.partition("\n")[2].strip().splitlines()
    return "\n".join(line for line in lines if not line.startswith("- ")) + "\n"
