"""Which tokens end a completion: one rule for training and evaluation.

All that a model names: the end tokens of its tokenizer, its configuration and its generation
configuration, and the end of a turn as its chat template writes it (`srl_data.turn_end`).
"""

from collections.abc import Iterable


def stop_token_ids(sources: Iterable[object], turn_end: Iterable[int] = ()) -> tuple[int, ...]:
    """The end tokens that `sources` name, and `turn_end`; sorted, each once.

    A source is anything with an `eos_token_id`: a tokenizer, a configuration, also a composite one
    whose text part names it.
    """
    found = set(turn_end)
    for source in sources:
        found |= end_tokens(source)
        text_part = getattr(source, "get_text_config", None)
        if text_part is not None:
            found |= end_tokens(text_part(decoder=True))
    return tuple(sorted(found))


def end_tokens(source: object) -> set[int]:
    """The ids in a source's `eos_token_id`: one, several or none."""
    value = getattr(source, "eos_token_id", None)
    values = value if isinstance(value, list | tuple) else [value]
    return {item for item in values if isinstance(item, int) and not isinstance(item, bool)}
