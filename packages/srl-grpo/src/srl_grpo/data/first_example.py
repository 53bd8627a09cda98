"""The first example that supervised fine-tuning would train on, as `sft --dry-run` shows it.

Nothing is fetched: a model or data that is not on this machine is named as missing.
"""

from pathlib import Path

from srl_data.first_prompt import stop_texts
from srl_data.prompt_format import PromptFormat, open_prompts
from srl_data.prompt_record import chat_options
from srl_data.prompts import Template
from srl_data.splits import is_local
from srl_eval.config import EvalConfig
from srl_eval.first_prompt import is_here
from srl_grpo.config.sft import SftConfig
from srl_grpo.data.examples import Example, kind_of_data, load_examples, record_kind
from srl_grpo.data.training_template import has_chat_template, training_template, with_template


def sft_first_example(
    config: SftConfig, resumed: Path | None = None
) -> tuple[SftConfig, list[str]]:
    """The config with its template, and the first example line by line.

    `resumed` is the folder of a run to continue. Raises what opening the model or reading the data
    does.
    """
    if config.model.build is None and not is_here(evaluation_of(config).model):
        return config, [f"# first example: not shown, model {config.model.path!r} is not here"]
    if not is_local(str(config.data.path)):
        return config, [f"# first example: not shown, {config.data.path} is not on this machine"]
    is_chat = has_chat_template(config.data, config.model)
    kind = record_kind(kind_of_data(config.data), has_chat_template=is_chat)
    chosen = training_template(config, kind, resumed)
    prompts, stops = format_of(config, chosen.template)
    notes: list[str] = [chosen.note] if chosen.note else []
    found = load_examples(config.data, "train", prompts, stops[0], notes.append, 1)
    assert found is not None
    lines = example_lines(prompts, found.examples[0], stops)
    return with_template(config, chosen.template), [*lines, *(f"# note: {one}" for one in notes)]


def example_lines(prompts: PromptFormat, example: Example, stops: tuple[int, ...]) -> list[str]:
    """Prompt and response of an example."""
    through = "through the chat template" if prompts.chat.is_chat else "without a chat template"
    size, name = len(example.prompt_ids), prompts.chat.name
    response = str(prompts.tokenizer.decode(list(example.response_ids), skip_special_tokens=False))
    return [
        f"# first prompt, of {example.id!r}: {size} tokens {through} of {name}",
        *as_comments(example.text),
        f"# its response: {len(example.response_ids)} tokens",
        *as_comments(response),
        f"# an answer ends with: {stop_texts(prompts.tokenizer, stops)}",
        *(f"# note: {note}" for note in prompts.notes),
    ]


def as_comments(text: str) -> list[str]:
    """A text as comments of YAML."""
    return [f"# | {line}".rstrip() for line in text.split("\n")]


def evaluation_of(config: SftConfig) -> EvalConfig:
    """The same model and chat template as an evaluation names them."""
    tree = {
        "model": {"model": config.model.path, "revision": config.model.revision},
        "prompt": {
            "chat_template": config.data.chat_template,
            "chat_template_kwargs": config.data.chat_template_kwargs,
        },
    }
    return EvalConfig.model_validate(tree)


def format_of(config: SftConfig, template: Template) -> tuple[PromptFormat, tuple[int, ...]]:
    """How the model is prompted, and what ends an answer."""
    if config.model.build is not None:
        from srl_grpo.toy.characters import CharacterCoder, alphabet_named, character_core

        tokenizer = CharacterCoder(character_core(alphabet_named(config.model.build.alphabet)))
        name, options = "the model made on the spot", chat_options(config.data)
        return open_prompts(tokenizer, template, options, name), (0,)
    from srl_eval.models import open_subject

    subject = open_subject(evaluation_of(config), template=template)
    return subject.prompts, subject.stop_token_ids
