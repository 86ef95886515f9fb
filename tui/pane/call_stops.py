"""How a person stops one thing that is alive: by its button, a key, a question or a number.

All ways lead to `Session.stop_call`, and all say the same when there is nothing left to stop. What must never
happen here: that a press meant for a stop becomes a kill, or one meant for one call reaches another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.cancel import CancelReason, Cause
from core.operations import CancelAnswer, OperationKind, OperationState
from tui.operation_rows import Button, argument, in_tree_order, listing
from tui.slash import SlashCommandError

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.operations import OperationView
    from core.session import Session

SAME_PRESS_S = 0.15
"""A second press this soon after one that stopped is the same press: a bounce, or a double click."""


class CallStops:
    """For one session. `tell` says a sentence to the person; `clock` gives seconds."""

    def __init__(self, session: Session, tell: Callable[[str], object], clock: Callable[[], float]) -> None:
        self._session = session
        self._tell = tell
        self._clock = clock
        self._pressed: dict[str, float] = {}
        self._listed: tuple[str, ...] = ()

    def press(self, call_id: str, button: Button, source: str) -> None:
        """The button of a row was used. One that read `stop` never kills, whatever it reads by now."""
        now = self._clock()
        recent = now - self._pressed.get(call_id, float("-inf")) < SAME_PRESS_S
        self._pressed = {call_id: now}
        if recent or (button is Button.STOP and self._is_stopping(call_id)):
            return
        self.stop(call_id, source)

    def _is_stopping(self, call_id: str) -> bool:
        return any(
            view.state is OperationState.STOPPING
            for view in self._session.operations()
            if view.call_id == call_id
        )

    def stop(self, call_id: str, source: str, words: str = "") -> None:
        """Stop it, or force what is stopping already (S11)."""
        result = self._session.stop_call(call_id, CancelReason(Cause.USER, source, words=words))
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
            placed.view.call_id for placed in in_tree_order(self._session.operations())
        )
        if not 1 <= number <= len(known):
            told = f"the list ends at {len(known)}." if known else "nothing is running."
            raise SlashCommandError(f"There is no number {number}: {told}")
        self.stop(known[number - 1], "/stop", words)

    def list_running(self, now: float) -> str:
        """What is alive, numbered; `/stop` goes by these numbers until the next list or turn."""
        placed = in_tree_order(self._session.operations())
        self._listed = tuple(one.view.call_id for one in placed)
        return listing(placed, now) if placed else "Nothing is running."

    def forget_list(self) -> None:
        """A new turn: its calls have other numbers."""
        self._listed = ()

    def give_time(self, call_id: str, seconds: float) -> None:
        if not self._session.extend(call_id, seconds):
            self._tell("Its deadline cannot be moved: it has none, is being stopped or has ended.")

    async def kill_survivors(self) -> None:
        """Kill again what refused to end, and say what has become of it."""
        if not self._session.survivors:
            self._tell("There is nothing to kill: everything that was stopped has ended.")
        elif await self._session.kill_survivors():
            self._tell("Killed: nothing that was stopped is alive any more.")
        else:
            self._tell(f"{name_processes(self._session.survivors)} cannot be killed from here.")


def background_of(session: Session) -> list[OperationView]:
    """Commands that outlive their turn, and would be stopped by quitting."""
    return [view for view in session.operations() if view.kind is OperationKind.BACKGROUND]


def name_processes(processes: tuple[tuple[int, str], ...]) -> str:
    return ", ".join(f"{argument(name)} (process {pid})" for pid, name in processes)
