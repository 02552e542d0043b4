"""The one exception for mistakes that a user can put right."""


class InputError(ValueError):
    """Wrong data, parameter or file: one line that says what is wrong, where, and what would be right.

    `run_all.py` prints it without a traceback and ends with exit status 2.
    """
