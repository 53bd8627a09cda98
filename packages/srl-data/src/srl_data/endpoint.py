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


@dataclass(frozen=True)
class Endpoint:
    """Where a server is and how it is asked."""

    base_url: str
    """With its version, e.g. `https://api.deepseek.com/v1`."""
    timeout: float = 600.0
    """Seconds in which an answer must be whole."""
    attempts: int = 6
    first_delay: float = 1.0
    """Seconds before the second attempt, about; doubled each time."""
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
    return url.rstrip("/")


def key_variable_of(base_url: str) -> str:
    """The environment variable that holds the key of a host."""
    return KEY_VARIABLES.get(urlsplit(base_url).hostname or "", OTHER_KEY)


def key_from_environment(variable: str) -> str | None:
    """The key, None for none; ConfigError where it cannot stand in a header."""
    key = os.environ.get(variable, "").strip()
    if not all("!" <= character <= "~" for character in key):
        raise ConfigError(f"{variable} holds white space or characters that no key has")
    return key or None
