"""The prompt template of a run: the config's, else the checkpoint's own, else that of the records.

Left out: what a record of it holds (`srl_data.prompt_record`) and how it goes through the model's
chat template (`srl_grpo.data.prompting`).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from srl_data.command.errors import ConfigError
from srl_data.own_templates import open_template
from srl_data.prompt_record import ChatSection, PromptRecord, read_record, record_of
from srl_data.prompts import Template
from srl_data.template_choice import ChosenTemplate, choose_template, recorded_template
from srl_grpo.config.run import C, RunConfig
from srl_grpo.config.sections import ModelSection
from srl_grpo.data.record_kinds import SRL, RecordKind

if TYPE_CHECKING:  # a dry run loads no torch
    from srl_grpo.learner.distributed import World


def has_chat_template(data: ChatSection, model: ModelSection) -> bool:
    """Whether prompts can go through a chat template: one that is given, or the tokenizer's own."""
    if data.chat_template != "auto" or model.path is None:
        return data.chat_template not in ("auto", "off")
    from srl_eval.generate.folders import ModelSource
    from srl_eval.generate.tokenizers import load_tokenizer

    source = ModelSource(model.path, model.revision)
    # What is noteworthy of it is told where the model is opened.
    return load_tokenizer(source, lambda _: None).chat_template is not None


def folder_of(config: RunConfig, resumed: Path | None) -> Path | None:
    """Where the prompts of a run may be recorded: what it resumes, else the model.

    `resumed` is a checkpoint, or the folder of a run that ended before its first.
    """
    if resumed is not None:
        return resumed
    folder = Path(config.model.path) if config.model.path else None
    return folder if folder is not None and folder.is_dir() else None


def recorded_prompts(config: RunConfig, resumed: Path | None) -> PromptRecord | None:
    """What the folder that is `resumed` records of its prompts, else the model's folder."""
    folder = folder_of(config, resumed)
    return None if folder is None else read_record(folder)


def training_template(config: RunConfig, kind: RecordKind, resumed: Path | None) -> ChosenTemplate:
    """The template to train with; a run that is `resumed` keeps its words.

    A recorded one that does not suit the records is passed over with a note. Raises ConfigError
    where the config's own does not suit them, DataError where a recorded one cannot be had.
    """
    given, folder = config.data.template, folder_of(config, resumed)
    recorded = recorded_prompts(config, resumed)
    if folder is None or recorded is None:
        return fitting(ChosenTemplate(open_template(given or kind.template)), kind)
    if resumed is not None:
        return resumed_template(given, recorded, resumed)
    chosen = choose_template(given, recorded, folder, kind.template)
    if given is not None:
        return fitting(chosen, kind)
    if chosen.template.stepwise == (kind is SRL):
        return chosen
    note = (
        f"template {kind.template!r}: that of {folder}, {recorded.name!r}, asks for another answer "
        f"than {kind.name} hold"
    )
    return ChosenTemplate(open_template(kind.template), note)


def resumed_template(given: str | None, recorded: PromptRecord, folder: Path) -> ChosenTemplate:
    """The template of a run that is resumed: its own text, whatever its file says by now."""
    if given is not None and given != recorded.name:
        return ChosenTemplate(open_template(given))
    if recorded.function_sha256 is not None:  # a changed one is refused with all that differs
        return ChosenTemplate(open_template(recorded.name))
    template = recorded_template(folder, recorded)
    if template.text is None or not Path(recorded.name).is_file():
        return ChosenTemplate(template)
    changed = open_template(recorded.name).text != template.text
    note = f"{recorded.name} has changed; the run keeps the text that it began with"
    return ChosenTemplate(template, note if changed else None)


def fitting(chosen: ChosenTemplate, kind: RecordKind) -> ChosenTemplate:
    """A template that was asked for; ConfigError where it asks for another kind of answer."""
    template = chosen.template
    if template.name in kind.unfit or (template.stepwise and kind is not SRL):
        raise ConfigError(
            f"--template {template.name} asks for another answer than {kind.name} hold; leave it "
            f"out for {kind.template!r}, or give another that suits them"
        )
    return chosen


def same_on_all_ranks(
    config: RunConfig, kind: RecordKind, resumed: Path | None, world: "World"
) -> ChosenTemplate:
    """The template that rank 0 finds, on every rank; a user's function is loaded on each."""

    def find() -> tuple[PromptRecord, str | None]:
        chosen = training_template(config, kind, resumed)
        return record_of(chosen.template), chosen.note

    record, note = world.of_main(find)
    place = resumed or Path(config.model.path or "")
    return ChosenTemplate(recorded_template(place, record), note)


def with_template(config: C, template: Template) -> C:
    """The config with the name of the template that was chosen."""
    data = config.data.model_copy(update={"template": template.name})
    return config.model_copy(update={"data": data})
