"""The config of a teacher: which model, where, and how hard it is tried."""

from typing import Annotated

from pydantic import AfterValidator, Field

from srl_data.command.config import Section
from srl_data.endpoint import Endpoint, check_base_url, key_from_environment, key_variable_of


class TeacherSection(Section):
    """A teacher behind an OpenAI-compatible server; its key comes from the environment alone."""

    model: str | None = None
    """The teacher's name at the server. Default: no teacher, solutions are cut by rule."""
    base_url: Annotated[str, AfterValidator(check_base_url)] = "https://api.deepseek.com/v1"
    """The server's address. The key is read from DEEPSEEK_API_KEY, OPENAI_API_KEY and their like
    for those hosts, else from SRL_DATA_API_KEY."""
    titles: bool = False
    """Ask for titles alone, over steps that are cut by rule."""
    tries: int = Field(default=3, ge=1)
    """Answers asked for per solution until one does."""
    concurrency: int = Field(default=16, ge=1, le=1024)
    """Requests at a time."""
    max_retries: int = Field(default=5, ge=0)
    """Retries of a request that failed and may succeed the next time."""
    timeout: float = Field(default=600, gt=0)
    """Seconds in which an answer must be whole."""
    temperature: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Default: the server's."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Default: the server's."""

    def endpoint(self) -> Endpoint:
        """The server, with the key that the environment holds for it."""
        variable = key_variable_of(self.base_url)
        return Endpoint(
            self.base_url,
            timeout=self.timeout,
            attempts=self.max_retries + 1,
            key=key_from_environment(variable),
            key_variable=variable,
        )
