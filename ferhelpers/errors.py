"""The one exception for mistakes that a user can put right, and how a small command ends on it."""

import os
import sys
from collections.abc import Callable


class InputError(ValueError):
    """Wrong data, parameter or file: one line that says what is wrong, where, and what would be right.

    `run_all.py` prints it without a traceback and ends with exit status 2.
    """


def exit_status(work: Callable[[], int]) -> int:
    """What a command returns: an InputError and Ctrl-C end it in one line, a closed standard output in none."""
    try:
        return work()
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever reads standard output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
