"""The command line of `srl-data`: parse, validate, call one function."""

import rich_click as click

from srl_data.answers.config import Gsm8kConfig, MathConfig, NuminaMathConfig, SplitsConfig
from srl_data.build import BuildConfig, build
from srl_data.command.flags import configured, print_plan
from srl_data.command.frame import run
from srl_data.decontaminate import DecontaminateConfig, decontaminate
from srl_data.dedupe import DedupeConfig, dedupe
from srl_data.grade import grade
from srl_data.grade_config import GradeConfig
from srl_data.inspection import InspectConfig, inspect
from srl_data.pairing.config import PairsConfig
from srl_data.rendering import RenderConfig, render
from srl_data.splitting import SplitConfig, part_paths, split
from srl_data.stepify.command import stepify
from srl_data.stepify.config import StepifyConfig
from srl_data.synth import SynthConfig, synth
from srl_data.synth_chain import ChainConfig, synth_chain, template_files
from srl_data.traces.config import TracesConfig


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="srl-data")
def cli() -> None:
    """Expert solutions in, step-by-step training instances out."""


@cli.group("build")
def build_group() -> None:
    """Turn a data set into SRL instances, or into splits of problems with answers."""


@build_group.command("s1k")
@configured(BuildConfig)
def build_s1k(config: BuildConfig, dry_run: bool) -> None:
    """The s1K-1.1 questions, or any table of problems with numbered solutions.

    Every kept step is checked: as a model's answer it is valid and scores exactly 1. What does not
    conform is excluded with its reason, in the table printed at the end and in the manifest.
    """
    if dry_run:
        print_plan(config, f"read {config.source} and write {config.output}")
        return
    from srl_data.tables import print_build

    print_build(build(config), config.problem_field)


@build_group.command("gsm8k")
@configured(Gsm8kConfig)
def build_gsm8k(config: Gsm8kConfig, dry_run: bool) -> None:
    """GSM8K as train, val (held out of train) and test, with numbers as answers."""
    build_answers(config, dry_run=dry_run)


@build_group.command("math")
@configured(MathConfig)
def build_math(config: MathConfig, dry_run: bool) -> None:
    """MATH as train and test, with the last box as answer; MATH-500 in a file of its own.

    No problem of MATH-500 is in train, whatever the source calls its splits.
    """
    build_answers(config, dry_run=dry_run)


@build_group.command("numinamath")
@configured(NuminaMathConfig)
def build_numinamath(config: NuminaMathConfig, dry_run: bool) -> None:
    """NuminaMath-CoT: a seeded sample of its questions, with the solution's last box as answer."""
    build_answers(config, dry_run=dry_run)


@build_group.command("answers")
@configured(SplitsConfig)
def build_any(config: SplitsConfig, dry_run: bool) -> None:
    """Any data set of problems with answers, by its columns, in its native splits.

    The answer is a column, or what a solution or a chat's last message boxes.
    """
    build_answers(config, dry_run=dry_run)


def build_answers(config: SplitsConfig, *, dry_run: bool) -> None:
    """What these commands do."""
    if dry_run:
        print_plan(config, f"read {config.source} and write splits to {config.output_dir}")
        return
    from srl_data.answers.command import build_splits
    from srl_data.answers.tables import print_splits

    print_splits(build_splits(config), config)


@cli.command("decontaminate")
@configured(DecontaminateConfig)
def decontaminate_file(config: DecontaminateConfig, dry_run: bool) -> None:
    """Leave out training records whose problem is, or overlaps with, one of an evaluation set.

    Counted by evaluation set in the manifest, from where a training run's report has it.
    """
    if dry_run:
        against = ", ".join(config.against)
        print_plan(config, f"compare {config.file} with {against} and write {config.output}")
        return
    from srl_data.answers.tables import print_overlaps
    from srl_data.manifest import beside

    done = decontaminate(config)
    for line in done.tally.skipped.shown():
        click.echo(f"left out: {line}", err=True)
    click.echo(f"{config.output}: {done.kept} of {done.read} records")
    print_overlaps(done.overlaps, beside(config.output, "overlaps"))


@cli.command("grade")
@configured(GradeConfig)
def grade_file(config: GradeConfig, dry_run: bool) -> None:
    """Add reward, reason and exact to each record, or keep only the good ones.

    A record may also hold truncated, finish_reason, think_prefilled or prompt; to a reward of your
    own every field is a column.
    """
    if dry_run:
        where = "standard output" if config.output is None else config.output
        print_plan(config, f"grade {config.file} by {config.reward} and write to {where}")
        return
    grades = grade(config)
    for line in grades.skipped.shown():
        click.echo(f"left out: {line}", err=True)
    click.echo(grades.summary, err=config.output is None)


@cli.command("inspect")
@configured(InspectConfig)
def inspect_file(config: InspectConfig, dry_run: bool) -> None:
    """Counts, length distributions, and records as the model will see them."""
    if dry_run:
        print_plan(config, f"read {config.file}")
        return
    from srl_data.tables import print_findings

    print_findings(inspect(config), str(config.file))


