"""The list of models: found by typing, marked as favourites, and picked, with an effort where there is one.

Letters go to the line at its head, so every other key is a combination. The list changes no setting: it posts
what was picked and marked. Models are read in the background, and what is typed meanwhile is kept. However
many there are, the event loop is never held up, and only a row in sight is picked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from core.base.errors import CaesuraError
from core.model.provider import Effort, OfferKind
from tui.base.key_hints import KeyHint
from tui.base.row import HintRow
from tui.lists.base.list_overlay import SearchOverlay
from tui.lists.models.rows import (
    USE_AS_IT_IS,
    fact_lines,
    heads_line,
    model_line,
    model_rows,
    use_row,
)
from tui.lists.models.search import Entry, make_entry, ordered, parse_query, unknown_entries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.widget import Widget

    from core.model.provider import Offer
    from tui.base.row import Line, Row
    from tui.lists.base.sources import ModelSource

FACTS_FROM: Final = {12: 2, 18: 4, 28: 5}
"""Height of the list, in rows, from which the facts of the selected model have so many lines."""

SLICE: Final = 100
"""How many models are prepared without a break: about a millisecond of work."""


_EFFORTS: Final = (None, *Effort)
_NOT_KNOWN: Final = "No such model is known: it is asked for under this name, without limits and prices."


class ModelList(SearchOverlay):
    """The models of `source`."""

    TITLE = "Models"
    PLACEHOLDER = "name, provider, tools, vision, effort, free, 200k"
    DEFAULT_CSS = """
    ModelList {
        & > .model-list--columns { height: 1; color: $foreground 70%; }
        & > .model-list--facts { display: none; padding: 0 1; color: $foreground; }
        &.-low > .model-list--columns { display: none; }
    }
    """

    class Picked(Message):
        """Use this model. `effort` None leaves it to the provider. `from_catalog` means the provider's own
        and not one of the same name at the server in use. The owner closes the list or calls `fail`."""

        def __init__(self, name: str, effort: Effort | None, *, from_catalog: bool) -> None:
            super().__init__()
            self.name = name
            self.effort = effort
            self.from_catalog = from_catalog

    class FavouriteToggled(Message):
        """This model became a favourite, or is none any more: to be saved."""

        def __init__(self, name: str, *, on: bool) -> None:
            super().__init__()
            self.name = name
            self.on = on

    def __init__(self, source: ModelSource) -> None:
        super().__init__()
        self._source = source
        self._current = source.current
        self._effort = source.effort
        self._favourites = dict.fromkeys(source.favourites)
        self._at_top = tuple(source.favourites)
        """The favourites at the top. A model marked meanwhile stays where it is, under the cursor."""
        self._entries: list[Entry] | None = None
        self._by_name: dict[str, Entry] = {}
        self._listed: frozenset[str] = frozenset()
        """The names that were read: the others are only known to be used or liked."""
        self._has_toggled = False
        self._facts_height = 0
        self._columns = Static("", classes="model-list--columns")
        self._facts = Static("", classes="model-list--facts")

    def parts(self) -> Sequence[Widget]:
        return (self._head, self._note, self._columns, self.rows, self._facts, self._key_hints)

    def on_mount(self) -> None:
        self._arrange()
        self.run_worker(self._read(), group="models")

    def on_resize(self) -> None:
        height = self.outer_size.height
        self._facts_height = max((lines for least, lines in FACTS_FROM.items() if height >= least), default=0)
        self._facts.styles.height = self._facts_height
        self._facts.display = bool(self._facts_height)

    # -- keys --

    def act(self, key: str) -> bool:
        match key:
            case "enter":
                self._pick()
            case "ctrl+f":
                self._toggle_favourite()
            case "ctrl+e":
                if self._can_set_effort:
                    self._effort = _EFFORTS[(_EFFORTS.index(self._effort) + 1) % len(_EFFORTS)]
            case _:
                return False
        self.show_key_hints()
        return True

    def key_hints(self) -> Sequence[KeyHint[str]]:
        if not self._name_to_use:
            return ()
        hints = [KeyHint("enter", "Enter", "use it")]
        if self._can_set_effort:
            hints.append(KeyHint("ctrl+e", "^E", f"effort {self._effort or 'as usual'}"))
        word = "no favourite" if self._name_to_use in self._favourites else "favourite"
        return (*hints, KeyHint("ctrl+f", "^F", word))

    def _pick(self) -> None:
        name = self._name_to_use
        if name and not self._chosen:
            self._chosen = True
            entry = self._selected
            from_catalog = (
                entry is not None and entry.offer.kind is OfferKind.CATALOG and name in self._listed
            )
            effort = self._effort if self._can_set_effort else None
            self.post_message(self.Picked(name, effort, from_catalog=from_catalog))

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

    # -- the models --

    async def _read(self) -> None:
        """Read the catalog, then what servers list, which are asked meanwhile."""
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(self._source.server_models(), name="models of servers")
            offers: tuple[Offer, ...] = ()
            try:
                offers = await self._source.offers()
            except CaesuraError as error:
                self.fail(str(error))
            await self._take(offers)
            self.take_query()
            self._arrange(select=None if self._query else self._current)
        found = asked.result()
        if found.offers:
            await self._take((*found.offers, *offers))
            self.take_query()
            self._arrange(keep=True)
        if found.problems:
            self.show_note(" ".join(found.problems))

    async def _take(self, offers: tuple[Offer, ...]) -> None:
        entries: list[Entry] = []
        for start in range(0, len(offers), SLICE):
            entries += map(make_entry, offers[start : start + SLICE])
            await asyncio.sleep(0)
        if not self._has_toggled:
            # The source may have read them only now.
            self._favourites = dict.fromkeys(self._source.favourites)
            self._at_top = tuple(self._favourites)
        names = frozenset(entry.key for entry in entries)
        entries += unknown_entries(names, (*self._favourites, self._current))
        await asyncio.sleep(0)
        arranged = ordered(entries)
        await asyncio.sleep(0)
        by_name = {entry.key: entry for entry in arranged}
        self._entries, self._by_name, self._listed = arranged, by_name, names

    def query_changed(self) -> None:
        self._at_top = tuple(self._favourites)
        self._arrange()

    @property
    def _name_to_use(self) -> str:
        """The name that Enter picks, "" for none."""
        selected = self.rows.selected
        return self._query if selected == USE_AS_IT_IS else selected

    @property
    def _selected(self) -> Entry | None:
        return self._by_name.get(self.rows.selected)

    @property
    def _can_set_effort(self) -> bool:
        """Whether an effort can be chosen: not for a model that is known to take none."""
        if (entry := self._selected) is not None:
            return entry.info.efforts is not False
        return self.rows.selected == USE_AS_IT_IS

    # -- showing --

    def _arrange(self, *, select: str | None = None, keep: bool = False) -> None:
        """Show what has all words. Select the model of that name, else `select`, else the first; with `keep`
        the selection stays."""
        query = parse_query(self._query)
        entries = self._entries or []
        found = [entry for entry in entries if query.has(entry)] if self._query else entries
        rows = model_rows(found, self._at_top)
        is_known = self._query in self._by_name
        if not found:
            rows.append(HintRow(self._why_empty()))
        if self._entries is not None and self._query and not is_known and " " not in self._query:
            rows.append(use_row(self._query))
        first = next((row.key for row in rows if row.key), None)
        if keep and self.rows.selected != USE_AS_IT_IS:
            select = self.rows.selected
        elif is_known:
            select = self._query
        self.rows.show(rows, select=select or first)
        if self.rows.selected == first and not keep:
            # With the head above it.
            self.rows.scroll_to(y=0, animate=False)
        count = "" if self._entries is None else f"{len(entries):,}"
        self.border_subtitle = f"{len(found):,} of {count}" if self._query and count else count
        self.selection_moved()

    def _why_empty(self) -> str:
        if self._entries is None:
            return "Reading…"
        return "No model has all of these words." if self._query else "No models are known."

    def rows_resized(self) -> None:
        self._columns.update(Content(heads_line(self.rows.scrollable_content_region.width)))
        self.selection_moved()

    def selection_moved(self) -> None:
        entry = self._selected
        if self._facts_height:
            width = max(1, self._facts.content_size.width)
            lines = [] if entry is None else fact_lines(entry.offer, width, self._facts_height)
            if self.rows.selected == USE_AS_IT_IS:
                lines = [_NOT_KNOWN]
            self._facts.update(Content("\n".join(lines)))
        self.show_key_hints()

    def row_line(self, row: Row, width: int, selected: bool) -> Line:
        assert isinstance(row, Entry)
        return model_line(row, width, selected=selected, current=self._current, favourites=self._favourites)
