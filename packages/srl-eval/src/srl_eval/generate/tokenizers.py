"""A model's tokenizer, as its own files say, and the checks that text survives it.

transformers 5 builds the tokenizers of some model types anew and leaves out what tokenizer.json
says, so that a byte-level vocabulary under a Llama label loses every space. What comes out is
compared with the folder's tokenizer.json, which counts. Rendering prompts is left out.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from srl_data.command.errors import DataError
from srl_eval.generate.architectures import reason
from srl_eval.generate.folders import ModelSource
from srl_eval.generate.text import Decoder
from srl_eval.generate.weights import quiet_transformers

if TYPE_CHECKING:
    from tokenizers import Tokenizer as RawTokenizer
    from transformers import PreTrainedTokenizerBase

Note = Callable[[str], None]
"""Shows a line to the user."""

PROBES = (
    "Problem: 852 + 296 = ?\n\nSteps so far:\n1. **Ones** 2+6=8\n2. 5 + 9 = 14, carry 1\n",
    "    def f(x):\n\treturn x**2  # two  spaces, a tab\n",
    "Let $x^2 \\le \\frac{3}{4}$; then \\boxed{12}. It's naïve, 第一步: “é” → ½\n",
)
"""Texts that tell tokenizers apart: spaces, line ends, digits, mathematics, other scripts."""


class Coder(Decoder, Protocol):
    """What is asked of a tokenizer here."""

    def encode(self, text: str, /, *, add_special_tokens: bool) -> list[int]:
        """Token ids of a text."""
        ...


def load_tokenizer(source: ModelSource, note: Note) -> "PreTrainedTokenizerBase":
    """The tokenizer that the folder's tokenizer.json describes; DataError where none can be had.

    Where transformers rebuilds it as another one, tokenizer.json is read as it stands, with a note.
    """
    raw = stored_tokenizer(source)
    if raw is None and has_no_vocabulary(source):
        raise no_tokenizer(source)
    failure: DataError | None = None
    try:
        tokenizer = open_tokenizer(source, as_stored=False)
    except DataError as error:
        if raw is None:
            raise
        failure = error
    else:
        if raw is None and not tokenizer.encode(PROBES[0], add_special_tokens=False):
            raise no_tokenizer(source)
        if raw is None or not disagreement(tokenizer, raw):
            return tokenizer
    stored = open_tokenizer(source, as_stored=True, failure=failure)
    assert raw is not None
    wrong = disagreement(stored, raw)
    if wrong is not None:
        raise DataError(
            f"the tokenizer of {source.name!r} cannot be trusted: transformers reads {wrong!r} as "
            "other ids than its tokenizer.json does; the model would see other text"
        )
    note(
        f"transformers would rebuild the tokenizer of {source.name} as another one; "
        "its tokenizer.json is read as it stands"
    )
    return stored


def has_no_vocabulary(source: ModelSource) -> bool:
    """Whether a local folder has no file that a tokenizer could be made of."""
    if source.folder is None:
        return False
    names = [path.name for path in source.folder.iterdir()]
    return not any(_VOCABULARY.search(name) for name in names)


_VOCABULARY = re.compile(
    r"vocab|tokenizer\.json$|merges|tekken|\.(model|bpe|tiktoken|spm)$", re.IGNORECASE
)


def no_tokenizer(source: ModelSource) -> DataError:
    """The error for a model that came without its tokenizer."""
    return DataError(
        f"model {source.name!r} has no tokenizer, such as a tokenizer.json: copy the tokenizer's "
        "files from the model that it was made from"
    )


def open_tokenizer(
    source: ModelSource, *, as_stored: bool, failure: DataError | None = None
) -> "PreTrainedTokenizerBase":
    """The tokenizer as transformers' registry makes it, or from tokenizer.json `as_stored`."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    maker = PreTrainedTokenizerFast if as_stored else AutoTokenizer
    try:
        with quiet_transformers():
            made: PreTrainedTokenizerBase = maker.from_pretrained(
                source.name, trust_remote_code=False, **source.fetching
            )
            # Else decoding takes the space out of "= ?", and rewards read what was not written.
            made.clean_up_tokenization_spaces = False
            return made
    except Exception as error:  # whatever a foreign folder brings about
        if failure is not None:
            raise failure from error
        raise DataError(f"cannot load the tokenizer of {source.name!r}: {reason(error)}") from error


def stored_tokenizer(source: ModelSource) -> "RawTokenizer | None":
    """tokenizer.json as the tokenizers library reads it; None where the model has none."""
    from tokenizers import Tokenizer as RawTokenizer

    path = stored_file(source)
    if path is None:
        return None
    try:
        raw = RawTokenizer.from_file(str(path))
    except Exception as error:  # the library has no class of its own for it
        raise DataError(f"{path} is damaged: {reason(error)}") from error
    raw.no_truncation()
    raw.no_padding()
    return raw


