"""A user's text that spells a model's control tokens: read as text, never as control tokens.

A problem that holds `<|im_end|>` would end the user's turn. `ControlTokens` puts a stand-in
character for such a token before rendering; encoding splits the token's text in two, so that no
tokenizer sees it whole. What our own templates write keeps the tokens it has.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from srl_data.chat import Tokenizer
from srl_data.command.errors import DataError
from srl_reward.thinking_marks import CLOSING, OPENING

FIRST_STAND_IN = 0xF0000
"""The first code point of a plane that no script uses."""

STAND_IN = re.compile(f"[{chr(FIRST_STAND_IN)}-{chr(FIRST_STAND_IN + 0xFFFD)}]")


@dataclass(frozen=True)
class ControlTokens:
    """The control tokens of a tokenizer: their texts, the longest first, and their ids."""

    texts: tuple[str, ...] = ()
    ids: frozenset[int] = frozenset()

    def shield(self, value: object) -> object:
        """A column's value with a stand-in for each control token in its texts.

        Raises DataError for a text that holds a stand-in's character itself.
        """
        if isinstance(value, str):
            return self._shield_text(value)
        if isinstance(value, Mapping):
            return {key: self.shield(item) for key, item in value.items()}
        if isinstance(value, Sequence):
            return [self.shield(item) for item in value]
        return value

    def written_out(self, text: str) -> str:
        """A rendered text with the tokens' own texts for their stand-ins."""
        return STAND_IN.sub(lambda match: self._text_of(match.group()) or match.group(), text)

    def shielded(self, text: str) -> tuple[str, ...]:
        """The control tokens that a rendered text has stand-ins for, each once."""
        found = filter(None, map(self._text_of, STAND_IN.findall(text)))
        return tuple(dict.fromkeys(found))

    def encode(self, text: str, tokenizer: Tokenizer) -> list[int]:
        """Token ids of a rendered text, stand-ins read as the texts that they stand for.

        Raises DataError where the tokenizer makes a control token of one all the same.
        """
        segments, start = [""], 0
        for match in STAND_IN.finditer(text):
            token = self._text_of(match.group()) or match.group()
            segments[-1] += text[start : match.start()] + token[:1]
            segments.append(token[1:])
            start = match.end()
        segments[-1] += text[start:]
        ids = [i for part in segments for i in tokenizer.encode(part, add_special_tokens=False)]
        if len(segments) > 1:
            self._check(text, ids, tokenizer)
        return ids

    def _check(self, text: str, ids: Sequence[int], tokenizer: Tokenizer) -> None:
        """Only what the template itself wrote may have become control tokens."""
        wanted = tokenizer.encode(STAND_IN.sub("x", text), add_special_tokens=False)
        if self._count(ids) != self._count(wanted):
            raise DataError(
                f"the text spells {', '.join(map(repr, self.shielded(text)))}, which this "
                "tokenizer reads as control tokens; take it out"
            )

    def _count(self, ids: Sequence[int]) -> Counter[int]:
        return Counter(i for i in ids if i in self.ids)

    def _shield_text(self, text: str) -> str:
        if self.texts and (found := STAND_IN.search(text)):
            raise DataError(
                f"the text holds the private character U+{ord(found.group()):X}, which no script "
                "uses and which stands for control tokens here; take it out"
            )
        return self._pattern.sub(self._stand_in, text) if self.texts else text

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, self.texts)))

    def _stand_in(self, match: re.Match[str]) -> str:
        return chr(FIRST_STAND_IN + self.texts.index(match.group()))

    def _text_of(self, char: str) -> str | None:
        number = ord(char) - FIRST_STAND_IN
        return self.texts[number] if 0 <= number < len(self.texts) else None


def control_tokens(tokenizer: Tokenizer, template: str | None) -> ControlTokens:
    """The added tokens that are control tokens, not ordinary text such as runs of white space.

    Those are the special ones, those that the chat template writes, and marks of thinking.
    """
    found: dict[str, int] = {}
    for number, token in added_tokens(tokenizer).items():
        text = str(token)
        if len(text.strip()) < 2:
            continue
        written = template is not None and text in template
        if getattr(token, "special", False) or written or is_mark(text):
            found[text] = number
    return ControlTokens(tuple(sorted(found, key=len, reverse=True)), frozenset(found.values()))


def added_tokens(tokenizer: object) -> Mapping[int, object]:
    """The tokenizer's added tokens by their ids; none where it does not tell."""
    found = getattr(tokenizer, "added_tokens_decoder", None)
    return found if isinstance(found, Mapping) else {}


def is_mark(text: str) -> bool:
    """Whether a token's text opens or ends thinking."""
    return bool(OPENING.fullmatch(text) or CLOSING.fullmatch(text))
