"""The row at the foot of a list that says which key does what; a click on one does the same.

It decides nothing: it posts what was clicked. What does not fit is left out from the end, so the most
important comes first.
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

Act = TypeVar("Act")


class Chord(NamedTuple, Generic[Act]):
    """What a key does: the name of the key, and the words for it."""

    act: Act
    key: str
    words: str


class _Place(NamedTuple, Generic[Act]):
    chord: Chord[Act]
    start: int
    words: str

    @property
    def end(self) -> int:
        return self.start + cell_len(self.chord.key) + cell_len(self.words)


class Chords(Widget, Generic[Act]):
    """See the module."""

    ALLOW_SELECT = False
    FOCUS_ON_CLICK = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {"chords--key", "chords--words"}
    DEFAULT_CSS = """
    Chords {
        height: 1;
        width: 100%;
        & .chords--key { color: $foreground; text-style: bold; }
        & .chords--words { color: $foreground 70%; }
    }
    """

    class Clicked(Message):
        """The words of a key were clicked."""

        def __init__(self, act: object) -> None:
            super().__init__()
            self.act = act

    def __init__(self, chords: Sequence[Chord[Act]] = ()) -> None:
        super().__init__()
        self._chords = tuple(chords)

    def show(self, chords: Sequence[Chord[Act]]) -> None:
        if tuple(chords) != self._chords:
            self._chords = tuple(chords)
            self.refresh()

    def on_click(self, event: events.Click) -> None:
        event.stop()
        offset = event.get_content_offset(self)
        for place in self._places():
            if offset is not None and place.start <= offset.x < place.end:
                self.post_message(self.Clicked(place.chord.act))

    def _places(self) -> list[_Place[Act]]:
        """With all words if they fit, else with those of the first ones, and the keys of as many as fit."""
        width = self.content_size.width
        places: list[_Place[Act]] = []
        for with_words in range(len(self._chords), -1, -1):
            places = []
            start = 0
            for number, chord in enumerate(self._chords):
                place = _Place(chord, start, f" {chord.words}" if number < with_words else "")
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
                Segment(place.chord.key, self.get_component_rich_style("chords--key")),
                Segment(place.words, self.get_component_rich_style("chords--words")),
            ]
            column = place.end
        return Strip(segments).adjust_cell_length(self.content_size.width, self.rich_style)
