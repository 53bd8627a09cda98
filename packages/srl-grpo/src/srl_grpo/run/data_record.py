"""What a run's training data are, as its `sys/data.json` keeps it for the report.

The counts of what overlapped with evaluation sets come from the manifest beside the data.
"""

from collections.abc import Mapping

from srl_data.files import write_json
from srl_grpo.config.run import RunConfig
from srl_grpo.data.parts import open_part
from srl_grpo.run.directory import RunDirectory

NAME = "data.json"


def write_data_record(config: RunConfig, run: RunDirectory) -> None:
    """Record the training data of a run; of data made on the spot there is nothing to say."""
    if config.data.path is None:
        return
    source = open_part(config.data, "train")
    assert source is not None, "there is something to train on"
    write_json(run.environment / NAME, source.origin.model_dump(mode="json"))


def overlaps_of(record: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """By evaluation set, of a record that was read; empty where the data were never compared."""
    found = record.get("decontamination")
    sets = found.items() if isinstance(found, dict) else ()
    return {str(name): each for name, each in sets if isinstance(each, dict)}
