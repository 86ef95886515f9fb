"""Commands under test: run one in a task of its own, hold its token and its view, choose what holds it."""

from __future__ import annotations

import asyncio
import os
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.process import supervisor_client
from core.process.command import Command, CommandEnd, RunningCommand, run_command
from core.process.containment import Containment, prefix_by
from tests.support.stubborn_processes import MARK, READY, living
from tests.support.waiting import until


class Kind(StrEnum):
    """The ways of keeping a command together, one by one instead of the best there is."""

    BWRAP = "bwrap"
    UNSHARE = "unshare"
    GROUP = "group"

    @property
    def containment(self) -> Containment:
        return Containment.GROUP if self is Kind.GROUP else Containment.NAMESPACE

    @property
    def prefix(self) -> tuple[str, ...] | None:
        """What makes a namespace this way; None if nothing is to, or can."""
        match self:
            case Kind.BWRAP:
                return prefix_by("bwrap")
            case Kind.UNSHARE:
                return prefix_by("unshare")
            case Kind.GROUP:
                return None

    @property
    def available(self) -> bool:
        return self is Kind.GROUP or self.prefix is not None

    def install(self) -> None:
        """Have all commands of this process use this kind, for as long as it runs."""
        supervisor_client.namespace_prefix = lambda: self.prefix  # type: ignore[attr-defined, assignment]


@dataclass(slots=True)
class Run:
    """One command in a task; `start` it, wait until it is `up`, `stop` it, look at its `end`."""

    argv: tuple[str, ...]
    containment: Containment | None = None
    cwd: Path = field(default_factory=Path.cwd)
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    token: CancelToken = field(default_factory=lambda: CancelToken("command"))
    view: RunningCommand = field(default_factory=RunningCommand)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    task: asyncio.Task[CommandEnd] = field(init=False)

    async def run(self) -> CommandEnd:
        command = Command(self.argv, self.cwd, {**self.environment, MARK: self.mark}, self.containment)
        with self.token.bind():
            return await run_command(command, self.token, self.view)

    def start(self) -> Run:
        self.task = asyncio.create_task(self.run())
        return self

    async def up(self, text: str = READY) -> None:
        await until(lambda: text in self.view.output.text() or self.task.done())
        assert not self.task.done(), self.view.output.text()

    def stop(self, cause: Cause = Cause.USER) -> None:
        self.token.cancel(CancelReason(cause, "test"))

    async def stopped(self) -> CommandEnd:
        """How it ended after a stop, which is raised as such and leaves the end in the view."""
        await asyncio.wait([self.task])
        error = self.task.exception()
        assert isinstance(error, Cancelled), error
        assert self.view.end is not None
        return self.view.end

    @property
    def living(self) -> dict[int, str]:
        return living(self.mark)


def shell(script: str, containment: Containment | None = None) -> Run:
    return Run(("bash", "-c", script), containment)
