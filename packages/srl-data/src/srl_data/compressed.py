"""Compressed files as the plain bytes in them: gzip, zstandard, bzip2, xz, by their first bytes.

Bytes are unpacked as they are read. A file that was cut off is an error, never a shorter file: what
`zstandard`'s own reader takes for the end is checked here.
"""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from srl_data.command.errors import DataError
from srl_data.records import open_data

CHUNK = 8 << 10
"""Packed bytes that are unpacked at a time: a bound on what a hostile file can make of them."""
SUFFIXES = (".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz")
"""Endings of compressed files."""
DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError)


class ZstdReader(io.RawIOBase):
    """The bytes of one or more zstandard frames; EOFError where the last one is cut off."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._packed = b""
        self._plain = memoryview(b"")

    def readable(self) -> bool:
        """It is for reading."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill `buffer` as far as there is something; 0 at the end."""
        while not self._plain:
            if not self._unpack():
                return 0
        view = memoryview(cast(bytearray, buffer))
        count = min(len(view), len(self._plain))
        view[:count] = self._plain[:count]
        self._plain = self._plain[count:]
        return count

    def _unpack(self) -> bool:
        """Unpack the next bytes; False at the end of the file."""
        packed = self._packed or self._file.read(CHUNK)
        if not packed:
            if self._frame is not None:
                raise EOFError("the file ends in the middle of a zstandard frame")
            return False
        if self._frame is None:
            self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._plain = memoryview(self._frame.decompress(packed))
        self._packed = b""
        if self._frame.eof:
            self._packed, self._frame = self._frame.unused_data, None
        return True


def open_zstd(file: BinaryIO) -> BinaryIO:
    """A zstandard file's plain bytes."""
    return cast(BinaryIO, io.BufferedReader(ZstdReader(file), 1 << 17))


OPENERS: dict[bytes, Callable[[BinaryIO], BinaryIO]] = {
    b"\x1f\x8b": lambda file: cast(BinaryIO, gzip.GzipFile(fileobj=file)),
    b"\x28\xb5\x2f\xfd": open_zstd,
    b"BZh": lambda file: cast(BinaryIO, bz2.BZ2File(file)),
    b"\xfd7zXZ\x00": lambda file: cast(BinaryIO, lzma.LZMAFile(file)),  # noqa: SIM115 - who calls it closes it
}
"""How a file is unpacked, by its first bytes."""


def opener_of(file: BinaryIO) -> Callable[[BinaryIO], BinaryIO] | None:
    """How the file is unpacked; None where it is not compressed. Nothing of it is taken."""
    start = file.peek(6) if isinstance(file, io.BufferedReader) else b""  # a pipe cannot seek
    return next((opener for magic, opener in OPENERS.items() if start.startswith(magic)), None)


@contextmanager
def plain_bytes(path: Path) -> Iterator[BinaryIO]:
    """A file's bytes, unpacked where it is compressed.

    DataError where it cannot be opened, and where it proves damaged within the block.
    """
    with open_data(path) as file:
        opener = opener_of(file)
        try:
            if opener is None:
                yield file
            else:
                with opener(file) as plain:
                    yield plain
        except DAMAGE as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            msg = f"{path}: damaged or cut off ({reason}); fetch the file again"
            raise DataError(msg) from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise DataError(f"{path}: damaged ({error}); fetch the file again") from error  # bz2's
