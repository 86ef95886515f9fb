"""Commands under test: run one in a task of its own, hold its token and its view, choose what holds it."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from core import keeper_link
from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.containment import Containment, prefix_by
from core.processes import Command, CommandEnd, RunningCommand, run_command
from tests.e2e.zoo import MARK, READY, living

if TYPE_CHECKING:
    from collections.abc import Callable

GENEROUS_S = 30.0


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
        keeper_link.namespace_prefix = lambda: self.prefix  # type: ignore[attr-defined, assignment]


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


async def until(condition: Callable[[], object]) -> None:
    """Wait for a state; an `AssertionError` when it does not come."""
    deadline = time.monotonic() + GENEROUS_S
    while not condition():
        assert time.monotonic() < deadline, "the state did not come"
        await asyncio.sleep(0.002)
