"""Exit codes of commands that can be stopped and go on."""

import pytest

from utils.errors import UserError
from utils.exitcodes import exit_code


def raising(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("command", "code", "shown"),
    [
        (lambda: 0, 0, ""),
        (lambda: 1, 1, ""),
        (raising(UserError("one\n line")), 2, "error: one line\n"),
        (raising(KeyboardInterrupt()), 130, "stopped; the same command goes on from here\n"),
    ],
)
def test_codes_and_lines(command, code, shown, capsys):
    """One line on stderr for what the user did, nothing else."""
    assert exit_code(command) == code
    assert capsys.readouterr() == ("", shown)


def test_a_defect_is_not_hidden():
    """What no user can put right keeps its traceback."""
    with pytest.raises(ZeroDivisionError):
        exit_code(raising(ZeroDivisionError()))
