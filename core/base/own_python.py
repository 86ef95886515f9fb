"""The command that runs Python code of ours in a process of its own, with the import path of this process.

The interpreter is isolated (`-I`): it ignores PYTHONPATH, the current folder and the user's site-packages, so
nothing there can replace a module of ours or of the standard library. `caesura.main` has removed those
entries from the path of this process, or put them behind ours. The interpreter ignores its other variables,
PYTHONWARNINGS for instance, as well; the environment itself is not changed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parents[2])


def python_command(code: str, *options: str) -> tuple[str, ...]:
    """The command that runs `code`, with more `options` of the interpreter; arguments may follow."""
    # A process that was not started by `caesura.main` may know our folder as "" only.
    path = [*(os.path.abspath(entry) for entry in sys.path if entry), _ROOT]  # noqa: PTH100 - stays a text
    if sys.dont_write_bytecode:
        options = ("-B", *options)
    if sys.pycache_prefix is not None:
        options = ("-X", f"pycache_prefix={sys.pycache_prefix}", *options)
    return (sys.executable, "-I", *options, "-c", f"import sys; sys.path[:] = {path!r}; {code}")