def stored_file(source: ModelSource) -> Path | None:
    """Where tokenizer.json lies, fetched from the hub if need be."""
    if source.folder is not None:
        path = source.folder / "tokenizer.json"
        return path if path.is_file() else None
    from transformers.utils.hub import cached_file

    try:
        found = cached_file(
            source.name,
            "tokenizer.json",
            revision=source.revision or "main",
            cache_dir=source.cache_dir,
            _raise_exceptions_for_missing_entries=False,
        )
    except OSError as error:
        raise DataError(f"cannot load the tokenizer of {source.name!r}: {reason(error)}") from error
    return Path(found) if isinstance(found, str) else None


def disagreement(tokenizer: "PreTrainedTokenizerBase", raw: "RawTokenizer") -> str | None:
    """The first text that the two encode differently; None where they agree."""
    for text in probes(raw):
        try:
            ids = tokenizer.encode(text, add_special_tokens=False)
        except Exception:  # noqa: BLE001 - a vocabulary rebuilt without its parts fails in any way
            return text
        if ids != raw_ids(raw, text):
            return text
    return None


def raw_ids(raw: "RawTokenizer", text: str) -> list[int]:
    """Ids of `text` without tokens put around it."""
    ids: list[int] = raw.encode(text, add_special_tokens=False).ids
    return ids


def probes(raw: "RawTokenizer") -> Iterator[str]:
    """Texts to compare: the fixed ones, and each added token between words."""
    yield from PROBES
    for token in list(raw.get_added_tokens_decoder().values())[:_MARKS]:
        yield f"a{token.content}b\n{token.content}"


_MARKS = 256
"""Added tokens that are compared; some vocabularies hold thousands of reserved ones."""


def check_round_trip(tokenizer: Coder, text: str, name: str) -> None:
    """DataError where `text`, encoded and decoded, does not come back (`comes_back`)."""
    ids = tokenizer.encode(text, add_special_tokens=False)
    back = str(tokenizer.decode(ids, skip_special_tokens=False))
    if comes_back(text, back):
        return
    raise DataError(
        f"the tokenizer of {name!r} does not give back the first prompt: {difference(text, back)}; "
        "the model would see other text than it was asked"
    )


def difference(text: str, back: str) -> str:
    """Where a text comes out of a tokenizer otherwise than it went in."""
    before, after = plain(text), plain(back)
    pairs = enumerate(zip(before, after, strict=False))
    place = next((i for i, (a, b) in pairs if a != b), min(len(before), len(after)))
    return f"{around(before, place)!r} comes back as {around(after, place)!r}"


def comes_back(text: str, back: str) -> bool:
    """Whether `text`, encoded and decoded to `back`, is the same.

    What tokenizers do by design is let pass: a space put before the first word, a Unicode normal
    form (NFC, NFKC), small letters where the vocabulary knows no others. Spaces and line ends
    between words must survive.
    """
    return plain(back) in (plain(text), plain(text).lower())


def plain(text: str) -> str:
    """`text` in Unicode's compatible form, without the space that some tokenizers put first."""
    return unicodedata.normalize("NFKC", text).removeprefix(" ")


def around(text: str, place: int) -> str:
    """The part of a text about `place`."""
    return text[max(0, place - 12) : place + 24]


def check_marks(tokenizer: "PreTrainedTokenizerBase", name: str) -> None:
    """DataError where a mark of the chat template, between words, is not read as its one token."""
    template = tokenizer.chat_template
    # Whatever else a tokenizer's file calls a template is told where it would be rendered.
    texts = template.values() if isinstance(template, dict) else (template,)
    whole = "".join(text for text in texts if isinstance(text, str))
    for token, number in tokenizer.get_added_vocab().items():
        if token in whole and number not in tokenizer.encode(
            f"a{token}b", add_special_tokens=False
        ):
            raise DataError(
                f"the tokenizer of {name!r} does not read its chat template's {token!r} as the one "
                f"token {number}"
            )


def check_ids(tokenizer: "PreTrainedTokenizerBase", rows: int, name: str) -> None:
    """DataError where the tokenizer has ids that the embedding, of `rows` rows, has not.

    A padding token may be beyond, since `padding_id` then takes another, and so may placeholders of
    images and sounds, which some text-only members of a family carry along.
    """
    pad = tokenizer.pad_token_id
    beyond = {
        number: token
        for token, number in tokenizer.get_vocab().items()
        if number >= rows and number != pad and not _PLACEHOLDER.search(token)
    }
    if beyond:
        first = min(beyond)
        raise DataError(
            f"the tokenizer of {name!r} has {len(beyond)} tokens that the model has no embedding "
            f"for: its {rows} rows end before {beyond[first]!r}, id {first}; train with "
            "--resize-embeddings if new tokens are meant, else take the model's own tokenizer"
        )


_PLACEHOLDER = re.compile(r"^<\W?(image|audio|video|vision|boi|eoi|boa|eoa)", re.IGNORECASE)


def longest_id(tokenizer: "PreTrainedTokenizerBase") -> int:
    """The highest id that the tokenizer can give."""
    return max(tokenizer.get_vocab().values())


def padding_id(tokenizer: "PreTrainedTokenizerBase", rows: int) -> int:
    """The id that fills rows: the padding token's where the embedding has it, else the end token's.

    Padding is never attended to, so that any row of the embedding does.
    """
    for found in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if isinstance(found, int) and 0 <= found < rows:
            return found
    return 0
