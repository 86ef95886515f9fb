"""What takes its time in the first start: the test, which a stop ends, and then keeping what was chosen.

It has no widget: it says to which step things have come, and how they end.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.errors import CaesuraError
from core.setup import KeyHome
from tui.first_start import Attempt, Keeping, Over, Placing, Trying, Unproven

if TYPE_CHECKING:
    from core.setup import ModelChosen, Setup
    from tui.first_start import Step
    from tui.interrupt import InterruptGate, Press

Work: TypeAlias = Callable[[], Coroutine[None, None, None]]

STOPPED = "The test was stopped: nobody knows yet whether it works."


class FirstStartWork:
    """One piece of work at a time. `go` is told each step, `done` the choice and sentences about it.

    `gate` is armed while something is tested, so that the input thread can stop it by itself.
    """

    def __init__(
        self,
        setup: Setup,
        gate: InterruptGate,
        go: Callable[[Step], object],
        done: Callable[[ModelChosen, tuple[str, ...]], object],
    ) -> None:
        self._setup = setup
        self._gate = gate
        self._go = go
        self._done = done
        self._token: CancelToken | None = None

    @property
    def is_stopping(self) -> bool:
        return self._token is not None and self._token.cancelled

    def stop(self, reason: CancelReason) -> bool:
        """Stop the test; false if there is none. Once more: force it."""
        if self._token is None:
            return False
        _stop(self._token, reason)
        return True

    def test(self, attempt: Attempt) -> Work:
        """Test it, then keep it. It can be stopped from this call on, before what it returns is called."""
        token = self._token = CancelToken("test of the first start")

        def interrupt(press: Press) -> None:
            """In the input thread."""
            _stop(token, CancelReason(Cause.USER, press.key.value, press.at))

        self._gate.arm(interrupt)
        self._go(Trying(attempt))
        return partial(self._test, attempt, token)

    async def _test(self, attempt: Attempt, token: CancelToken) -> None:
        try:
            trial = await self._setup.test(attempt.chosen, token)
            # Stopped is stopped, though the answer came in the same moment.
            token.check()
        except Cancelled:
            failure = STOPPED
        else:
            failure = trial.failure
        finally:
            self._gate.disarm()
            self._token = None
        if failure:
            self._go(Unproven(attempt, failure))
        else:
            await self.keep(attempt, KeyHome.KEYRING)()

    def keep(self, attempt: Attempt, home: KeyHome) -> Work:
        """Keep the key, if one was entered for this, and write the choice down."""
        self._go(Keeping())
        return partial(self._keep, attempt, home)

    async def _keep(self, attempt: Attempt, home: KeyHome) -> None:
        notes: list[str] = []
        try:
            if attempt.entered is not None:
                kept = await self._setup.keep_key(attempt.entered.name, home)
                if kept.failure:
                    self._go(Placing(attempt, kept.failure))
                    return
                notes.append(kept.note)
            saved = await self._setup.save(attempt.chosen)
        except CaesuraError as error:
            self._go(Unproven(attempt, str(error)))
            return
        notes += [saved.note, saved.failure]
        self._go(Over())
        chosen = attempt.chosen if saved.failure else attempt.chosen.by_name
        self._done(chosen, tuple(note for note in notes if note))


def _stop(token: CancelToken, reason: CancelReason) -> None:
    if not token.cancel(reason):
        token.force()
