"""Python code of ours in a process of its own: what may not end by itself can be killed there (X4).

A regular expression, a walk through a huge tree, the resolver and a parser of foreign pages cannot be stopped
in a thread. The process imports what this one could import, and gets no keys.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from core.processes import Command, CommandError, OutputRing, RunningCommand, child_environment, run_command
from core.tools.base import ToolError
from core.tools.process_request import REQUEST

if TYPE_CHECKING:
    from collections.abc import Collection

    from core.processes import Containment
    from core.tools.base import ToolContext

_START = (
    "import os, runpy, sys; sys.path[:] = sys.argv.pop(1).split(os.pathsep); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__')"
)
_STDERR_BYTES = 4 * 1024


async def run_module(
    module: str,
    request: str,
    *,
    cwd: Path,
    context: ToolContext,
    secrets: Collection[str],
    containment: Containment | None,
    output_bytes: int,
) -> str:
    """Run a module's `__main__` and return what it wrote, of which `output_bytes` are kept at the most.

    `request` is in its environment, which nobody else can read. It is the call's process: it is seen in the
    panel, and a stop ends it. Raises `ToolError` with its last line if its exit code is not 0.
    """
    command = Command(
        argv=(sys.executable, "-I", "-X", "utf8", "-c", _START, _import_path(), module),
        cwd=cwd,
        environment=child_environment(os.environ, secrets) | {REQUEST: request},
        containment=containment,
    )
    running = RunningCommand()
    running.output = OutputRing(output_bytes, _STDERR_BYTES)
    context.progress.attach(running)
    try:
        end = await run_command(command, context.token, running)
    except CommandError as error:
        raise ToolError(str(error)) from error
    if end.exit_code != 0:
        said = running.output.tail(1).strip() or f"its process ended with {end.exit_code}"
        raise ToolError(said)
    return running.output.text().rstrip("\n")


def _import_path() -> str:
    return os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
