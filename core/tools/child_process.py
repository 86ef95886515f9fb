"""Python code of ours in a process of its own, where it can be killed (X4).

A regular expression, a walk through a huge tree, the resolver and a parser of foreign pages cannot be stopped
in a thread. The process has the import path of this one and gets no keys.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from core.base.own_python import python_command
from core.base.values import Value
from core.engine.tool import ToolError
from core.process.command import (
    Command,
    CommandError,
    OutputRing,
    RunningCommand,
    child_environment,
    run_command,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from _typeshed import DataclassInstance

    from core.engine.tool import ToolContext
    from core.process.command import Containment

_REQUEST = "CAESURA_REQUEST"
_CODE = f"import importlib, os; importlib.import_module(sys.argv[1]).main(os.environ.pop({_REQUEST!r}))"
_STDERR_BYTES = 4 * 1024


class ModuleRunner(Value):
    """Runs modules of ours without the variables `secrets`, held together by `containment`."""

    secrets: Collection[str]
    containment: Containment | None

    async def run(
        self, module: str, request: DataclassInstance, context: ToolContext, *, output_bytes: int
    ) -> str:
        """Run `main` of a module with `request` in JSON and return what it wrote, `output_bytes` at most.

        `request` is passed in the environment, which other users cannot read. The process belongs to the
        call: the panel shows it, and a stop ends it. Raises `ToolError` with its last line if its exit code
        is not 0.
        """
        environment = child_environment(os.environ, self.secrets)
        command = Command(
            argv=(*python_command(_CODE, "-X", "utf8"), module),
            cwd=context.workspace.root,
            environment=environment | {_REQUEST: json.dumps(asdict(request))},
            containment=self.containment,
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
