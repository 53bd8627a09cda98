"""Errors that a command shows as one clear line, each with its exit code.

0 done, 1 failed, 2 usage or config, 3 data or model missing or bad, 4 incomplete (resumable),
130 interrupted. Errors of our own making (bugs) are not caught here: they keep their traceback.
"""

from typing import ClassVar


class CommandError(Exception):
    """A failure with a message for the user: the value, what was expected, and the fix."""

    exit_code: ClassVar[int] = 1


class ConfigError(CommandError):
    """A flag, config key or combination of them that cannot be used."""

    exit_code = 2


class DataError(CommandError):
    """Data, a model or a checkpoint that is missing or not what it should be."""

    exit_code = 3


class IncompleteError(CommandError):
    """The work stopped before its end and can be resumed; the message holds the command."""

    exit_code = 4


class InterruptedRunError(CommandError):
    """Ctrl-C or SIGTERM ended a run whose state is safe; the message holds the command."""

    exit_code = 130
