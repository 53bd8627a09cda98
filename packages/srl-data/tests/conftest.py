"""Hypothesis without deadlines on shared machines, and a chat server on loopback."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from srl_data.loopback import LoopbackServer

settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")


@pytest.fixture
def chat_server() -> Iterator[LoopbackServer]:
    """A server that answers until the test ends."""
    with LoopbackServer().running() as server:
        yield server
