"""The prompts that wait for their turn: in which order they go, which of them wait for the person.

It starts nothing and knows no session. It must never lose a prompt: what was edited, removed or dropped can
be put back until it has been sent, and a prompt that somebody is editing is not sent under their hands.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

CHANGES_KEPT = 100
"""How many changes can be taken back."""


@dataclass(frozen=True, slots=True)
class QueuedPrompt:
    """A prompt that waits. `queue_id` counts from 1 and never comes to mean another prompt.

    An `urgent` one goes before all others, as soon as no turn runs, even from a queue that is paused.
    """

    queue_id: int
    text: str
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class _Change:
    """Prompts as they were, each with its place, and whether the queue was paused then."""

    before: tuple[tuple[int, QueuedPrompt], ...]
    paused: bool


class PromptQueue:
    """See the module. `texts` were left by an earlier run: they wait for the person."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._last_id = 0
        self._prompts: list[QueuedPrompt] = []
        self._changes: deque[_Change] = deque(maxlen=CHANGES_KEPT)
        self._edited: int | None = None
        self._paused = False
        for text in texts:
            self.hold(text)

    # -- what there is --

    @property
    def prompts(self) -> tuple[QueuedPrompt, ...]:
        """All of them, the next one first."""
        return tuple(self._prompts)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(prompt.text for prompt in self._prompts)

    @property
    def paused(self) -> bool:
        """Whether what is not urgent waits for the person. A queue without any such prompt is not paused."""
        return self._paused

    @property
    def edited(self) -> int | None:
        """The prompt that somebody is editing: neither it nor what stands behind it is sent meanwhile."""
        return self._edited

    # -- what is added --

    def add(self, text: str) -> QueuedPrompt:
        """Put a prompt behind all others."""
        return self._insert(len(self._prompts), text, urgent=False)

    def hold(self, text: str) -> QueuedPrompt:
        """Put a prompt behind all others, and have them wait for the person."""
        held = self.add(text)
        self.pause()
        return held

    def add_urgent(self, text: str) -> QueuedPrompt:
        """Put a prompt before all that is not urgent."""
        return self._insert(self._urgent_count, text, urgent=True)

    def make_urgent(self, queue_id: int) -> bool:
        """Move a prompt before all that is not urgent; false if it does not wait any more."""
        at = self._place(queue_id)
        if at is None:
            return False
        if not self._prompts[at].urgent:
            prompt = replace(self._prompts.pop(at), urgent=True)
            self._prompts.insert(self._urgent_count, prompt)
            self._settle()
        return True

    # -- what is changed --

    def pause(self) -> None:
        """Have what is not urgent wait for the person."""
        self._paused = True
        self._settle()

    def go_on(self) -> None:
        """The opposite of `pause`."""
        self._paused = False

    def begin_edit(self, queue_id: int) -> bool:
        """Hold this prompt back until `end_edit` or `edit`; false if it does not wait any more."""
        if self._place(queue_id) is None:
            return False
        self._edited = queue_id
        return True

    def end_edit(self) -> None:
        """Nothing is being edited any more."""
        self._edited = None

    def edit(self, queue_id: int, text: str) -> bool:
        """Give a prompt another text, which also ends its edit; false if it does not wait any more."""
        at = self._place(queue_id)
        if at is None:
            return False
        if self._edited == queue_id:
            self._edited = None
        before = self._prompts[at]
        if before.text != text:
            self._note((at, before))
            self._prompts[at] = replace(before, text=text)
        return True

    def remove(self, queue_id: int) -> bool:
        """Take a prompt out; `put_back` undoes it. False if it does not wait any more."""
        at = self._place(queue_id)
        if at is None:
            return False
        self._note((at, self._prompts[at]))
        del self._prompts[at]
        self._settle()
        return True

    def take_all(self) -> tuple[str, ...]:
        """Take all prompts out; `put_back` undoes it."""
        texts = self.texts
        if texts:
            self._note(*enumerate(self._prompts))
            self._prompts.clear()
            self._settle()
        return texts

    def put_back(self) -> tuple[QueuedPrompt, ...]:
        """Undo the latest edit, removal or `take_all`; the prompts that it gave back, none if there was none.

        What comes back is not urgent, and waits for the person if the queue was paused then.
        """
        if not self._changes:
            return ()
        change = self._changes.pop()
        back = tuple(self._restore(at, prompt) for at, prompt in change.before)
        if change.paused:
            self.pause()
        return back

    def take_next(self) -> QueuedPrompt | None:
        """Take out what is sent now; None if nothing is, because of a pause or an edit."""
        first = self._prompts[0] if self._prompts else None
        if first is None or first.queue_id == self._edited or (self._paused and not first.urgent):
            return None
        del self._prompts[0]
        self._forget(first.queue_id)
        self._settle()
        return first

    # -- how it is done --

    @property
    def _urgent_count(self) -> int:
        return sum(prompt.urgent for prompt in self._prompts)

    def _place(self, queue_id: int) -> int | None:
        return next((at for at, prompt in enumerate(self._prompts) if prompt.queue_id == queue_id), None)

    def _insert(self, at: int, text: str, *, urgent: bool) -> QueuedPrompt:
        self._last_id += 1
        prompt = QueuedPrompt(self._last_id, text, urgent)
        self._prompts.insert(at, prompt)
        return prompt

    def _restore(self, at: int, before: QueuedPrompt) -> QueuedPrompt:
        now_at = self._place(before.queue_id)
        if now_at is not None:
            back = self._prompts[now_at] = replace(self._prompts[now_at], text=before.text)
            return back
        back = replace(before, urgent=False)
        self._prompts.insert(max(at, self._urgent_count), back)
        return back

    def _note(self, *before: tuple[int, QueuedPrompt]) -> None:
        self._changes.append(_Change(before, self._paused))

    def _forget(self, queue_id: int) -> None:
        """What was sent does not come back: it would be sent twice."""
        left = (
            replace(change, before=tuple(one for one in change.before if one[1].queue_id != queue_id))
            for change in self._changes
        )
        self._changes = deque((change for change in left if change.before), maxlen=CHANGES_KEPT)

    def _settle(self) -> None:
        self._paused = self._paused and len(self._prompts) > self._urgent_count
        if self._edited is not None and self._place(self._edited) is None:
            self._edited = None
