"""Hypothesis without deadlines on shared machines, a chat server on loopback, builds."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings

from srl_data.cli import cli
from srl_data.command.frame import execute
from srl_data.loopback import LoopbackServer

settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")


@pytest.fixture
def chat_server() -> Iterator[LoopbackServer]:
    """A server that answers until the test ends."""
    with LoopbackServer().running() as server:
        yield server


Called = Callable[..., tuple[int, str, str]]


@pytest.fixture
def srl_data(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Called:
    """Runs a command in an empty folder: its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*argv: object) -> tuple[int, str, str]:
        code = execute(cli, "srl-data", list(map(str, argv)))
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def build(srl_data: Called) -> Called:
    """Runs `srl-data build …`."""
    return partial(srl_data, "build")
