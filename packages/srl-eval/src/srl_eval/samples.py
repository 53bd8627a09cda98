"""results.jsonl: one sample per line, appended chunk by chunk, and taken up again after a break.

A chunk is written in one piece and synced. What a break leaves behind is cut back to whole chunks,
and those are believed only if their lines are the work list's; so an interrupted and resumed run
ends with the very bytes of an unbroken one.
"""

import fcntl
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from srl_data.command.errors import ConfigError, DataError
from srl_data.records import encode_object
from srl_eval.generate.sampling import FinishReason
from srl_eval.grading import Verdict


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One answer to be had: `doc` the problem's place, `sample` the number of the answer to it."""

    doc: int
    id: str
    sample: int
    seed: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of results.jsonl.

    `prompt_sha256` is of the prompt's token ids. `extracted` is what the grader found, None where
    there was nothing. `steps` is the number of steps of a stepwise answer, 1 otherwise;
    `answer_text` is what an answer was looked for in, None where that is the whole response;
    `bare` whether that text is the answer itself; `reason` why an answer is ungradable;
    `in_grammar` whether the response is in the grammar of the prompt template, None where that has
    none.
    """

    task: str
    id: str
    doc: int
    sample: int
    seed: int
    prompt_sha256: str
    response: str
    extracted: str | None
    gold: str
    verdict: Verdict
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    steps: int
    answer_text: str | None = None
    reason: str | None = None
    bare: bool = False
    in_grammar: bool | None = None

    @property
    def in_format(self) -> bool:
        """Whether the answer is in the right format: the grammar's, else where a grader looks."""
        return self.extracted is not None if self.in_grammar is None else self.in_grammar


def encode_sample(sample: Sample) -> bytes:
    """A line of UTF-8 JSON."""
    return encode_object(asdict(sample))


def decode_sample(line: bytes) -> Sample:
    """The sample of a line; ValueError where it is none."""
    try:
        fields = json.loads(line)
        return Sample(**{**fields, "verdict": Verdict(fields["verdict"])})
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"no sample: {error}") from error


def read_samples(path: Path) -> list[Sample]:
    """All samples of a finished results.jsonl; DataError naming a bad line."""
    samples: list[Sample] = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        try:
            samples.append(decode_sample(line))
        except ValueError as error:
            raise DataError(f"{path}:{number}: {error}") from error
    return samples


class SampleLog:
    """The results.jsonl of a run that is under way."""

    def __init__(self, path: Path, work: Sequence[WorkItem], chunk_size: int) -> None:
        self._path, self._work, self._chunk_size = path, work, chunk_size
        self.samples: list[Sample] = []
        self._file: BinaryIO | None = None

    def resume(self) -> int:
        """Take up what whole chunks there are, cut the rest away; the number of samples kept."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            kept = self._whole_lines()
            self.samples = [self._believe(n, line) for n, line in enumerate(kept)]
            self._file.truncate(sum(map(len, kept)))
        except BlockingIOError as error:
            self.close()
            raise ConfigError(f"another run is writing {self._path}; wait for it") from error
        except DataError:
            self.close()
            raise
        return len(kept)

    def _whole_lines(self) -> list[bytes]:
        """Lines of the chunks that are whole; the last chunk of the work list may be short."""
        lines = self._path.read_bytes().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        if len(lines) >= len(self._work):
            return lines[: len(self._work)]
        return lines[: len(lines) // self._chunk_size * self._chunk_size]

    def _believe(self, number: int, line: bytes) -> Sample:
        item = self._work[number]
        try:
            sample = decode_sample(line)
            if (sample.id, sample.sample, sample.seed) != (item.id, item.sample, item.seed):
                raise ValueError(f"not sample {item.sample} of problem {item.id!r}")
        except ValueError as error:
            where = f"{self._path}:{number + 1}"
            raise DataError(f"{where}: {error}; begin again with --overwrite") from error
        return sample

    def append(self, chunk: Sequence[Sample]) -> None:
        """Write a chunk and make it durable."""
        assert self._file is not None, "resume() opens the log"
        self._file.write(b"".join(map(encode_sample, chunk)))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.samples.extend(chunk)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
