"""Shows in a pane what its session has said and what happens in it."""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING

from core.operations.events import (
    Event,
    QuestionAsked,
    ReasoningArrived,
    TextArrived,
    TurnEnded,
    TurnStarted,
)
from tui.transcript.live import LiveView

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.storage.records import LoadedSession
    from tui.commands.opening import Opening
    from tui.pane.call_stops import CallStops
    from tui.pane.state import PaneState


class SessionFeed:
    """Passes the events of the session on to transcript, keys and state. Call `aclose` when done."""

    def __init__(self, state: PaneState, stops: CallStops) -> None:
        self._state = state
        self._stops = stops
        widgets = state.widgets
        self._live = LiveView(widgets.transcript, widgets.prompt.set_text_if_empty)
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self, opening: Opening) -> None:
        """Show what there is of the session, and give back a prompt of which nothing was kept (H1)."""
        session, widgets = self._state.session, self._state.widgets
        # Textual's timers need their app, which the tasks of a session that was opened before it do not know.
        context = copy_context()
        self._unsubscribe = session.subscribe(lambda event: context.copy().run(self._on_event, event))
        if (loaded := session.record.loaded) is not None:
            self._state.pane.run_worker(self._replay(loaded), group="replay")
        for note in (*opening.notes, *([session.read_only] if session.read_only else [])):
            widgets.notify(note)
        if draft := opening.draft or session.continuation.returned_prompt:
            widgets.prompt.set_text_if_empty(draft)

    async def aclose(self) -> None:
        self._unsubscribe()
        await self._live.aclose()

    async def _replay(self, loaded: LoadedSession) -> None:
        from tui.pane.garbage import freeze_started_objects
        from tui.transcript.stored import StoredView

        stored = StoredView(freeze_started_objects)
        await stored.show(
            loaded, self._state.widgets.transcript, read_only=bool(self._state.session.read_only)
        )

    def _on_event(self, event: Event) -> None:
        self._live.on_event(event)
        match event:
            case TextArrived() | ReasoningArrived():
                return
            case TurnEnded(proof=proof):
                self._state.stop_keys.turn_ended(stopped=proof is not None)
            case TurnStarted():
                self._state.stop_keys.turn_started()
                self._state.drop_hint()
                self._stops.forget_list()
            case QuestionAsked():
                # The event comes before the question is open.
                self._state.pane.call_next(self._state.refresh)
            case _:
                pass
        self._state.refresh()
        self._state.widgets.panel.wake()
