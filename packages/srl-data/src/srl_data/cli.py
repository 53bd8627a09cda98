"""The command line of `srl-data`: parse, validate, call one function."""

import rich_click as click

from srl_data.command import run
from srl_data.flags import configured, print_plan
from srl_data.synth import SynthConfig, synth


@click.group()
@click.version_option(package_name="srl-data")
def cli() -> None:
    """Expert solutions in, step-by-step training instances out."""


@cli.group("synth")
def synth_group() -> None:
    """Make data without a download."""


@synth_group.command("arithmetic")
@configured(SynthConfig)
def synth_arithmetic(config: SynthConfig, dry_run: bool) -> None:
    """Column arithmetic with numbered expert steps.

    Writes training instances to --output and, beside them, instances (.val) and answer keys
    (.eval) of held-out problems, supervised pairs (.warmup) if asked for, and manifests.
    """
    config.resolved_difficulty()
    if dry_run:
        print_plan(config, f"write {config.num_problems} problems' instances to {config.output}")
        return
    for path, manifest in synth(config).items():
        click.echo(f"{path}: {manifest.records} records")


def main() -> None:
    """Entry point of the console script."""
    run(cli, "srl-data")
