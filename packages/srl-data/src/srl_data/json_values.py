"""The values of a JSON array one by one, so that a file of any length needs the memory of one.

Left out: what the values are; JSON Lines, which are `srl_data.records`'.
"""

import codecs
import json
from collections.abc import Iterator
from typing import BinaryIO

from srl_data.records import MAX_LINE_BYTES, TOO_DEEP, json_fault

CHUNK = 1 << 16
SPACE = " \t\n\r"
NUMBER_MARKS = 3
"""The most characters between two digits of a number: `e-`, and the digit itself."""


class JsonArray:
    """A JSON array as it is read; ValueError naming the item where it is not one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._scan = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0
        self._ended = False
        self._count = 0

    def __iter__(self) -> Iterator[object]:
        """The items, in order."""
        if self._next() != "[":
            raise ValueError("expected an array of objects at the top")
        self._at += 1
        if self._next() == "]":
            self._at += 1
        else:
            yield from self._items()
        if self._next():
            raise ValueError(f"more text after the array's end: {self._text[self._at :][:20]!r}")

    def _items(self) -> Iterator[object]:
        while True:
            yield self._item()
            self._count += 1
            mark = self._next()
            self._at += 1
            if mark == "]":
                return
            if mark != ",":
                what = repr(mark) if mark else "the end of the file"
                raise ValueError(f"expected , or ] after item {self._count}, found {what}")

    def _next(self) -> str:
        """The next character that is no white space; empty at the end of the file."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more(CHUNK):
                return ""

    def _item(self) -> object:
        """The next value, with as much of the file read as it takes."""
        self._next()
        while True:
            try:
                value, end = self._scan(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._ended:
                    raise ValueError(f"item {self._count + 1}: {json_fault(error)}") from error
                self._more(max(CHUNK, len(self._text) - self._at))
                continue
            except RecursionError as error:
                raise ValueError(f"item {self._count + 1} is {TOO_DEEP}") from error
            # A number may go on behind what was read of it: 1 of 1.5, 1 of 1e-5.
            if self._ended or end + NUMBER_MARKS < len(self._text):
                self._at = end
                return value
            self._more(CHUNK)

    def _more(self, size: int) -> bool:
        """Read on; False at the end of the file."""
        if self._ended:
            return False
        if len(self._text) - self._at > MAX_LINE_BYTES:
            raise ValueError(f"item {self._count + 1} is longer than {MAX_LINE_BYTES} characters")
        block = self._file.read(size)
        self._ended = not block
        try:
            text = self._decode.decode(block, final=self._ended)
        except UnicodeDecodeError as error:
            raise ValueError(f"not UTF-8, near item {self._count + 1}") from error
        self._text, self._at = self._text[self._at :] + text, 0
        return bool(text) or not self._ended
