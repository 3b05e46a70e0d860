"""The command line: each command builds arguments and calls one function.

Exit codes: 0 done, 1 something failed, 2 the user's input, 3 a gate that did not pass, 130
interrupted.
"""

import errno
import sys
import traceback
from contextlib import ExitStack

from spillover.cli import (
    about,
    audits,
    calibrations,
    classifications,
    comparisons,
    directions,
    dynamics,
    evaluations,
    explanations,
    exports,
    forecasts,
    harnesses,
    insides,
    inspect_logs,
    powers,
    shows,
    steering,
    studies,
    suites,
    sweeps,
)
from spillover.cli.app import app, errors, is_verbose, running
from spillover.errors import SpilloverError

_DISK_ERRORS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT)


def main() -> None:
    """Run the command line and turn expected errors into a message and an exit code."""
    try:
        with ExitStack() as stack:
            running.set(stack)
            app()
    except SpilloverError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        _fail(f"{error.filename or 'disk'}: {error.strerror}; free some space or choose --out", 1)


def _fail(message: str, exit_code: int) -> None:
    if is_verbose.get():
        errors.print(traceback.format_exc(), markup=False, highlight=False, soft_wrap=True)
    errors.print(f"error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(exit_code)


__all__ = [
    "about",
    "app",
    "audits",
    "calibrations",
    "classifications",
    "comparisons",
    "directions",
    "dynamics",
    "evaluations",
    "explanations",
    "exports",
    "forecasts",
    "harnesses",
    "insides",
    "inspect_logs",
    "main",
    "powers",
    "shows",
    "steering",
    "studies",
    "suites",
    "sweeps",
]
