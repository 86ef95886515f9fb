"""The ways out of the program: a key, a command, a signal, a closed terminal."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from core.base.errors import CaesuraError
from core.cancel import CancelReason, Cause
from core.operations.events import Status
from tui.keys.bindings import key_name
from tui.pane.call_stops import background_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tui.pane.pane import Pane

QUIT_GRACE_S = 2.0
"""Seconds that a quit waits for what runs."""

QUIT_ASKED_S = 10.0
"""How long a question whether to quit stands; to ask for the end again in this time is the answer."""


class QuitControl:
    """Ends the program once, within a bound. `panes` are those that are open now, the shown one last;
    `exit_program` ends the app with an exit code; `clock` gives seconds."""

    def __init__(
        self, panes: Sequence[Pane], exit_program: Callable[[int], object], clock: Callable[[], float]
    ) -> None:
        self._panes = panes
        self._exit = exit_program
        self._clock = clock
        self._asked_at = float("-inf")
        self._quitting: asyncio.Task[None] | None = None

    def ask(self, reason: CancelReason) -> None:
        """A person wants to quit: ask first, in the shown pane, if something would be lost."""
        asked = self._clock() - self._asked_at < QUIT_ASKED_S
        lost = "" if asked or self._quitting is not None else self._what_would_be_lost()
        if lost:
            self._asked_at = self._clock()
            self._panes[-1].add_notice(f"{lost} {key_name('app.quit')} or /quit again quits.")
        else:
            self.quit(reason, 0)

    def quit(self, reason: CancelReason, exit_code: int) -> None:
        """Stop what runs, wait for it within a bound, and end. A second call ends at once."""
        if self._quitting is None:
            self._quitting = asyncio.create_task(self._quit(reason, exit_code), name="quit")
        else:
            for pane in self._panes:
                pane.session.force()
            self._exit(exit_code)

    def signal(self, number: signal.Signals, count: int) -> None:
        """Act on a signal as on its key (Q1). SIGINT stops the turn of the shown pane; others quit."""
        reason = CancelReason(Cause.SIGNAL, number.name)
        session = self._panes[-1].session if self._panes else None
        if number is signal.SIGINT and session is not None and session.status is not Status.IDLE:
            if count > 1 or not session.stop(reason):
                session.force()
        else:
            self.quit(reason, 128 + number)

    async def close_sessions(self, reason: CancelReason) -> None:
        await asyncio.gather(*(pane.session.aclose(reason, grace_s=QUIT_GRACE_S) for pane in self._panes))

    async def _quit(self, reason: CancelReason, exit_code: int) -> None:
        await self.close_sessions(reason)
        self._exit(exit_code)

    def _what_would_be_lost(self) -> str:
        """In sentences; empty if nothing would."""
        sentences = []
        if count := sum(len(background_of(pane.session)) for pane in self._panes):
            what = "1 background command" if count == 1 else f"{count} background commands"
            sentences.append(f"{what} will be stopped. /running shows what runs.")
        for pane in self._panes:
            try:
                pane.lists.check_unsaved()
            except CaesuraError as error:
                sentences.append(str(error))
        return " ".join(sentences)
