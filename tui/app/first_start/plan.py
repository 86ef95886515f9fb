"""How the program continues from the first start to the first session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.base.errors import CaesuraError
from core.base.values import Value

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.model.provider import ModelChoice
    from core.model.setup import Chosen, Setup
    from core.session.archive import Sessions
    from core.session.session import Session
    from tui.pane.preferences import Preferences


class FirstStartPlan(Value):
    """What to do if no setting names the model.

    `settle` returns the model for a choice, `open_session` the first session, `demo_welcome` the text that a
    pane shows with the demo.
    """

    setup: Setup
    settle: Callable[[Chosen], Awaitable[ModelChoice]]
    open_session: Callable[[], Awaitable[Session]]
    demo_welcome: Callable[[], str] | None = None

    async def first_session(
        self, chosen: Chosen, preferences: Preferences, sessions: Sessions
    ) -> tuple[Session, tuple[str, ...]]:
        """The first session and sentences to show in it."""
        from core.model.setup import DemoChosen

        preferences.choice = await self.settle(chosen)
        notes: tuple[str, ...] = ()
        try:
            session = await self.open_session()
        except CaesuraError as error:
            # The session from the command line cannot be opened, but a new one can.
            session = sessions.new()
            notes = (str(error),)
        if self.demo_welcome is not None and isinstance(chosen, DemoChosen):
            notes = (*notes, self.demo_welcome())
        return session, notes
