"""For the tests of the MCP client: servers, calls under a token, and what a server wrote down."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import psutil
import pytest

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.config.schema import ServerSettings
from core.engine.tool import ToolContext
from core.model.provider import Phase
from core.operations.operation import OperationKind
from core.operations.registry import Registry
from core.operations.supervise import start_operation
from core.permissions.access import Access, Workspace
from core.process.command import child_environment
from core.tools.mcp.tools import Servers
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from core.engine.tool import ToolOutput
    from core.operations.operation import LateEnd
    from core.operations.progress import Progress
    from core.operations.registry import Operation
    from core.storage.records import PreImage

OWN = Path(__file__).parent.parent.parent / "servers" / "mcp_own.py"


def own_server(record: Path, *modes: str, grace: float = 2.0) -> ServerSettings:
    command = (sys.executable, "-I", str(OWN), str(record), *modes)
    return ServerSettings(command, env={"GIVEN": "yes"}, grace=grace)


@contextlib.asynccontextmanager
async def running(folder: Path, **settings: ServerSettings) -> AsyncIterator[Servers]:
    servers = Servers(settings, Workspace(folder), child_environment(os.environ, ()))
    try:
        with pytest.MonkeyPatch.context() as patient:
            patient.setattr("core.tools.mcp.tools.PATIENCE_S", GENEROUS_S)
            yield servers
    finally:
        await servers.aclose()
        left = [task for task in asyncio.all_tasks() if "MCP" in task.get_name()]
        assert not left, left


async def listed(servers: Servers) -> dict[str, Any]:
    return {tool.name: tool for tool in await servers.tools(CancelToken("turn"))}


@dataclass
class Call:
    """A call that is an operation of its own, as the dispatch runs one. `told` is what the person was told,
    `late` the ends that were still to come when it was left."""

    task: asyncio.Task[ToolOutput]
    operation: Operation
    registry: Registry
    told: list[str]
    late: list[asyncio.Future[LateEnd]]

    @property
    def token(self) -> CancelToken:
        return self.operation.token

    @property
    def progress(self) -> Progress:
        return self.operation.progress

    def stop(self) -> None:
        self.token.cancel(CancelReason(Cause.USER, "x"))

    async def wait_stopped(self) -> None:
        with anyio.fail_after(GENEROUS_S), pytest.raises(Cancelled):
            await self.task


def begin(tool: Any, folder: Path, *, turn: CancelToken | None = None, **arguments: Any) -> Call:
    registry, parent = Registry(), turn or CancelToken("turn")
    operation = registry.open("s", OperationKind.CALL, tool.name, parent, call_id="call_1")
    told: list[str] = []
    late: list[asyncio.Future[LateEnd]] = []

    def await_end(name: str, end: asyncio.Future[LateEnd]) -> None:
        operation.await_end(name, end)
        late.append(end)

    context = ToolContext(
        1,
        operation.call_id,
        operation.token,
        Workspace(folder),
        operation.progress,
        _never_ask,
        _never_keep,
        told.append,
        await_end,
    )

    async def run() -> ToolOutput:
        operation.start(Phase.IN_CALL)
        output: ToolOutput = await tool.run(tool.arguments.model_validate(arguments), context)
        return output

    return Call(start_operation(operation, run), operation, registry, told, late)


async def call(tool: Any, folder: Path, **arguments: Any) -> ToolOutput:
    return await begin(tool, folder, **arguments).task


async def _never_ask(access: Access) -> None:
    raise AssertionError("nothing is asked while it runs")


async def _never_keep(preimage: PreImage) -> None:
    raise AssertionError("a server's tool changes no file of ours")


def received(record: Path) -> list[str]:
    """The methods that a server got, in their order; `started` for each of its lives."""
    return [line.split()[0] for line in record.read_text().splitlines()] if record.exists() else []


def alive(mark: str) -> list[psutil.Process]:
    """The processes with this in their command line."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and any(mark in word for word in process.cmdline()):
                found.append(process)
    return found
