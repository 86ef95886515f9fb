"""What holds the processes of a command together on this machine; found out once.

A namespace comes from `bwrap`, which may make one where other programs may not, else from `unshare`. The
supervisor becomes its first process. A container, a kernel setting or a security module may forbid namespaces
without saying so, so each way is tried by running it.
"""

from __future__ import annotations

import functools
import logging
import os
import shutil
import subprocess
import sys
from enum import StrEnum
from typing import Literal

log = logging.getLogger(__name__)

PROBE_WITHIN_S = 5.0


class Containment(StrEnum):
    """What holds the processes of a command together.

    `NAMESPACE`: a PID namespace. No process can leave it, and its end is the end of all processes in it. A
    command does not see the user's other processes, and with bwrap `sudo` does not work in it.
    `GROUP`: a session of its own and, on Linux, a supervisor that inherits orphans. A process that may not be
    killed (`sudo`) lives on and is named.
    """

    NAMESPACE = "namespace"
    GROUP = "group"


BWRAP = ("bwrap", "--dev-bind", "/", "/", "--unshare-pid", "--as-pid-1", "--proc", "/proc", "--")
UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
UNSHARE_AS_USER = ("unshare", "--user", "--map-current-user", *UNSHARE[1:])


def available_containment() -> Containment:
    """The best that this machine has. The first call runs programs, so it is for a thread."""
    return Containment.NAMESPACE if namespace_prefix() is not None else Containment.GROUP


@functools.cache
def namespace_prefix() -> tuple[str, ...] | None:
    """The words that make the command behind them the first process of a PID namespace; None: impossible."""
    return prefix_by("bwrap") or prefix_by("unshare")


@functools.cache
def prefix_by(program: Literal["bwrap", "unshare"]) -> tuple[str, ...] | None:
    """`namespace_prefix` with this program only."""
    if sys.platform != "linux":
        return None
    if program == "bwrap":
        return _tried(BWRAP)
    return _tried(UNSHARE if os.geteuid() == 0 else UNSHARE_AS_USER)


def _tried(prefix: tuple[str, ...]) -> tuple[str, ...] | None:
    """The prefix with the program's full path, if it makes a namespace."""
    program = shutil.which(prefix[0])
    if program is None:
        return None
    found = (program, *prefix[1:])
    script = "echo $$ && test -r /proc/1/stat"
    try:
        done = subprocess.run(
            [*found, "/bin/sh", "-c", script],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PROBE_WITHIN_S,
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        log.info("%s cannot be used: %s", prefix[0], error)
        return None
    if done.returncode != 0 or done.stdout != "1\n":
        log.info("%s makes no namespace: %s", prefix[0], done.stderr.strip())
        return None
    return found
