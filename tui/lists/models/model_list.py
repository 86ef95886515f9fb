"""The list of models: found by typing, marked as favourites, and picked, with an effort where there is one.

Letters go to the line at its head, so that everything else is a chord. It changes no setting: it posts what
was picked and marked. Nothing here waits: the models come when they come, and what is typed by then is kept.

What it must never do: hold the event loop up, however many models there are, or pick what is not in sight.
Esc and Ctrl+C are not its business.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, assert_never

from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from core.errors import CaesuraError
from core.model import Effort
from tui.list_rows import HintRow
from tui.model_rows import (
    USE_AS_IT_IS,
    Looks,
    ModelListRow,
    UseRow,
    fact_lines,
    heads_line,
    make_rows,
    row_line,
)
from tui.model_search import Entry, make_entry, ordered, parse_query, unknown_entries
from tui.output import one_line
from tui.widgets.chords import Chord, Chords
from tui.widgets.list_line import ListLine
from tui.widgets.open_list import OpenList
from tui.widgets.row_list import RowList

if TYPE_CHECKING:
    from textual import events

    from core.model import Offer
    from tui.list_rows import Line
    from tui.model_shelf import ModelShelf

LOW: Final = 6
"""With fewer rows than this there is no frame and no foot."""

FACTS_FROM: Final = {12: 2, 18: 4, 28: 5}
"""From which height of the list on the facts of the selected model have how many lines."""

SLICE: Final = 100
"""So many models are prepared at a time: about a millisecond."""


class ModelAct(Enum):
    """What a person can do in the list."""

    PICK = auto()
    UP = auto()
    DOWN = auto()
    PAGE_UP = auto()
    PAGE_DOWN = auto()
    FIRST = auto()
    LAST = auto()
    FAVOURITE = auto()
    EFFORT = auto()


KEYS: Final = {
    "enter": ModelAct.PICK,
    "up": ModelAct.UP,
    "down": ModelAct.DOWN,
    "pageup": ModelAct.PAGE_UP,
    "pagedown": ModelAct.PAGE_DOWN,
    "ctrl+home": ModelAct.FIRST,
    "ctrl+end": ModelAct.LAST,
    "ctrl+f": ModelAct.FAVOURITE,
    "ctrl+e": ModelAct.EFFORT,
}

_EFFORTS: Final = (None, *Effort)
_PICK: Final = Chord(ModelAct.PICK, "Enter", "use it")
_NOT_KNOWN: Final = "No such model is known: it is asked for under this name, without limits and prices."
_HINT: Final = "name, provider, tools, vision, effort, free, 200k"


class ModelList(OpenList):
    """See the module."""

    DEFAULT_CSS = """
    ModelList {
        layout: vertical;
        height: 100%;
        width: 100%;
        border: round $border;
        border-title-color: $foreground;
        border-subtitle-color: $foreground-muted;
        background: $background;
        & > .model-list--head { height: 1; padding: 0 1; }
        & .model-list--label { width: auto; color: $text-accent; text-style: bold; }
        & > .model-list--columns { height: 1; color: $foreground 70%; }
        & > .model-list--facts { display: none; padding: 0 1; color: $foreground; }
        & > .model-list--note { display: none; height: auto; max-height: 3; padding: 0 1; }
        & > .model-list--note.-failed { color: $text-error; text-style: bold; }
        & > Chords { padding: 0 1; }
        &.-low { border: none; }
        &.-low > Chords, &.-low > .model-list--columns { display: none; }
        &.-low > .model-list--note { max-height: 1; }
    }
    """

    class Picked(Message):
        """Use this model. `effort` None leaves it to the provider. The list stays until its owner closes it,
        or tells why that cannot be."""

        def __init__(self, name: str, effort: Effort | None) -> None:
            super().__init__()
            self.name = name
            self.effort = effort

    class FavouriteToggled(Message):
        """This model is a favourite from now on, or none any more: to be saved."""

        def __init__(self, name: str, *, on: bool) -> None:
            super().__init__()
            self.name = name
            self.on = on

    def __init__(self, shelf: ModelShelf) -> None:
        super().__init__()
        self._shelf = shelf
        self._current = shelf.current
        self._effort = shelf.effort
        self._favourites = dict.fromkeys(shelf.favourites)
        self._at_top = tuple(shelf.favourites)
        """The favourites as they are grouped: what is marked does not jump away under the cursor."""
        self._entries: list[Entry] | None = None
        self._by_name: dict[str, Entry] = {}
        self._query = ""
        self._picked = False
        self._has_toggled = False
        self._facts_height = 0
        self.line = ListLine(self._hear)
        self.rows: RowList[ModelListRow] = RowList(self._paint)
        self._columns = Static("", classes="model-list--columns")
        self._facts = Static("", classes="model-list--facts")
        self._note = Static("", classes="model-list--note")
        self._chords: Chords[ModelAct] = Chords()

    def assemble(self) -> None:
        """Mount what is inside, at once; see `SessionList.assemble`."""
        head = Horizontal(classes="model-list--head")
        self.mount(head, self._note, self._columns, self.rows, self._facts, self._chords)
        head.mount(Static("Search ", classes="model-list--label"), self.line)

    def on_mount(self) -> None:
        self.border_title = Content("Models")
        self.line.put("", _HINT)
        self._arrange()
        self.run_worker(self._read(), group="models")

    def on_resize(self) -> None:
        height = self.outer_size.height
        self.set_class(height < LOW, "-low")
        self._facts_height = max((lines for least, lines in FACTS_FROM.items() if height >= least), default=0)
        self._facts.styles.height = self._facts_height
        self._facts.display = bool(self._facts_height)
        self.call_after_refresh(self._show_width)

    # -- what the owner does --

    @property
    def station(self) -> ListLine:
        return self.line

    def fail(self, text: str) -> None:
        """Say in the list why what was asked for cannot be done."""
        self._picked = False
        self._say(text, failed=True)

    # -- keys and clicks --

    def _hear(self, key: str) -> bool:
        if (act := KEYS.get(key)) is not None:
            self._act(act)
        return act is not None

    def on_chords_clicked(self, message: Chords.Clicked) -> None:
        message.stop()
        self._focus_line()
        if isinstance(message.act, ModelAct):
            self._act(message.act)

    def on_row_list_clicked(self, message: RowList.Clicked) -> None:
        message.stop()
        self._focus_line()
        if message.again:
            self._act(ModelAct.PICK)
        else:
            self._show_selected()

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self._focus_line()

    def on_input_changed(self, message: ListLine.Changed) -> None:
        message.stop()
        self._take_query()

    def _focus_line(self) -> None:
        self.screen.set_focus(self.line, scroll_visible=False)

    def _act(self, act: ModelAct) -> None:
        self._take_query()
        match act:
            case ModelAct.UP | ModelAct.DOWN:
                self.rows.move(-1 if act is ModelAct.UP else 1)
            case ModelAct.PAGE_UP | ModelAct.PAGE_DOWN:
                self.rows.move_page(-1 if act is ModelAct.PAGE_UP else 1)
            case ModelAct.FIRST | ModelAct.LAST:
                self.rows.move_to_end(-1 if act is ModelAct.FIRST else 1)
            case ModelAct.PICK:
                self._pick()
            case ModelAct.FAVOURITE:
                self._toggle_favourite()
            case ModelAct.EFFORT:
                if self._can_set_effort:
                    self._effort = _EFFORTS[(_EFFORTS.index(self._effort) + 1) % len(_EFFORTS)]
            case _:
                assert_never(act)
        self._show_selected()

    def _pick(self) -> None:
        name = self._name_to_use
        if name and not self._picked:
            self._picked = True
            self.post_message(self.Picked(name, self._effort if self._can_set_effort else None))

    def _toggle_favourite(self) -> None:
        if not (name := self._name_to_use):
            return
        self._has_toggled = True
        on = name not in self._favourites
        if on:
            self._favourites[name] = None
        else:
            del self._favourites[name]
        self.rows.repaint()
        self.post_message(self.FavouriteToggled(name, on=on))

    # -- what there is --

    async def _read(self) -> None:
        offers: tuple[Offer, ...] = ()
        try:
            offers = await self._shelf.offers()
        except CaesuraError as error:
            self.fail(str(error))
        entries: list[Entry] = []
        for start in range(0, len(offers), SLICE):
            entries += map(make_entry, offers[start : start + SLICE])
            await asyncio.sleep(0)
        if not self._has_toggled:
            # They may be read only now.
            self._favourites = dict.fromkeys(self._shelf.favourites)
            self._at_top = tuple(self._favourites)
        names = {entry.key for entry in entries}
        entries += unknown_entries(names, (*self._favourites, self._current))
        await asyncio.sleep(0)
        self._entries = ordered(entries)
        self._by_name = {entry.key: entry for entry in self._entries}
        await asyncio.sleep(0)
        self._take_query()
        self._arrange(select=None if self._query else self._current)

    def _take_query(self) -> None:
        """What is typed by now is what is searched for."""
        if (typed := self.line.value.strip()) != self._query:
            self._query = typed
            self._at_top = tuple(self._favourites)
            self._arrange()

    @property
    def _name_to_use(self) -> str:
        """What Enter would pick, "" for nothing."""
        selected = self.rows.selected
        return self._query if selected == USE_AS_IT_IS else selected

    @property
    def _selected(self) -> Entry | None:
        return self._by_name.get(self.rows.selected)

    @property
    def _can_set_effort(self) -> bool:
        """Not where it is known that the model takes none."""
        if (entry := self._selected) is not None:
            return entry.info.efforts is not False
        return self.rows.selected == USE_AS_IT_IS

    # -- showing --

    def _arrange(self, *, select: str | None = None) -> None:
        """Show what has the words; select the one that is called like them, else `select`, else the first."""
        query = parse_query(self._query)
        entries = self._entries or []
        found = [entry for entry in entries if query.has(entry)] if self._query else entries
        rows = make_rows(found, self._at_top)
        is_known = self._query in self._by_name
        if not found:
            rows.append(HintRow(self._why_empty()))
        if self._entries is not None and self._query and not is_known and " " not in self._query:
            rows.append(UseRow(self._query))
        first = next((row.key for row in rows if row.key), None)
        self.rows.show(rows, select=self._query if is_known else select or first)
        if self.rows.selected == first:
            # With the head above it.
            self.rows.scroll_to(y=0, animate=False)
        count = "" if self._entries is None else f"{len(entries):,}"
        self.border_subtitle = f"{len(found):,} of {count}" if self._query and count else count
        self._show_selected()

    def _why_empty(self) -> str:
        if self._entries is None:
            return "Reading…"
        return "No model has all of these words." if self._query else "No models are known."

    def _show_width(self) -> None:
        self._columns.update(Content(heads_line(self.rows.scrollable_content_region.width)))
        self._show_selected()

    def _show_selected(self) -> None:
        entry = self._selected
        if self._facts_height:
            width = max(1, self._facts.content_size.width)
            lines = [] if entry is None else fact_lines(entry.offer, width, self._facts_height)
            if self.rows.selected == USE_AS_IT_IS:
                lines = [_NOT_KNOWN]
            self._facts.update(Content("\n".join(lines)))
        self._show_chords()

    def _show_chords(self) -> None:
        if not self._name_to_use:
            self._chords.show(())
            return
        word = "no favourite" if self._name_to_use in self._favourites else "favourite"
        chords = [_PICK]
        if self._can_set_effort:
            chords.append(Chord(ModelAct.EFFORT, "^E", f"effort {self._effort or 'as usual'}"))
        self._chords.show((*chords, Chord(ModelAct.FAVOURITE, "^F", word)))

    def _paint(self, row: ModelListRow, width: int, selected: bool) -> Line:
        return row_line(row, Looks(width, self._current, self._favourites, selected=selected))

    def _say(self, text: str, *, failed: bool = False) -> None:
        self._note.update(Content(("! " if failed else "") + one_line(text)))
        self._note.set_class(failed, "-failed")
        self._note.display = bool(text)
