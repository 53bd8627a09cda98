"""Where a server is and how it is asked: address, deadlines, and the key from the environment.

Nothing here talks to a server (`http_client`), so that commands can be parsed without httpx.
"""

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from srl_data.command.errors import ConfigError

KEY_VARIABLES = {
    "api.deepseek.com": "DEEPSEEK_API_KEY",
    "api.openai.com": "OPENAI_API_KEY",
    "openrouter.ai": "OPENROUTER_API_KEY",
    "api.together.xyz": "TOGETHER_API_KEY",
}
"""Where the keys of hosts are looked for; those of other hosts in `OTHER_KEY`."""
OTHER_KEY = "SRL_DATA_API_KEY"
STAND_IN_KEY = "DEEPSEEK_API_KEY"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Endpoint:
    """Where a server is and how it is asked."""

    base_url: str
    """With its version, e.g. `https://api.deepseek.com/v1`."""
    timeout: float = 600.0
    """Seconds in which an answer must be whole."""
    connect_timeout: float = 30.0
    """Seconds in which a connection must stand."""
    attempts: int = 6
    first_delay: float = 1.0
    """Seconds before the second attempt, about; doubled each time."""
    longest_delay: float = 120.0
    """Seconds between two attempts, whatever a server asks for."""
    most_hangs: int | None = None
    """Attempts of one request that may end at `timeout`; None for all of them."""
    broken_json_passes: bool = True
    """Whether an answer that is not JSON is asked for again."""
    key: str | None = field(default=None, repr=False)
    key_variable: str = OTHER_KEY
    """Where the key comes from, for messages."""


def check_base_url(url: str) -> str:
    """The URL; ValueError where it is none, or holds a password, which would be shown."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no address; expected http(s)://HOST[:PORT]/v1")
    if parts.username or parts.password:
        raise ValueError("holds a user or password; give the key in the environment")
    if parts.query or parts.fragment:  # may be a key, so that it is not shown
        raise ValueError("holds a query or fragment; expected http(s)://HOST[:PORT]/v1")
    return url.rstrip("/")


def key_variable_of(base_url: str) -> str:
    """The environment variable that holds the key of a host.

    A server on this machine stands in for DeepSeek's, and gets its key, where it has none itself.
    """
    host = urlsplit(base_url).hostname or ""
    if host in LOOPBACK and not os.environ.get(OTHER_KEY) and os.environ.get(STAND_IN_KEY):
        return STAND_IN_KEY
    return KEY_VARIABLES.get(host, OTHER_KEY)


def key_from_environment(variable: str) -> str | None:
    """The key, None for none; ConfigError where it cannot stand in a header."""
    key = os.environ.get(variable, "").strip()
    if not all("!" <= character <= "~" for character in key):
        raise ConfigError(f"{variable} holds white space or characters that no key has")
    return key or None