@cli.command("pairs")
@configured(PairsConfig)
def make_pairs(config: PairsConfig, dry_run: bool) -> None:
    """Turn a teacher's traces, or solutions, into pairs for supervised fine-tuning.

    Prompts stay raw, for training renders them; responses take the form of the prompt template. A
    trace that was cut off, or whose thinking never ends, gives no pair; what was left out is shown
    with its reason, and stands in the manifest.
    """
    if dry_run:
        print_plan(config, f"read {config.source} and write pairs to {config.output}")
        return
    from srl_data.pairing.command import pairs
    from srl_data.pairing.tables import print_pairs

    print_pairs(pairs(config), config.output)


@cli.command("render-eval")
@configured(RenderConfig)
def render_eval(config: RenderConfig, dry_run: bool) -> None:
    """Render problems as a model's prompts, with their gold answers.

    Each record has prompt, gold, gold_num (null where the gold is no number), problem, grader and
    meta, for an evaluator that must not depend on templates.
    """
    if dry_run:
        print_plan(config, f"render {config.source} for {config.model} and write {config.output}")
        return
    from srl_data.tables import print_rendered

    print_rendered(render(config), config.output)


@cli.command("split")
@configured(SplitConfig)
def split_file(config: SplitConfig, dry_run: bool) -> None:
    """Hold whole questions out, with all of their records.

    Writes NAME_train.jsonl and NAME_val.jsonl and, of graded records, NAME_train_filtered.jsonl:
    those to train on that are correct.
    """
    paths = part_paths(config)
    if dry_run:
        written = ", ".join(str(path) for path in paths.values())
        print_plan(config, f"read {config.source} and write {written}")
        return
    from srl_data.tables import print_split

    print_split(split(config))


@cli.command("dedupe")
@configured(DedupeConfig)
def dedupe_file(config: DedupeConfig, dry_run: bool) -> None:
    """Of records that are equal in the chosen columns, keep the first."""
    if dry_run:
        print_plan(config, f"read {config.source} and write what came first to {config.output}")
        return
    report = dedupe(config)
    for line in report.tally.skipped.shown():
        click.echo(f"left out: {line}", err=True)
    click.echo(
        f"{config.output}: {report.manifest.records} records kept, {report.duplicates} duplicates "
        f"left out, compared by {', '.join(report.columns)}"
    )


@cli.command("stepify")
@configured(StepifyConfig)
def stepify_source(config: StepifyConfig, dry_run: bool) -> None:
    """Cut free-running solutions into numbered steps, which `srl-data build s1k` reads.

    An author's own headings decide, in whatever spelling; else paragraphs, lines and sentences,
    never inside LaTeX, code, a table or a quotation. The steps' texts joined are the original's but
    for its headings. A report says whether the cut is any good.
    """
    if dry_run:
        where = "show some records" if config.output is None else f"write {config.output}"
        print_plan(config, f"cut the solutions of {config.source} into steps and {where}")
        return
    from srl_data.stepify.tables import print_outcome

    print_outcome(stepify(config), None if config.output is None else str(config.output))


@cli.group("synth")
def synth_group() -> None:
    """Make data without a download."""


@synth_group.command("arithmetic")
@configured(SynthConfig)
def synth_arithmetic(config: SynthConfig, dry_run: bool) -> None:
    """Column arithmetic with numbered expert steps.

    Writes training instances to --output and, beside them, whole solutions as pairs (.sft) and
    answer keys (.answers) of the same problems, instances (.val) and answer keys (.eval) of
    held-out problems, pairs with deliberate mistakes (.warmup) if asked for, and manifests.
    """
    config.resolved_difficulty()
    if dry_run:
        print_plan(config, f"write {config.num_problems} problems' instances to {config.output}")
        return
    for path, manifest in synth(config).items():
        click.echo(f"{path}: {manifest.records} records")


@synth_group.command("chain")
@configured(ChainConfig)
def synth_chain_command(config: ChainConfig, dry_run: bool) -> None:
    """Chains of two-digit operations modulo 100, with bare expert steps.

    Writes training instances to --output (the working of each step in meta.thinking) and, beside
    them, whole solutions (.sft) and answer keys (.answers) of the same problems, instances (.val)
    and answer keys (.val_answers, .test) of held-out ones, the stream for a start model (.warmup)
    if asked for, the prompt templates (.step.txt, .whole.txt), and manifests.
    """
    if dry_run:
        print_plan(config, f"write {config.num_problems} problems' instances to {config.output}")
        return
    for path, manifest in synth_chain(config).items():
        click.echo(f"{path}: {manifest.records} records")
    for path in template_files(config.output):
        click.echo(f"{path}: prompt template")


@cli.command("traces")
@configured(TracesConfig)
def traces_of_questions(config: TracesConfig, dry_run: bool) -> None:
    """Ask a teacher behind an OpenAI-compatible API, and keep its answers and reasoning.

    Answers are appended as they come; the same command again asks only for what is missing. The
    key comes from the environment alone.
    """
    if dry_run:
        asked = f"{config.sampling.samples} times" if config.sampling.samples > 1 else "once"
        print_plan(
            config,
            f"ask {config.model} at {config.base_url} each question of {config.source} {asked}, "
            f"its key from {config.key_variable()}, and append to {config.output}",
        )
        return
    from srl_data.traces.command import traces  # talks over HTTP, which parsing needs not
    from srl_data.traces.tables import print_outcome as print_traces

    outcome = traces(config)
    print_traces(outcome)
    outcome.check()


def main() -> None:
    """Entry point of the console script."""
    run(cli, "srl-data")
