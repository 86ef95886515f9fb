"""The prompts that wait for the running turn, and what a person does to them (E8).

No prompt is lost: what was edited, removed or dropped can be restored until it has been sent, and a prompt
that is being edited is not sent meanwhile. Turns start and stop only through the session.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from core.base.errors import CaesuraError
from core.base.values import Value
from core.operations.events import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.cancel import CancelReason

CHANGES_KEPT = 100


class SessionError(CaesuraError):
    """The session cannot do that now."""


class QueuedPrompt(Value):
    """A prompt that waits. `queue_id` counts from 1 and is never used again.

    An `urgent` prompt goes before all others, as soon as no turn runs, even from a paused queue.
    """

    queue_id: int
    text: str
    urgent: bool = False


class _Change(Value):
    """Prompts as they were, each with its place, and whether the queue was paused then."""

    before: tuple[tuple[int, QueuedPrompt], ...]
    paused: bool


class QueueOwner(Protocol):
    """What a queue needs of its session."""

    @property
    def status(self) -> Status: ...

    @property
    def closed(self) -> bool: ...

    def check_open(self) -> None:
        """Raise `SessionError` if nothing can be submitted."""

    def begin_turn(self, prompt: str) -> None:
        """Start a turn now. The session must be idle."""

    def stop(self, reason: CancelReason) -> bool: ...

    def queue_changed(self) -> None:
        """Store the queue and notify the front ends."""


class PromptQueue:
    """The queue of one session. `texts` were left by an earlier run: they wait for the person.

    While it is `paused`, the prompts that are not urgent wait for the person; without any it never is.
    `edited` is the id of the prompt that is being edited: neither it nor what stands behind it is sent.
    """

    def __init__(self, owner: QueueOwner, texts: Iterable[str] = ()) -> None:
        self._owner = owner
        self._last_id = 0
        self._prompts: list[QueuedPrompt] = []
        self._changes: deque[_Change] = deque(maxlen=CHANGES_KEPT)
        self.edited: int | None = None
        self.paused = False
        for text in texts:
            self._add_held(text)

    @property
    def status(self) -> Status:
        """What the session is doing."""
        return self._owner.status

    @property
    def prompts(self) -> tuple[QueuedPrompt, ...]:
        """All of them, the next one first."""
        return tuple(self._prompts)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(prompt.text for prompt in self._prompts)

    def submit(self, text: str) -> None:
        """Start a turn with this prompt, or queue it behind the running one (U3). Raises `SessionError`."""
        _check_text(text)
        self._owner.check_open()
        if self.status is Status.IDLE:
            self._owner.begin_turn(text)
        else:
            self._insert(len(self._prompts), text, urgent=False)
            self._owner.queue_changed()

    def hold(self, text: str) -> None:
        """Queue a prompt that was sent before a stop, and pause. Raises `SessionError` for an empty one."""
        _check_text(text)
        self._add_held(text)
        self._owner.queue_changed()

    def stop_and_send(self, text: str, reason: CancelReason) -> None:
        """Stop what runs and send this next, before the queue, which stays (E8). Raises like `submit`."""
        _check_text(text)
        self._owner.check_open()
        if self.status is Status.IDLE:
            self._owner.begin_turn(text)
            return
        self._insert(self._urgent_count, text, urgent=True)
        # Also if the stop comes too late to be one: the person does not want the other prompts next.
        self._pause()
        self._owner.queue_changed()
        self._owner.stop(reason)

    def unpause(self) -> bool:
        """Send the prompts of a queue that a stop has paused; false when nothing can be sent now."""
        if self.status is not Status.IDLE or self._owner.closed:
            return False
        self.paused = False
        return self.begin_next()

    def send_now(self, queue_id: int, reason: CancelReason) -> bool:
        """Stop what runs and send this queued prompt next; false if it does not wait any more."""
        at = self._place(queue_id)
        if self._owner.closed or at is None:
            return False
        if not self._prompts[at].urgent:
            prompt = replace(self._prompts.pop(at), urgent=True)
            self._prompts.insert(self._urgent_count, prompt)
            self._settle()
        idle = self.status is Status.IDLE
        if not idle:
            self._pause()
        self._owner.queue_changed()
        if idle:
            self.begin_next()
        else:
            self._owner.stop(reason)
        return True

    def take_all(self) -> tuple[str, ...]:
        """Empty the queue and return its prompts; `undo` restores them."""
        texts = self.texts
        if texts:
            self._record_change(*enumerate(self._prompts))
            self._prompts.clear()
            self._settle()
        self._owner.queue_changed()
        return texts

    def begin_edit(self, queue_id: int) -> bool:
        """Hold this prompt back until `end_edit` or `edit`; false if it does not wait any more."""
        waits = self._place(queue_id) is not None
        if waits:
            self.edited = queue_id
        self._owner.queue_changed()
        return waits

    def end_edit(self) -> None:
        """Nothing is being edited any more: send what waited for that."""
        self.edited = None
        self._owner.queue_changed()
        self.begin_next()

    def edit(self, queue_id: int, text: str) -> bool:
        """Give a prompt another text, which ends its edit. False if it does not wait any more, or for an
        empty text."""
        at = self._place(queue_id) if text.strip() else None
        if at is not None:
            if self.edited == queue_id:
                self.edited = None
            before = self._prompts[at]
            if before.text != text:
                self._record_change((at, before))
                self._prompts[at] = replace(before, text=text)
        self._owner.queue_changed()
        self.begin_next()
        return at is not None

    def remove(self, queue_id: int) -> bool:
        """Take a prompt out; `undo` restores it. False if it does not wait any more."""
        at = self._place(queue_id)
        if at is not None:
            self._record_change((at, self._prompts[at]))
            del self._prompts[at]
            self._settle()
        self._owner.queue_changed()
        self.begin_next()
        return at is not None

    def undo(self) -> tuple[QueuedPrompt, ...]:
        """Undo the latest edit, removal or `take_all`; the prompts that it restored, none if there was none.

        They are not urgent. They wait for the person if no turn runs, or if the queue was paused then.
        """
        restored: tuple[QueuedPrompt, ...] = ()
        if self._changes:
            change = self._changes.pop()
            restored = tuple(self._restore(at, prompt) for at, prompt in change.before)
            if change.paused or self.status is Status.IDLE:
                self._pause()
        self._owner.queue_changed()
        return restored

    def pause(self) -> None:
        """After a stop or a failure: what waits does so for the person (E8)."""
        self._pause()
        if self.paused:
            self._owner.queue_changed()

    def begin_next(self) -> bool:
        """Send the next prompt if the session is idle and open; whether it did."""
        if self.status is not Status.IDLE or self._owner.closed:
            return False
        first = self._prompts[0] if self._prompts else None
        if first is None or first.queue_id == self.edited or (self.paused and not first.urgent):
            return False
        del self._prompts[0]
        self._forget_changes(first.queue_id)
        self._settle()
        self._owner.begin_turn(first.text)
        self._owner.queue_changed()
        return True

    @property
    def _urgent_count(self) -> int:
        return sum(prompt.urgent for prompt in self._prompts)

    def _place(self, queue_id: int) -> int | None:
        return next((at for at, prompt in enumerate(self._prompts) if prompt.queue_id == queue_id), None)

    def _insert(self, at: int, text: str, *, urgent: bool) -> None:
        self._last_id += 1
        self._prompts.insert(at, QueuedPrompt(self._last_id, text, urgent))

    def _add_held(self, text: str) -> None:
        self._insert(len(self._prompts), text, urgent=False)
        self._pause()

    def _restore(self, at: int, before: QueuedPrompt) -> QueuedPrompt:
        now_at = self._place(before.queue_id)
        if now_at is not None:
            restored = self._prompts[now_at] = replace(self._prompts[now_at], text=before.text)
            return restored
        restored = replace(before, urgent=False)
        self._prompts.insert(max(at, self._urgent_count), restored)
        return restored

    def _record_change(self, *before: tuple[int, QueuedPrompt]) -> None:
        self._changes.append(_Change(before, self.paused))

    def _forget_changes(self, queue_id: int) -> None:
        """A prompt that was sent cannot be restored: it would be sent twice."""
        left = (
            replace(change, before=tuple(one for one in change.before if one[1].queue_id != queue_id))
            for change in self._changes
        )
        self._changes = deque((change for change in left if change.before), maxlen=CHANGES_KEPT)

    def _pause(self) -> None:
        self.paused = True
        self._settle()

    def _settle(self) -> None:
        """Clear a pause and an edit that hold no prompt any more."""
        self.paused = self.paused and len(self._prompts) > self._urgent_count
        if self.edited is not None and self._place(self.edited) is None:
            self.edited = None


def _check_text(text: str) -> None:
    if not text.strip():
        raise SessionError("The prompt is empty: write something first.")
