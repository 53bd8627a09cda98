"""The tokenizer of models made on the spot: characters and marks, a token each.

The tokenizers library's alone, so that a dry run can count tokens without loading torch.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from srl_data import arithmetic, chain

END, PAD = "<|end|>", "<|pad|>"

ALPHABETS = {
    "arithmetic": (*arithmetic.PIECES, *arithmetic.ALPHABET),
    "chain": (*chain.PIECES, *chain.ALPHABET),
}
"""The tokens of each shipped alphabet: strings worth one token, then single characters."""


def character_core(alphabet: list[str]) -> Tokenizer:
    """A tokenizer whose tokens are the end mark (0), the padding (1) and the alphabet's entries."""
    vocabulary = {token: number for number, token in enumerate([END, PAD, *alphabet])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=PAD))
    longest_first = sorted(alphabet, key=len, reverse=True)
    pattern = "|".join(escape(token) for token in longest_first)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def escape(token: str) -> str:
    """`token` as a pattern of Oniguruma, the tokenizers library's regex engine."""
    return "".join(c if c.isalnum() or c.isspace() else f"\\{c}" for c in token)


def alphabet_named(name: str) -> list[str]:
    """The tokens of a shipped alphabet."""
    return list(ALPHABETS[name])


@dataclass(frozen=True)
class CharacterCoder:
    """What a prompt asks of a tokenizer, over `character_core`."""

    core: Tokenizer
    chat_template: None = None
    bos_token_id: None = None

    @property
    def apply_chat_template(self) -> Callable[..., object]:
        """Never called: there is no chat template."""
        raise AttributeError("a model made on the spot has no chat template")

    def encode(self, text: str, /, *, add_special_tokens: bool) -> list[int]:
        """Token ids of a text."""
        ids: list[int] = self.core.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def decode(self, token_ids: list[int], /, *, skip_special_tokens: bool) -> str:
        """The text of token ids."""
        text: str = self.core.decode(token_ids, skip_special_tokens=skip_special_tokens)
        return text
