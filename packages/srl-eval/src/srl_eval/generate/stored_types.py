"""The types in which a safetensors file stores its weights, read from its header alone.

Weights of integers or eight-bit floats are quantised, and mean nothing without their scales: cast
to floats, as transformers does where config.json names no quantisation, they compute garbage.
Integer tensors of other names, such as masks and positions, are no weights.
"""

import json
import struct
from pathlib import Path

PLAIN = frozenset({"F64", "F32", "F16", "BF16"})
"""Types whose numbers are the weights."""

_LENGTH = struct.Struct("<Q")
_LONGEST_HEADER = 100_000_000
"""Bytes; safetensors itself reads no longer one."""


def quantised_weight(path: Path) -> tuple[str, str] | None:
    """Key and type of the first weight that is not stored as plain floats; None where all are.

    None also for a file that is not a safetensors file: what loads it says so.
    """
    types = {key: dtype for key, dtype in stored_types(path).items() if key.endswith(".weight")}
    return next(((key, types[key]) for key in sorted(types) if types[key] not in PLAIN), None)


def stored_types(path: Path) -> dict[str, str]:
    """The type of each tensor by its key; empty where the header cannot be read."""
    with path.open("rb") as file:
        start = file.read(_LENGTH.size)
        length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else 0
        header = file.read(length) if length <= _LONGEST_HEADER else b""
    try:
        entries = json.loads(header)
        return {key: str(entries[key]["dtype"]) for key in entries if key != "__metadata__"}
    except (ValueError, KeyError, TypeError):
        return {}
