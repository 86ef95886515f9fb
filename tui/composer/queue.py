"""What keys and commands do to queued prompts: send, remove, bring back, and stop-and-send (E8).

The only state is the time of the last press: one press never sends twice. Each removal says how the prompt
comes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.cancel import CancelReason, Cause
from core.operations.events import Status
from tui.commands.slash import SlashCommandError
from tui.composer.queue_rows import QueueState, listing, name_of_prompt
from tui.keys.bindings import key_name
from tui.keys.stop_keys import KEY_REPEAT_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.session.queue import PromptQueue


def queue_state(queue: PromptQueue) -> QueueState:
    """What will happen to the queued prompts."""
    prompts = queue.prompts
    urgent = sum(prompt.urgent for prompt in prompts)
    edited = bool(prompts) and queue.edited == prompts[0].queue_id
    return QueueState(len(prompts), urgent, queue.paused, queue.status, edited)


class QueueActions:
    """The actions on one session's queue. `hint` shows a short note for a moment, `notify` one that stays.

    `give_back` puts a text into the composer; false if something is written there.
    """

    def __init__(
        self,
        queue: PromptQueue,
        *,
        hint: Callable[[str], object],
        notify: Callable[[str], object],
        give_back: Callable[[str], bool],
    ) -> None:
        self._queue = queue
        self._hint = hint
        self._notify = notify
        self._give_back = give_back
        self._pressed_at = float("-inf")

    def stop_and_send(self, text: str, at: float) -> None:
        """Stop what runs and send `text` next; the key was pressed `at`, in the time of `time.monotonic`.

        With an empty text, the next queued prompt is sent if no turn runs. Raises `CaesuraError` if the
        session cannot take it.
        """
        repeated = at - self._pressed_at < KEY_REPEAT_S
        self._pressed_at = at
        reason = CancelReason(Cause.USER, key_name("prompt.stop_and_send"), at)
        if repeated:
            # Key repeat: what is in the composer by now was not meant.
            if text and not self._give_back(text):
                self._queue.hold(text)
        elif text:
            self._queue.stop_and_send(text, reason)
        elif self._queue.status is not Status.IDLE:
            self._hint(f"write first: {key_name('prompt.stop_and_send')} stops and sends it")
        elif self._queue.prompts:
            self._queue.send_now(self._queue.prompts[0].queue_id, reason)
        else:
            self._hint("nothing is written, nothing is queued")

    def go_on(self) -> None:
        """Send the paused prompts, one after the other."""
        if self._queue.unpause():
            return
        if not self._queue.prompts:
            self._notify("Nothing was sent: no prompt is queued.")
        elif self._queue.status is Status.IDLE:
            self._notify("Nothing was sent: the next prompt is being edited.")
        else:
            self._notify("Nothing was sent: a turn is still running. Esc stops it.")

    def drop(self, number: str) -> None:
        """Remove the prompt with this number, or all for an empty one. Raises `SlashCommandError`."""
        if not number:
            taken = self._queue.take_all()
            many = f"{len(taken)} queued prompts: /undrop brings them back."
            one = "the queued prompt: /undrop brings it back."
            if taken:
                self._notify(f"Removed {one if len(taken) == 1 else many}")
            else:
                self._notify("No prompt is queued: there is nothing to drop.")
            return
        prompt = next((one for one in self._queue.prompts if str(one.queue_id) == number), None)
        if prompt is None or not self._queue.remove(prompt.queue_id):
            raise SlashCommandError(f"There is no queued prompt {number!r}: /queue lists them.")
        self._notify(f"Removed {name_of_prompt(prompt.text)}: /undrop brings it back.")

    def put_back(self) -> None:
        """Undo the latest removal or edit."""
        back = self._queue.undo()
        if not back:
            self._notify("There is nothing to bring back: no queued prompt was removed or edited.")
        elif len(back) == 1:
            self._notify(f"{name_of_prompt(back[0].text)} is queued again as it was.")
        else:
            self._notify(f"{len(back)} prompts are queued again as they were.")

    def list_queue(self) -> str:
        """The queued prompts, with the numbers that `/drop` takes."""
        return listing(self._queue.prompts, queue_state(self._queue))
