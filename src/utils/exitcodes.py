"""Exit codes of commands: 2 after one line about what the user can put right, 130 after Ctrl-C."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

from utils.errors import UserError

GOES_ON = "stopped; the same command goes on from here"


def exit_code(command: Callable[[], int], stopped: str = GOES_ON) -> int:
    """That of `command`, which can be stopped with Ctrl-C; `stopped` is said then."""
    warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)  # Sacred imports it
    try:
        return command()
    except UserError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return 130
