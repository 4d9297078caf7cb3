"""An `argparse.ArgumentParser` for commands whose every error is one line and exit code 2."""

from __future__ import annotations

import argparse
from typing import NoReturn

from utils.errors import UserError


class LineParser(argparse.ArgumentParser):
    """Raises `UserError` where argparse prints the usage and leaves."""

    def error(self, message: str) -> NoReturn:
        """Raise `UserError` with argparse's message."""
        raise UserError(f"{message}; see --help")
