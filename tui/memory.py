"""Garbage collection that is not felt at the keyboard."""

from __future__ import annotations

import gc


def settle_memory() -> None:
    """Let what has come together be: it lives as long as the program does.

    A collection that looked through it again and again would hold up the keyboard for tens of milliseconds.
    """
    gc.freeze()
    gc.enable()
