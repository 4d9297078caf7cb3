"""Command-line entry: reads the configuration, checks everything a user can get wrong, then hands over to Sacred.

Exit codes: 0 completed, 1 failed (a bug, with its traceback), 2 bad input (one line on stderr), 130 interrupted.
"""

from __future__ import annotations

import gc
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from utils.errors import UserError

if TYPE_CHECKING:
    from utils.cli import Request


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program's name) and return the exit code."""
    warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)  # Sacred imports it
    try:
        return dispatch(sys.argv[1:] if argv is None else argv)
    except UserError as error:
        from mirror.server import without_password  # here: only the message of an error can hold a password

        print("error:", without_password(" ".join(str(error).split())), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception:
        traceback.print_exc()
        return 1


def dispatch(argv: Sequence[str]) -> int:
    """Answer --help and --list-maps, or run a command of the experiment."""
    from utils import cli, console, helptext  # here and below: bad input is answered before PyTorch is imported

    request = cli.parse(argv)
    if request.command == "help":
        console.print_line(helptext.help_text())
        return 0
    if request.list_maps:
        from envs.sc2 import list_maps

        console.print_line(helptext.table(dict(list_maps())))
        return 0
    return run_command(request)


def run_command(request: Request) -> int:
    """Validate the configuration completely, then run the command under Sacred."""
    from utils.config import layers, merge
    from utils.resume import with_recorded

    request = with_recorded(request)
    merged = merge(request.alg, request.env, request.overrides)

    from utils.experiment import Session, check_parts

    config, derived = check_parts(merged, here=request.command == "main")
    return Session(request, config, layers(request.alg, request.env), derived).run()


if __name__ == "__main__":
    exit_code = main()
    gc.freeze()  # or else the interpreter searches all of PyTorch's objects for garbage before it ends
    sys.exit(exit_code)
