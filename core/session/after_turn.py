"""Background work after a completed turn: suggest a title, note facts (C4).

Both are jobs. They never delay a turn, and no Esc reaches them. What they need is imported at first use.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from core.model.messages import AssistantMessage, UserMessage
from core.operations.events import Titled
from core.operations.jobs import JobKind, Jobs
from core.storage.journal import NewTitle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core.context.memory import Memory
    from core.operations.events import Event
    from core.session.history import History
    from core.storage.journal import Journal


class AfterTurn:
    """Background work after a completed turn. `emit` publishes events: each title that a job has found."""

    def __init__(
        self, record: History, journal: Journal, jobs: Jobs, workspace: Path, emit: Callable[[Event], None]
    ) -> None:
        self._record = record
        self._journal = journal
        self._jobs = jobs
        self._emit = emit
        self._workspace = workspace
        self._noted = len(record.steps)
        self._memory: Memory | None = None
        self.notes_facts = False
        self.asks_for_titles = True
        self.title = ""
        self._settled = False
        self._asked = False

    def settle_title(self, title: str) -> None:
        """Keep a title that a person or an earlier run has given: no job changes it any more."""
        self.title = title
        self._settled = True

    def step_committed(self, prompt: str) -> None:
        """Take the first line of the first kept prompt as the title until there is a better one."""
        from core.session.titles import first_title

        if not self.title:
            self.title = first_title(prompt)
            self._journal.add(NewTitle(self.title))

    def turn_completed(self) -> None:
        """Start the jobs that are due."""
        from core.session.titles import title_work

        record = self._record
        model, address = record.choice.model, record.choice.api_base
        if self.asks_for_titles and not (self._settled or self._asked):
            self._asked = True
            prompt, reply = self._beginning()
            self._jobs.start(
                JobKind.TITLE, title_work(model, address, prompt, reply, self._improve), detail=model
            )
        if self.notes_facts:
            self._notes().after_turn([stored.step for stored in record.steps], model, address)

    def _notes(self) -> Memory:
        if self._memory is None:
            from core.context.memory import Memory
            from core.context.memory_file import memory_folder

            folder = partial(memory_folder, self._workspace)
            self._memory = Memory(folder, self._jobs, noted=self._noted)
        return self._memory

    def _improve(self, title: str) -> None:
        if not self._settled:
            self.title = title
            self._journal.add(NewTitle(title))
            self._emit(Titled(title))

    def _beginning(self) -> tuple[str, str]:
        messages = [message for stored in self._record.steps[:3] for message in stored.step.messages]
        prompt = next((message.text for message in messages if isinstance(message, UserMessage)), "")
        reply = next((message.text for message in messages if isinstance(message, AssistantMessage)), "")
        return prompt, reply
