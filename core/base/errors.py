"""The base of the errors that callers can tell apart; each is defined where it is raised.

`core.cancel.Cancelled` is not among them: a stop is no failure.
"""

from __future__ import annotations

import errno


class CaesuraError(Exception):
    """Its text is a sentence for the user or the model: what happened, to what, what to do next."""


def what_to_do(error: OSError) -> str:
    """A sentence that tells the user what to do about a file that could not be written."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "Make room on that disk, and try again."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "See to it that you may write there, and try again."
        case _:
            return "Try again when that is mended."
