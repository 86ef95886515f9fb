"""What keys and commands do to the prompts that wait: send, remove, bring back, and stop-and-send (E8).

It remembers nothing but the last press. What must never happen here: that a prompt goes without a sentence
that says how it comes back, or that one press sends twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from core.cancel import CancelReason, Cause
from core.events import Status
from tui.keys import key_name
from tui.queue_rows import QueueState, listing, name_of_prompt
from tui.slash import SlashCommandError
from tui.stop_keys import KEY_REPEAT_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.prompt_queue import QueuedPrompt


class Waiting(Protocol):
    """What the queue of a session is to the screen: `core.session.Session`."""

    @property
    def status(self) -> Status: ...

    @property
    def queue(self) -> tuple[QueuedPrompt, ...]: ...

    @property
    def queue_paused(self) -> bool: ...

    @property
    def queue_edited(self) -> int | None: ...

    def hold(self, text: str) -> None: ...

    def stop_and_send(self, text: str, reason: CancelReason) -> None: ...

    def send_queued(self) -> bool: ...

    def send_queued_now(self, queue_id: int, reason: CancelReason) -> bool: ...

    def take_queue(self) -> tuple[str, ...]: ...

    def begin_edit(self, queue_id: int) -> bool: ...

    def end_edit(self) -> None: ...

    def edit_queued(self, queue_id: int, text: str) -> bool: ...

    def remove_queued(self, queue_id: int) -> bool: ...

    def restore_queued(self) -> tuple[QueuedPrompt, ...]: ...


def queue_state(waiting: Waiting) -> QueueState:
    """What will happen to what waits."""
    prompts = waiting.queue
    urgent = sum(prompt.urgent for prompt in prompts)
    edited = bool(prompts) and waiting.queue_edited == prompts[0].queue_id
    return QueueState(len(prompts), urgent, waiting.queue_paused, waiting.status, edited)


class Queueing:
    """Of one session. `say` shows a word of the moment, `tell` a sentence that stays.

    `give_back` puts a text into the composer, or answers false if something is written there.
    """

    def __init__(
        self,
        waiting: Waiting,
        *,
        say: Callable[[str], object],
        tell: Callable[[str], object],
        give_back: Callable[[str], bool],
    ) -> None:
        self._waiting = waiting
        self._say = say
        self._tell = tell
        self._give_back = give_back
        self._pressed_at = float("-inf")

    def stop_and_send(self, text: str, at: float) -> None:
        """The key was pressed `at`, `time.monotonic()`, with this written: stop what runs and send it next.

        With nothing written, the next queued prompt is sent if no turn runs. Raises `CaesuraError` where a
        session cannot take it.
        """
        repeated = at - self._pressed_at < KEY_REPEAT_S
        self._pressed_at = at
        reason = CancelReason(Cause.USER, key_name("prompt.stop_and_send"), at)
        if repeated:
            # The same press: what stands in the composer by now was not meant.
            if text and not self._give_back(text):
                self._waiting.hold(text)
        elif text:
            self._waiting.stop_and_send(text, reason)
        elif self._waiting.status is not Status.IDLE:
            self._say(f"write first: {key_name('prompt.stop_and_send')} stops and sends it")
        elif self._waiting.queue:
            self._waiting.send_queued_now(self._waiting.queue[0].queue_id, reason)
        else:
            self._say("nothing is written, nothing is queued")

    def go_on(self) -> None:
        """Send what was paused, one after the other."""
        if self._waiting.send_queued():
            return
        if not self._waiting.queue:
            self._tell("Nothing was sent: no prompt is queued.")
        elif self._waiting.status is Status.IDLE:
            self._tell("Nothing was sent: the next prompt is being edited.")
        else:
            self._tell("Nothing was sent: a turn is still running. Esc stops it.")

    def drop(self, number: str) -> None:
        """Remove the prompt of this number, or with none all of them. Raises `SlashCommandError`."""
        if not number:
            taken = self._waiting.take_queue()
            many = f"{len(taken)} queued prompts: /undrop brings them back."
            one = "the queued prompt: /undrop brings it back."
            if taken:
                self._tell(f"Removed {one if len(taken) == 1 else many}")
            else:
                self._tell("No prompt is queued: there is nothing to drop.")
            return
        prompt = next((one for one in self._waiting.queue if str(one.queue_id) == number), None)
        if prompt is None or not self._waiting.remove_queued(prompt.queue_id):
            raise SlashCommandError(f"There is no queued prompt {number!r}: /queue lists them.")
        self._tell(f"Removed {name_of_prompt(prompt.text)}: /undrop brings it back.")

    def put_back(self) -> None:
        """Undo the latest removal or edit."""
        back = self._waiting.restore_queued()
        if not back:
            self._tell("There is nothing to bring back: no queued prompt was removed or edited.")
        elif len(back) == 1:
            self._tell(f"{name_of_prompt(back[0].text)} is queued again as it was.")
        else:
            self._tell(f"{len(back)} prompts are queued again as they were.")

    def list_queue(self) -> str:
        """What waits, with the numbers by which `/drop` goes."""
        return listing(self._waiting.queue, queue_state(self._waiting))
