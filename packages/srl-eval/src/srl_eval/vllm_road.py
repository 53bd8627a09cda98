"""Where `--backend vllm` runs: on a server that is there, or in this process.

People who start vLLM first expect it to be asked; who has it installed expects it to be started.
Left out: the engines (`srl_eval.generate`).
"""

from dataclasses import dataclass

from srl_data.command.errors import ConfigError, DataError
from srl_eval.config import EvalConfig

LOCAL = "http://localhost:8000/v1"
"""Where `vllm serve` listens when it is told no port."""
_SECONDS = 2.0
_FIRST_SECONDS, _FIRST_ATTEMPTS = 30.0, 3
IN_PROCESS, ON_SERVER = "in this process", "a server"


@dataclass(frozen=True)
class Road:
    """How vLLM is reached.

    `base_url` is None in this process; `window` what a server says of its own, None for nothing;
    `passed` why the local server is not asked, None where there is none.
    """

    base_url: str | None = None
    window: int | None = None
    passed: str | None = None

    @property
    def name(self) -> str:
        """Which of the two it is, as a run's identity has it."""
        return IN_PROCESS if self.base_url is None else ON_SERVER

    def note(self, model: str) -> str:
        """Which of the two it is, for the reader."""
        if self.base_url is None:
            return f"vLLM runs in this process{f' ({self.passed})' if self.passed else ''}"
        return f"vLLM is the server at {self.base_url}, which lists {model!r}"


def find_road(config: EvalConfig) -> Road:
    """The server at --base-url, else the local one if it lists the model, else this process.

    Raises DataError where the server at --base-url does not serve the model, ConfigError where
    there is neither a server nor vLLM.
    """
    backend = config.backend
    asked = backend.served_model or config.model.name
    if backend.base_url is not None:
        return _told(backend.base_url, asked)
    found = _local(asked)
    if found.base_url is not None:
        return found
    if backend.served_model is not None:
        raise ConfigError(
            f"--served-model {asked!r} names a server's model, and {LOCAL} does not list it: "
            "give --base-url http://HOST:PORT/v1"
        )
    _require(asked, found.passed)
    return found


def _told(base_url: str, asked: str) -> Road:
    """The server that the user named."""
    from srl_eval.generate.server import api_key, find_served, served_models, server_endpoint

    endpoint = server_endpoint(base_url, _FIRST_SECONDS, _FIRST_ATTEMPTS, api_key())
    return Road(base_url, find_served(served_models(endpoint), asked, base_url).max_model_len)


def _local(asked: str) -> Road:
    """The server that nobody named, if it is there and lists the model; it is sent no key."""
    from srl_eval.generate.server import find_served, served_models, server_endpoint

    try:
        served = served_models(server_endpoint(LOCAL, _SECONDS, 1))
    except DataError:
        return Road()  # nothing there, or something else
    try:
        return Road(LOCAL, find_served(served, asked, LOCAL).max_model_len)
    except DataError as error:
        return Road(passed=str(error))


def _require(asked: str, passed: str | None) -> None:
    """ConfigError naming both roads where neither is open."""
    from srl_eval.generate.vllm import is_installed, require_vllm
    from srl_eval.generate.vllm_settings import INSTALL

    if not is_installed():
        there = f" ({passed})" if passed else ""
        raise ConfigError(
            f"--backend vllm finds no vLLM{there}: start a server (`vllm serve {asked}`, and "
            f"--base-url where it is not {LOCAL}), or install it here ({INSTALL}); or --backend hf"
        )
    require_vllm()
