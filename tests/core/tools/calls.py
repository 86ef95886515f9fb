"""Calls of tools under test: run one under its own token, stop it, see that nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.engine.tool import Tool, ToolContext, ToolOutput
from core.operations.progress import Progress
from core.permissions.access import Access, Workspace
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core.operations.operation import LateEnd
    from core.storage.records import PreImage

USER = CancelReason(Cause.USER, "x")


def children() -> set[psutil.Process]:
    """All that this process has started and that still runs, a model process that tests share among them."""
    return set(psutil.Process().children(recursive=True))


@dataclass
class Call:
    """One call. `asked` are the accesses that it asked for while it ran, `kept` the files it had kept, `told`
    what it told the person."""

    tool: Tool[Any]
    root: Path
    token: CancelToken = field(default_factory=lambda: CancelToken("call"))
    progress: Progress = field(default_factory=Progress)
    asked: list[Access] = field(default_factory=list)
    refusal: Exception | None = None
    silent: bool = False
    """Nobody answers what it asks."""
    kept: list[PreImage] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    on_keep: Callable[[PreImage], object] = lambda _: None
    """Called when a file has been kept and is not changed yet."""
    _others: set[psutil.Process] = field(default_factory=children)

    @property
    def context(self) -> ToolContext:
        workspace = Workspace(self.root)
        return ToolContext(
            1,
            "call-1",
            self.token,
            workspace,
            self.progress,
            self._ask,
            self._keep,
            self.told.append,
            _never_await_end,
        )

    async def _keep(self, preimage: PreImage) -> None:
        await asyncio.sleep(0)
        self.kept.append(preimage)
        self.on_keep(preimage)
        await asyncio.sleep(0)

    async def _ask(self, access: Access) -> None:
        self.asked.append(access)
        if self.silent:
            await asyncio.Event().wait()
        if self.refusal is not None:
            raise self.refusal

    async def run(self, **arguments: object) -> ToolOutput:
        with self.token.bind():
            return await self.tool.run(self.tool.arguments(**arguments), self.context)

    async def preview(self, **arguments: object) -> str:
        with self.token.bind():
            shown = await self.tool.preview(self.tool.arguments(**arguments), self.context)
        assert shown is not None
        return shown.text

    def start(self, **arguments: object) -> asyncio.Task[ToolOutput]:
        return asyncio.create_task(self.run(**arguments))

    def processes(self) -> set[psutil.Process]:
        """What has been started since this call was made, by it alone."""
        return children() - self._others

    async def stop(self, task: asyncio.Task[ToolOutput]) -> None:
        """Stop it by its token, and see that it ended by that and left nothing running."""
        own = self.processes()
        assert self.token.cancel(USER)
        async with asyncio.timeout(GENEROUS_S):
            error = (await asyncio.gather(task, return_exceptions=True))[0]
        assert isinstance(error, Cancelled), repr(error)
        assert error.reason is USER
        left = [process for process in own if process.is_running()]
        assert not left, repr(left)
        assert self.progress.processes == 0
        assert self.progress.survivors == ()


def _never_await_end(name: str, end: asyncio.Future[LateEnd]) -> None:
    raise AssertionError("what it has started has ended when it is left")


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file with its content, temporary ones too, unless they go while this looks."""
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                found[str(path.relative_to(folder))] = path.read_bytes()
    return found
