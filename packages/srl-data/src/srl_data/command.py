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

from srl_data.errors import CommandError

DISK_ERRORS = {
    errno.ENOSPC: "no space left",
    errno.EDQUOT: "quota exceeded",
    errno.EFBIG: "file size limit reached",
}


def complain(program: str, message: str) -> None:
    """Write `program: error: message` on standard error."""
    click.echo(f"{program}: error: {message}", err=True)


def execute(cli: click.Command, program: str, argv: Sequence[str] | None = None) -> int:
    """Run `cli` and return its exit code; see `srl_data.errors` for the codes."""
    try:
        cli.main(args=argv, prog_name=program, standalone_mode=False)
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
        if error.errno not in DISK_ERRORS:
            raise
        where = f" writing {error.filename}" if error.filename else ""
        complain(program, f"{DISK_ERRORS[error.errno]}{where}; free some space and run it again")
        return 1
    return 0


def run(cli: click.Command, program: str) -> NoReturn:
    """Entry point of a console script: `execute` with the process's arguments, then exit."""
    sys.exit(execute(cli, program))
