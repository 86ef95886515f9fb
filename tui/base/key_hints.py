"""The row at the foot of a list that says which key does what. A click on a hint posts its action.

Hints that do not fit are left out from the end, so the most important comes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Generic, NamedTuple, TypeVar

from rich.cells import cell_len
from rich.segment import Segment
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events

_GAP = 2

Action = TypeVar("Action")


class KeyHint(NamedTuple, Generic[Action]):
    """What a key does: the name of the key as it is shown, and words for its action."""

    action: Action
    key: str
    words: str


class _Place(NamedTuple, Generic[Action]):
    hint: KeyHint[Action]
    start: int
    words: str

    @property
    def end(self) -> int:
        return self.start + cell_len(self.hint.key) + cell_len(self.words)


class KeyHints(Widget, Generic[Action]):
    """The hints that apply now."""

    ALLOW_SELECT = False
    FOCUS_ON_CLICK = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-hints--key", "key-hints--words"}
    DEFAULT_CSS = """
    KeyHints {
        height: 1;
        width: 100%;
        & .key-hints--key { color: $foreground; text-style: bold; }
        & .key-hints--words { color: $foreground 70%; }
    }
    """

    class Clicked(Message):
        """A hint was clicked."""

        def __init__(self, action: object) -> None:
            super().__init__()
            self.action = action

    def __init__(self, hints: Sequence[KeyHint[Action]] = ()) -> None:
        super().__init__()
        self._key_hints = tuple(hints)

    def show(self, hints: Sequence[KeyHint[Action]]) -> None:
        if tuple(hints) != self._key_hints:
            self._key_hints = tuple(hints)
            self.refresh()

    def on_click(self, event: events.Click) -> None:
        event.stop()
        offset = event.get_content_offset(self)
        for place in self._places():
            if offset is not None and place.start <= offset.x < place.end:
                self.post_message(self.Clicked(place.hint.action))

    def _places(self) -> list[_Place[Action]]:
        """Place all hints with their words if they fit, else the first ones, and keys alone for the
        others."""
        width = self.content_size.width
        places: list[_Place[Action]] = []
        for with_words in range(len(self._key_hints), -1, -1):
            places = []
            start = 0
            for number, hint in enumerate(self._key_hints):
                place = _Place(hint, start, f" {hint.words}" if number < with_words else "")
                places.append(place)
                start = place.end + _GAP
            if places and places[-1].end <= width:
                return places
        return [place for place in places if place.end <= width]

    def render_line(self, y: int) -> Strip:
        segments: list[Segment] = []
        column = 0
        for place in self._places():
            segments += [
                Segment(" " * (place.start - column), self.rich_style),
                Segment(place.hint.key, self.get_component_rich_style("key-hints--key")),
                Segment(place.words, self.get_component_rich_style("key-hints--words")),
            ]
            column = place.end
        return Strip(segments).adjust_cell_length(self.content_size.width, self.rich_style)
