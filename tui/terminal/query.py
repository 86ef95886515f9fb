"""Asks a terminal that nothing else is reading whether it reports keys with the kitty protocol.

Only for `caesura doctor`; with a screen the driver owns the terminal, and this must not be used. It never
waits longer than its bound, leaves the terminal's settings as they were, and asks nothing from the
background, where a question would stop the process.
"""

from __future__ import annotations

import os
import re
import select
import termios
import time
from typing import Final

ANSWER_WITHIN_S: Final = 0.3

_ASK: Final = b"\x1b[?u\x1b[c"
"""Asks for the flags of the protocol, then for what every terminal answers: nothing comes after that."""

_LAST: Final = re.compile(rb"\x1b\[\?[\d;]*c")
_FLAGS: Final = re.compile(rb"\x1b\[\?\d+u")
_LOCAL_FLAGS: Final = 3
"""The index of the local flags in the result of `termios.tcgetattr`."""


def reports_keys_in_full(fd_in: int, fd_out: int, *, within_s: float = ANSWER_WITHIN_S) -> bool | None:
    """Ask and wait for the answer; None without a terminal or an answer. Blocking."""
    try:
        if not (os.isatty(fd_in) and os.isatty(fd_out)) or os.tcgetpgrp(fd_in) != os.getpgrp():
            return None
        before = termios.tcgetattr(fd_in)
        quiet = termios.tcgetattr(fd_in)
        quiet[_LOCAL_FLAGS] &= ~(termios.ICANON | termios.ECHO)
        try:
            termios.tcsetattr(fd_in, termios.TCSANOW, quiet)
            os.write(fd_out, _ASK)
            told = _read(fd_in, within_s)
        finally:
            # A late answer, and what was typed meanwhile, would end up at the shell's prompt.
            termios.tcsetattr(fd_in, termios.TCSAFLUSH, before)
    except (OSError, termios.error):
        return None
    return None if _LAST.search(told) is None else _FLAGS.search(told) is not None


def _read(fd: int, within_s: float) -> bytes:
    told = b""
    until = time.monotonic() + within_s
    while _LAST.search(told) is None and (left := until - time.monotonic()) > 0:
        if not select.select([fd], [], [], left)[0]:
            break
        data = os.read(fd, 1024)
        if not data:
            break
        told += data
    return told
