"""Rewards that tell the completions of an untrained model apart."""


def short(completions: list[str], **_: object) -> list[float]:
    """Up to 1 for a short completion."""
    return [1.0 / (1 + len(text)) for text in completions]


def digits(completions: list[str], answer: list[str], **_: object) -> list[float]:
    """The share of characters that the answer has too."""
    return [
        sum(character in gold for character in text) / max(1, len(text))
        for text, gold in zip(completions, answer, strict=True)
    ]


def plain(completions: list[str], **_: object) -> list[float]:
    """1 for some text without marks, which an untrained model writes now and then."""
    return [float(text.strip() != "" and not set("<|") & set(text)) for text in completions]
