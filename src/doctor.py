"""Checks what a run needs: `python src/doctor.py [--quick] [--config=ALG] [--env-config=ENV] [with KEY=VALUE ...]`.

A table with one line a check and, under those that are not right, what to do. The configuration is the one the same
words would give `main.py`; default: fop on sc2. --quick starts no game. Exit code: 0 if nothing the configured run
needs is missing, else 1; 2 for bad arguments.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

from utils.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if "--help" in words or "-h" in words:
        print(__doc__)
        return 0
    quick = "--quick" in words
    warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)  # Sacred imports it
    try:
        from health import checks, report

        findings = checks.examine([word for word in words if word != "--quick"], quick)
    except UserError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    print(report.table(findings))
    return report.exit_code(findings)


if __name__ == "__main__":
    sys.exit(main())
