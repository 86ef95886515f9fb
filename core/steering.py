"""What waits for the running turn, and how a person steers it: queue, edit, remove, stop and send (E8).

A session owns one, and asks it what comes next whenever it is idle. It starts and stops nothing but through
the session's own ways, so that a stop from here is a stop like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from core.errors import CaesuraError
from core.events import Status
from core.prompt_queue import PromptQueue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.cancel import CancelReason
    from core.prompt_queue import QueuedPrompt


class SessionError(CaesuraError):
    """The session cannot do that now."""


class Steered(Protocol):
    """What steering needs of its session."""

    @property
    def status(self) -> Status: ...

    @property
    def closed(self) -> bool: ...

    def check_open(self) -> None:
        """Raises `SessionError` if nothing can be submitted."""
        ...

    def begin_turn(self, text: str) -> None:
        """Start a turn now. The session must be idle."""
        ...

    def stop(self, reason: CancelReason) -> bool: ...

    def queue_changed(self, prompts: tuple[str, ...], *, paused: bool) -> None:
        """Write it down, and tell the front ends."""
        ...


class Steering:
    """See the module. `texts` were left by an earlier run."""

    def __init__(self, session: Steered, texts: Iterable[str] = ()) -> None:
        self._session = session
        self._prompts = PromptQueue(texts)

    # -- what there is --

    @property
    def status(self) -> Status:
        return self._session.status

    @property
    def queue(self) -> tuple[QueuedPrompt, ...]:
        return self._prompts.prompts

    @property
    def queue_texts(self) -> tuple[str, ...]:
        return self._prompts.texts

    @property
    def queue_paused(self) -> bool:
        return self._prompts.paused

    @property
    def queue_edited(self) -> int | None:
        """The queued prompt that somebody is editing."""
        return self._prompts.edited

    # -- what a person does --

    def submit(self, text: str) -> None:
        """Start a turn with this prompt, or queue it behind the running one (U3). Raises `SessionError`."""
        self._check(text)
        if self.status is Status.IDLE:
            self._session.begin_turn(text)
        else:
            self._prompts.add(text)
            self._tell()

    def hold(self, text: str) -> None:
        """Queue a prompt and have it wait for the person. Raises `SessionError` for an empty one."""
        _check_text(text)
        self._prompts.hold(text)
        self._tell()

    def stop_and_send(self, text: str, reason: CancelReason) -> None:
        """Stop what runs and send this as soon as it has ended, before the queue, which stays (E8).

        Raises `SessionError` like `submit`.
        """
        self._check(text)
        if self.status is Status.IDLE:
            self._session.begin_turn(text)
            return
        self._prompts.add_urgent(text)
        # Also if the stop comes too late to be one: what else waits is not what the person wants next.
        self._prompts.pause()
        self._tell()
        self._session.stop(reason)

    def send_queued(self) -> bool:
        """Go on with a queue that a stop has paused; false when nothing can be sent now."""
        if self.status is not Status.IDLE or self._session.closed:
            return False
        self._prompts.go_on()
        return self.begin_next()

    def send_queued_now(self, queue_id: int, reason: CancelReason) -> bool:
        """Stop what runs and send this queued prompt next; false if it does not wait any more."""
        if self._session.closed or not self._prompts.make_urgent(queue_id):
            return False
        if self.status is not Status.IDLE:
            self._prompts.pause()
        self._tell()
        if self.status is Status.IDLE:
            self.begin_next()
        else:
            self._session.stop(reason)
        return True

    def take_queue(self) -> tuple[str, ...]:
        """Empty the queue and hand its prompts back; `restore_queued` undoes it."""
        taken = self._prompts.take_all()
        self._tell()
        return taken

    def begin_edit(self, queue_id: int) -> bool:
        """Hold a queued prompt back while it is being edited; false if it does not wait any more."""
        begun = self._prompts.begin_edit(queue_id)
        self._tell()
        return begun

    def end_edit(self) -> None:
        """Nothing is being edited any more: what waited for that goes on."""
        self._prompts.end_edit()
        self._tell()
        self.begin_next()

    def edit_queued(self, queue_id: int, text: str) -> bool:
        """Give a queued prompt another text; false if it does not wait any more, or the text is empty."""
        edited = bool(text.strip()) and self._prompts.edit(queue_id, text)
        self._tell()
        self.begin_next()
        return edited

    def remove_queued(self, queue_id: int) -> bool:
        """Take a queued prompt out; `restore_queued` undoes it. False if it does not wait any more."""
        removed = self._prompts.remove(queue_id)
        self._tell()
        self.begin_next()
        return removed

    def restore_queued(self) -> tuple[QueuedPrompt, ...]:
        """Undo the latest edit or removal; what it gave back. If nothing runs, that waits for the person."""
        back = self._prompts.put_back()
        if back and self.status is Status.IDLE:
            self._prompts.pause()
        self._tell()
        return back

    # -- what the session does --

    def pause(self) -> None:
        """Something was stopped or has failed: what waits does so for the person (E8)."""
        self._prompts.pause()
        if self._prompts.paused:
            self._tell()

    def begin_next(self) -> bool:
        """Go on with the queue, if the session is idle and still open; whether it did."""
        if self.status is not Status.IDLE or self._session.closed:
            return False
        prompt = self._prompts.take_next()
        if prompt is None:
            return False
        self._session.begin_turn(prompt.text)
        self._tell()
        return True

    def _check(self, text: str) -> None:
        _check_text(text)
        self._session.check_open()

    def _tell(self) -> None:
        self._session.queue_changed(self._prompts.texts, paused=self._prompts.paused)


def _check_text(text: str) -> None:
    if not text.strip():
        raise SessionError("The prompt is empty: write something first.")
