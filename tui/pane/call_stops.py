"""How a user stops a single operation: by its button, a key, a question or a number.

All ways lead to `Session.operations.cancel` and show the same text if there is nothing left to stop. A press
meant for a stop must never become a kill, and one meant for one call must never reach another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.cancel import CancelReason, Cause
from core.operations.operation import CancelAnswer, OperationKind, OperationState
from tui.commands.slash import SlashCommandError
from tui.lists.running.operation_rows import Button, argument, in_tree_order, listing

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.operations.operation import OperationView
    from core.session.session import Session

SAME_PRESS_S = 0.15
"""A second press this soon after a stopping press is the same press: a bounce or a double click."""


class CallStops:
    """Stops for one session. `tell` shows a sentence to the user; `clock` returns seconds."""

    def __init__(self, session: Session, tell: Callable[[str], object], clock: Callable[[], float]) -> None:
        self._session = session
        self._tell = tell
        self._clock = clock
        self._pressed: dict[str, float] = {}
        self._listed: tuple[str, ...] = ()

    def press(self, call_id: str, button: Button, source: str) -> None:
        """Handle a row's button. A press on `stop` never kills, whatever the button shows by now."""
        now = self._clock()
        recent = now - self._pressed.get(call_id, float("-inf")) < SAME_PRESS_S
        self._pressed = {call_id: now}
        if recent or (button is Button.STOP and self._is_stopping(call_id)):
            return
        self.stop(call_id, source)

    def _is_stopping(self, call_id: str) -> bool:
        return any(
            view.state is OperationState.STOPPING
            for view in self._session.operations.snapshot()
            if view.call_id == call_id
        )

    def stop(self, call_id: str, source: str, words: str = "") -> None:
        """Stop the call, or force it if it is already stopping (S11)."""
        result = self._session.operations.cancel(call_id, CancelReason(Cause.USER, source, words=words))
        match result.answer:
            case CancelAnswer.NOT_FOUND:
                self._tell("It has ended already: there was nothing left to stop.")
            case CancelAnswer.ALREADY_CANCELLED if words:
                self._tell("It was being stopped already: it is killed now, and your words came too late.")
            case _:
                pass

    def stop_numbered(self, number: int, words: str) -> None:
        """Stop the n-th row of the latest list. Raises `SlashCommandError` if there is no such row."""
        known = self._listed or tuple(
            placed.view.call_id for placed in in_tree_order(self._session.operations.snapshot())
        )
        if not 1 <= number <= len(known):
            told = f"the list ends at {len(known)}." if known else "nothing is running."
            raise SlashCommandError(f"There is no number {number}: {told}")
        self.stop(known[number - 1], "/stop", words)

    def list_running(self, now: float) -> str:
        """A numbered list of what is running; `/stop` uses these numbers until the next list or turn."""
        placed = in_tree_order(self._session.operations.snapshot())
        self._listed = tuple(one.view.call_id for one in placed)
        return listing(placed, now) if placed else "Nothing is running."

    def forget_list(self) -> None:
        """Forget the numbers: the calls of a new turn have other numbers."""
        self._listed = ()

    def give_time(self, call_id: str, seconds: float) -> None:
        if not self._session.operations.extend(call_id, seconds):
            self._tell("Its deadline cannot be moved: it has none, is being stopped or has ended.")

    async def kill_survivors(self) -> None:
        """Kill what refused to end once more and report the result."""
        if not self._session.unkilled.names:
            self._tell("There is nothing to kill: everything that was stopped has ended.")
        elif await self._session.unkilled.kill():
            self._tell("Killed: nothing that was stopped is alive any more.")
        else:
            names = [f"{argument(name)} (process {pid})" for pid, name in self._session.unkilled.names]
            self._tell(f"{', '.join(names)} cannot be killed from here.")


def background_of(session: Session) -> list[OperationView]:
    """Commands that outlive their turn and would be stopped by quitting."""
    return [view for view in session.operations.snapshot() if view.kind is OperationKind.BACKGROUND]
