"""What a session does for itself when a turn is completed: it gives itself a title, and notes facts (C4).

Both are jobs beside the conversation. Nothing here holds up a turn, and no Esc reaches it. What they are done
with is imported when it is needed: the first frame is not.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from core.jobs import JobKind, Jobs
from core.messages import AssistantMessage, UserMessage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core.history import History
    from core.journal import Journal
    from core.memory import Memory


class Upkeep:
    """Of one session. `tell_title` hears of each new title."""

    def __init__(
        self,
        record: History,
        journal: Journal,
        jobs: Jobs,
        workspace: Path,
        tell_title: Callable[[str], object],
    ) -> None:
        self._record = record
        self._journal = journal
        self._jobs = jobs
        self._tell_title = tell_title
        self._workspace = workspace
        self._noted = len(record.steps)
        self._memory: Memory | None = None
        self.notes_facts = False
        self.asks_for_titles = True
        self.title = ""
        self._settled = False
        self._asked = False

    def settle_title(self, title: str) -> None:
        """The session is called so, by a person or from before: no job changes it any more."""
        self.title = title
        self._settled = True

    def step_committed(self, prompt: str) -> None:
        """The first line of the first prompt that is kept is the title, until there is a better one."""
        from core.titles import first_title

        if not self.title:
            self.title = first_title(prompt)
            self._journal.keep_title(self.title)

    def turn_completed(self) -> None:
        """Look whether there is something to do now."""
        from core.titles import title_work

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
            from core.memory import Memory
            from core.memory_file import memory_folder

            folder = partial(memory_folder, self._workspace)
            self._memory = Memory(folder, self._jobs, noted=self._noted)
        return self._memory

    def _improve(self, title: str) -> None:
        if not self._settled:
            self.title = title
            self._journal.keep_title(title)
            self._tell_title(title)

    def _beginning(self) -> tuple[str, str]:
        messages = [message for stored in self._record.steps[:3] for message in stored.step.messages]
        prompt = next((message.text for message in messages if isinstance(message, UserMessage)), "")
        reply = next((message.text for message in messages if isinstance(message, AssistantMessage)), "")
        return prompt, reply
