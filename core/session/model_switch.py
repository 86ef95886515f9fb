"""Which model answers in a session, what is known of it, and a switch that waits until the turn is over.

A running turn ends with the model it has begun with: its requests, its costs and its limits belong together.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from msgspec.structs import replace

from core.model.provider import ModelInfo
from core.operations.events import ModelDescribed, ModelSwitched, ParametersLeftOut

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.model.provider import Effort, ModelChoice, ModelProvider
    from core.operations.events import Event
    from core.session.history import History

log = logging.getLogger(__name__)


class ModelSelection:
    """The model of one session. If `is_idle` a switch counts at once; otherwise `settle` makes it."""

    def __init__(
        self,
        record: History,
        provider: ModelProvider,
        is_idle: Callable[[], bool],
        emit: Callable[[Event], object],
    ) -> None:
        self._record = record
        self._provider = provider
        self._is_idle = is_idle
        self._emit = emit
        self._next: ModelChoice | None = None
        self._left_out: set[tuple[str, tuple[str, ...]]] = set()
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def choice(self) -> ModelChoice:
        """The model that answers the next prompt."""
        return self._next or self._record.choice

    def use(self, choice: ModelChoice) -> None:
        """Have this model answer from the next turn on, with the same system prompt."""
        self._next = replace(choice, system=self.choice.system)
        if self._is_idle():
            self.settle()
        self._emit(ModelSwitched(choice.model, choice.parameters.effort))

    def use_effort(self, effort: Effort | None) -> None:
        now = self.choice
        self.use(replace(now, parameters=replace(now.parameters, effort=effort)))

    def use_system(self, system: str) -> None:
        """Tell the model this before everything else."""
        self._record.choice = replace(self._record.choice, system=system)
        if self._next is not None:
            self._next = replace(self._next, system=system)

    def settle(self) -> None:
        """Nothing is running: the model that was chosen meanwhile answers from now on."""
        chosen, self._next = self._next, None
        if chosen is None:
            return
        before = self._record.choice
        is_other = (chosen.model, chosen.api_base) != (before.model, before.api_base)
        self._record.choice = chosen
        if is_other:
            self._record.info = ModelInfo(chosen.model)
            self.describe_soon()

    def describe_soon(self) -> None:
        """Ask the catalog about the model in a task of its own."""
        task = asyncio.create_task(self.describe(), name=f"what {self.choice.model} can do")
        self.tasks.add(task)
        task.add_done_callback(self._on_described)

    async def describe(self) -> None:
        """Ask the catalog about the model, and publish the answer."""
        asked = self.choice.model
        info = await self._provider.describe(asked)
        if asked == self._record.choice.model:
            self._record.info = info
            self._emit(ModelDescribed(info))

    def is_news(self, event: ParametersLeftOut) -> bool:
        """Whether this was not published before."""
        key = (event.model, event.names)
        if key in self._left_out:
            return False
        self._left_out.add(key)
        return True

    def _on_described(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("nothing could be learnt of the model", exc_info=error)
