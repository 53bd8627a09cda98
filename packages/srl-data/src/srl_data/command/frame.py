"""The outermost frame of every console script: run a click command, map failures to exit codes.

One line on standard error for what a user can mend; a traceback only for a bug of ours.
"""

import errno
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import rich_click as click
from click.exceptions import Exit

from srl_data.command.errors import CommandError
from srl_data.command.streams import (
    escape_what_has_no_encoding,
    fill_closed_descriptors,
    lasting_streams,
)

DISK_ERRORS = {
    errno.ENOSPC: "no space left",
    errno.EDQUOT: "quota exceeded",
    errno.EFBIG: "file size limit reached",
}
PATH_ERRORS = {
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.EROFS: "read-only file system",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EEXIST: "a part of the path is a file",
    errno.EISDIR: "it is a folder",
    errno.ENAMETOOLONG: "the name is too long",
}


def complain(program: str, message: str) -> None:
    """Write `program: error: message` on standard error."""
    with lasting_streams():  # nobody may be there to read it; the exit code stays
        click.echo(f"{program}: error: {message}", err=True)


def describe(error: OSError) -> str | None:
    """The line for a failure of the file system that a user can mend; None for any other."""
    where = f" {error.filename}" if error.filename else ""
    if error.errno in DISK_ERRORS:
        reason = DISK_ERRORS[error.errno]
        return f"cannot write{where}: {reason}; free some space and run it again"
    if error.errno in PATH_ERRORS and where:
        return f"cannot use{where}: {PATH_ERRORS[error.errno]}; give another path"
    return None


def dashed(token: str) -> str:
    """How click compares flags and choices: `--batch_size` is `--batch-size`."""
    return token.replace("_", "-")


def execute(cli: click.Command, program: str, argv: Sequence[str] | None = None) -> int:
    """Run `cli` and return its exit code; see `srl_data.command.errors` for the codes."""
    try:
        # Without standalone mode click returns the code of `ctx.exit(code)`.
        result: object = cli.main(
            args=argv, prog_name=program, standalone_mode=False, token_normalize_func=dashed
        )
    except Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context else ""
        complain(program, f"{error.format_message()}{hint}")
        return 2
    except CommandError as error:
        complain(program, str(error))
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        complain(program, "interrupted")
        return 130
    except BrokenPipeError:
        # The reader went away (`| head`): point stdout at nothing so that exit is quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        message = describe(error)
        if message is None:
            raise
        complain(program, message)
        return 1
    return result if isinstance(result, int) else 0


def run(cli: click.Command, program: str) -> NoReturn:
    """Entry point of a console script: `execute` with the process's arguments, then exit."""
    fill_closed_descriptors()
    escape_what_has_no_encoding()
    sys.exit(execute(cli, program))
