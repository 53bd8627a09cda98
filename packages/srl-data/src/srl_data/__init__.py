"""Expert solutions in, step-by-step training instances out; what the packages share.

Modules are the units of the API: `prompts`, `own_templates`, `template_choice`, `prompt_format`,
`chat`, `records`, `arithmetic`, `instances`, `manifest`, and for commands `config`, `flags`,
`command`, `errors`, `files`, `progress`. The names most used elsewhere stand here.
"""

from srl_data.arithmetic import ArithmeticProblem, Difficulty, problems, sloppy_stream
from srl_data.command.errors import (
    CommandError,
    ConfigError,
    DataError,
    IncompleteError,
    InterruptedRunError,
)
from srl_data.instances import Targets, step_instance, target_indices
from srl_data.own_templates import open_template
from srl_data.prompt_format import Prompt, PromptFormat, open_prompts
from srl_data.prompt_record import (
    TEMPLATE_FILE,
    ChatOptions,
    PromptRecord,
    read_record,
    write_record,
)
from srl_data.prompts import Message, Template, get_template
from srl_data.records import (
    PromptAnswer,
    Record,
    SftPair,
    SrlInstance,
    read_records,
    write_records,
)
from srl_data.template_choice import ChosenTemplate, choose_template, recorded_template

__all__ = [
    "TEMPLATE_FILE",
    "ArithmeticProblem",
    "ChatOptions",
    "ChosenTemplate",
    "CommandError",
    "ConfigError",
    "DataError",
    "Difficulty",
    "IncompleteError",
    "InterruptedRunError",
    "Message",
    "Prompt",
    "PromptAnswer",
    "PromptFormat",
    "PromptRecord",
    "Record",
    "SftPair",
    "SrlInstance",
    "Targets",
    "Template",
    "choose_template",
    "get_template",
    "open_prompts",
    "open_template",
    "problems",
    "read_record",
    "read_records",
    "recorded_template",
    "sloppy_stream",
    "step_instance",
    "target_indices",
    "write_record",
    "write_records",
]
