"""The slow parts of the first start: the test, which a stop ends, and then saving the choice.

It has no widget: it reports each step and the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.base.errors import CaesuraError
from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.model.setup import KeyHome
from tui.app.first_start.steps import Attempt, Keeping, Over, Placing, Trying, Unproven

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from core.model.setup import ModelChosen, Setup
    from tui.app.first_start.steps import Step
    from tui.terminal.interrupt import InterruptGate, Press

STOPPED = "The test was stopped: nobody knows yet whether it works."


class FirstStartWork:
    """One job at a time. `go` is called with each step, `done` with the choice and sentences about it.

    `gate` is armed during a test, so that the input thread can stop it.
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
        """Stop the test, or force it the second time; false if there is none."""
        if self._token is None:
            return False
        _stop(self._token, reason)
        return True

    def test(self, attempt: Attempt) -> Coroutine[None, None, None]:
        """Test `attempt`, then save it. It can be stopped from now on, even before the result is awaited."""
        token = self._token = CancelToken("test of the first start")

        def interrupt(press: Press) -> None:
            """Stop the test. Runs in the input thread."""
            _stop(token, CancelReason(Cause.USER, press.key.value, press.at))

        self._gate.arm(interrupt)
        self._go(Trying(attempt))
        return self._test(attempt, token)

    async def _test(self, attempt: Attempt, token: CancelToken) -> None:
        try:
            failure = await self._setup.test(attempt.chosen, token)
            # A stop counts even if the answer came at the same moment.
            token.check()
        except Cancelled:
            failure = STOPPED
        finally:
            self._gate.disarm()
            self._token = None
        if failure:
            self._go(Unproven(attempt, failure))
        else:
            await self.keep(attempt, KeyHome.KEYRING)

    def forget_key(self, attempt: Attempt) -> None:
        """Drop the key that was entered for this attempt, if there was one."""
        if attempt.entered is not None:
            self._setup.drop_key(attempt.entered.name)

    def keep(self, attempt: Attempt, home: KeyHome) -> Coroutine[None, None, None]:
        """Save the key, if one was entered for this attempt, and save the choice."""
        self._go(Keeping())
        return self._keep(attempt, home)

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
