"""Reads from the parts of a pane what its keys depend on; it remembers nothing (U4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tui.key_state import KeyState, Place

if TYPE_CHECKING:
    from textual.widget import Widget

    from core.session import Session
    from tui.stop_keys import StopKeys
    from tui.widgets.dialogs import Dialogs
    from tui.widgets.lists import Lists
    from tui.widgets.panel import Panel
    from tui.widgets.prompt import Prompt
    from tui.widgets.queue_list import QueueList


class Opens(Protocol):
    """`tui.widgets.completion.Completion`, or nothing in its place yet."""

    @property
    def is_open(self) -> bool: ...


class Parts(Protocol):
    """`tui.widgets.pane.Pane`."""

    session: Session
    stop_keys: StopKeys

    @property
    def completion(self) -> Opens: ...

    @property
    def prompt(self) -> Prompt: ...

    @property
    def lists(self) -> Lists: ...

    @property
    def dialogs(self) -> Dialogs: ...

    @property
    def queue(self) -> QueueList: ...

    @property
    def panel(self) -> Panel: ...


def key_state(parts: Parts, focused: Widget | None) -> KeyState:
    """The state at this moment. `focused` is the widget that has the focus on the screen."""
    session = parts.session
    places = _places(parts)
    waiting = session.steering.queue
    edited = session.steering.queue_edited
    return KeyState(
        status=session.status,
        place=next((place for place, widget in places if widget is focused), Place.COMPOSER),
        stations=tuple(place for place, _ in places),
        written=not parts.prompt.is_empty,
        completing=parts.completion.is_open,
        queued=len(waiting),
        editing_next=bool(waiting) and waiting[0].queue_id == edited,
        question=parts.dialogs.question is not None,
        waiting=session.back_off is not None,
        refused=bool(session.survivors),
        esc_again=parts.stop_keys.esc_rewinds,
        ctrl_c_again=parts.stop_keys.ctrl_c_quits,
        aftershock=parts.stop_keys.aftershock,
        mode=session.mode,
    )


def _places(parts: Parts) -> list[tuple[Place, Widget]]:
    """Where Tab goes, in its order."""
    words = [Place.WORDS] if parts.dialogs.words_open else []
    named = (
        ([Place.COMPOSER], [parts.prompt]),
        ([Place.LIST], parts.lists.stations),
        ([*words, Place.QUESTION], parts.dialogs.stations),
        ([Place.QUEUE, Place.QUEUE_EDITOR], parts.queue.stations),
        ([Place.PANEL], [parts.panel] if parts.panel.is_open else []),
    )
    # Of the last ones there may be none.
    return [pair for places, widgets in named for pair in zip(places, widgets, strict=False)]
