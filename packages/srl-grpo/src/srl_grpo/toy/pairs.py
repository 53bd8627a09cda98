"""The supervised pairs that a run on arithmetic begins with: the sloppy stream, written to a file.

They teach the output format and, on purpose, little more: see `srl_data.arithmetic`.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from srl_data.arithmetic import Difficulty, sloppy_stream
from srl_data.manifest import Source, write_manifest
from srl_data.records import SrlInstance, write_records
from srl_grpo.config.train import TrainConfig, WarmStartSection
from srl_reward import ParsedOutput, parse_step_output

THINKING = "thinking"
"""The key of `meta` with a pair's thinking part."""


def sloppy_instances(
    seed: int, difficulty: Difficulty, options: WarmStartSection
) -> Iterator[SrlInstance]:
    """The stream as SRL instances: the sloppy step as the target, its thought in `meta`."""
    stream = sloppy_stream(
        seed, difficulty, carry_error=options.forget_carry, digit_error=options.wrong_digit
    )
    for number, (instance, response) in enumerate(stream):
        output = parse_step_output(response)
        assert isinstance(output, ParsedOutput), response
        meta = {**instance.meta, THINKING: output.thinking}
        changes = {"id": f"{instance.id}#{number}", "target_step": output.action, "meta": meta}
        yield instance.model_copy(update=changes)


def write_pairs(path: Path, config: TrainConfig) -> None:
    """Write as many pairs as the config's supervised steps take, with their manifest."""
    options, section = config.warm_start, config.synthetic
    assert section is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    found = sloppy_instances(config.seed, section.difficulty, options)
    count = write_records(path, islice(found, options.pairs))
    write_manifest(
        path,
        command="srl-grpo train",
        source=Source(name="generator arithmetic, sloppy stream"),
        options=options.model_dump(mode="json") | {"seed": config.seed},
        counts={"records": count},
        records=count,
    )
