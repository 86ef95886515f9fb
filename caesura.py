"""The start of Caesura: the console script `caesura`, `python -m caesura` and `python caesura.py`.

Our top-level packages have common names (`core`, `tui`), so a folder of a project that is on the import path
could take their place. `main` therefore corrects `sys.path` before it imports anything else; this file needs
only `os`, `site` and `sys`, which every interpreter has loaded by then. What PYTHONPATH, the current folder
and the folder of the script have added is removed. The standard library comes first, then the folder of this
file, then other packages, and the user's site-packages last: Caesura may be installed there. The environment
is not changed: the commands that a user runs get the same PYTHONPATH.

Not covered is what runs before this file: `sitecustomize`, `usercustomize`, lines of code in `.pth` files,
what the console script or `python -m` import (`re`, `contextlib`), and another module called `caesura`.
"""

from __future__ import annotations

import os
import site
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_ROOT = os.path.dirname(os.path.abspath(__file__))
_LIBRARY = os.path.dirname(os.__file__)
_STANDARD = (
    os.path.join(os.path.dirname(_LIBRARY), f"python{sys.version_info.major}{sys.version_info.minor}.zip"),
    _LIBRARY,
    os.path.join(_LIBRARY, "lib-dynload"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    sys.path[:] = _own_path(sys.path)
    from tui.cli.main import main

    return main(arguments)


def _own_path(path: list[str]) -> list[str]:
    """The entries of `path` that belong to the interpreter or to our installation, in a safe order."""
    packages = [entry for entry in site.getsitepackages() if entry in path]
    standard = [entry for entry in path if entry in _STANDARD]
    foreign = _from_environment()
    if not sys.flags.safe_path and path and path[0] in _start_folders():
        foreign.add(path[0])
    foreign -= set(packages)
    user = [entry for entry in _from_user_site(path, packages) if entry not in packages]
    left_out = foreign | {*standard, *user, _ROOT}
    return [*standard, _ROOT, *(entry for entry in path if entry not in left_out), *user]


def _from_environment() -> set[str]:
    entries = os.environ.get("PYTHONPATH")
    if not entries or sys.flags.ignore_environment:
        return set()
    return {_absolute(entry) for entry in entries.split(os.pathsep)}


def _from_user_site(path: list[str], packages: list[str]) -> list[str]:
    """The user's site-packages and what its `.pth` files have added; these entries precede `packages`."""
    if not site.ENABLE_USER_SITE or site.USER_SITE not in path:
        return []
    start = path.index(site.USER_SITE)
    end = min((index for index in map(path.index, packages) if index > start), default=len(path))
    return path[start:end]


def _start_folders() -> set[str]:
    """What the interpreter may have put first: the current folder, or the folder of the script."""
    return {"", _absolute(""), os.path.dirname(os.path.realpath(sys.argv[0]))}


def _absolute(entry: str) -> str:
    try:
        return os.path.abspath(entry)
    except OSError:
        # The current folder is gone. Nothing can be imported from it.
        return entry


if __name__ == "__main__":
    sys.exit(main())
