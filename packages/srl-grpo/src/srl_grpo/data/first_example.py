"""The first example that supervised fine-tuning would train on, as `sft --dry-run` shows it."""

from srl_grpo.config.sft import SftConfig


def sft_first_example(config: SftConfig) -> list[str]:
    """Its prompt and response, line by line as comments; why not, where it is not here."""
    return []
