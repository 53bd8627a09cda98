"""Expert solutions in, step-by-step training instances out; what the packages share.

Modules are the units of the API: `prompts`, `records`, `arithmetic`, `instances`, `manifest`, and
for commands `config`, `flags`, `command`, `errors`, `files`, `progress`. The names most used
elsewhere stand here.
"""

from srl_data.arithmetic import ArithmeticProblem, Difficulty, problems, sloppy_stream
from srl_data.errors import (
    CommandError,
    ConfigError,
    DataError,
    IncompleteError,
    InterruptedRunError,
)
from srl_data.instances import Targets, step_instance, target_indices
from srl_data.prompts import (
    TEMPLATE_FILE,
    Message,
    Template,
    encode,
    get_template,
    read_template,
    render,
    write_template,
)
from srl_data.records import (
    PromptAnswer,
    Record,
    SftPair,
    SrlInstance,
    read_records,
    write_records,
)

__all__ = [
    "TEMPLATE_FILE",
    "ArithmeticProblem",
    "CommandError",
    "ConfigError",
    "DataError",
    "Difficulty",
    "IncompleteError",
    "InterruptedRunError",
    "Message",
    "PromptAnswer",
    "Record",
    "SftPair",
    "SrlInstance",
    "Targets",
    "Template",
    "encode",
    "get_template",
    "problems",
    "read_records",
    "read_template",
    "render",
    "sloppy_stream",
    "step_instance",
    "target_indices",
    "write_records",
    "write_template",
]
