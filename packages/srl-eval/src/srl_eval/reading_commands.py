"""The commands that read finished runs: report, compare, rescore."""

from pathlib import Path

import rich_click as click

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("report")
@click.argument("folder", type=FOLDER)
@click.option("--output", type=click.Path(path_type=Path), help="File to write instead.")
def report(folder: Path, output: Path | None) -> None:
    """Write a run's report.html: scores, a strip of samples per problem, searchable samples."""
    from srl_eval.report import write_report

    click.echo(f"wrote {write_report(folder, output)}")


@click.command("compare")
@click.argument("folders", type=FOLDER, nargs=-1, required=True)
@click.option(
    "--output-dir", type=FOLDER, help="Folder for compare.md, compare.html and compare.json."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON in the place of tables.")
def compare(folders: tuple[Path, ...], output_dir: Path | None, *, as_json: bool) -> None:
    """Put runs side by side, with differences to the first, paired by problem.

    A folder is a run, or has several runs of one model within; each task is a table.
    """
    from rich.console import Console

    from srl_data.command.errors import ConfigError
    from srl_eval.compare import compare_all
    from srl_eval.comparison_display import show_comparison
    from srl_eval.comparison_files import encoded, write_comparison

    if len(folders) < 2:
        raise ConfigError("compare needs at least two folders")
    found = compare_all(folders)
    if as_json:
        click.echo(encoded(found), nl=False)
    else:
        show_comparison(found, Console())
    if output_dir is not None:
        write_comparison(found, output_dir)
        click.echo(f"wrote {output_dir}/compare.md, compare.html and compare.json", err=as_json)


@click.command("rescore")
@click.argument("folder", type=FOLDER)
@click.option("--grader", help="Another grader than the run's own.")
@click.option("--summary", type=click.Path(path_type=Path), help="Flat JSON file to write as well.")
def rescore(folder: Path, grader: str | None, summary: Path | None) -> None:
    """Judge a run's stored responses again, without generating."""
    from rich.console import Console

    from srl_eval.display import show_metrics
    from srl_eval.finished import read_run
    from srl_eval.finished import rescore as judge_folder
    from srl_eval.summary import check_summary, write_summary

    check_summary(summary, folder)
    done = judge_folder(folder, grader)
    if summary is not None:
        write_summary(summary, done.metrics, read_run(folder).identity)
    show_metrics(done.metrics, Console())
    click.echo(f"{len(done.changed)} verdicts changed")
    for old, new in done.changed[:20]:
        was, now = (f"{s.verdict} ({s.extracted})" for s in (old, new))
        click.echo(f"  {old.id} sample {old.sample}, gold {old.gold}: {was} is now {now}")
