"""The prompts of a session, to go back to before one of them, edit it and send it again.

The list changes nothing itself. It posts which prompt was picked, and whether files are to be put back: only
if the person has said so here, where the names of the files are shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.message import Message

from core.base.errors import CaesuraError
from core.operations.events import Outcome
from tui.base.fit import count_fitting, fit, without_beginning
from tui.base.format import AGE_CELLS, format_age
from tui.base.key_hints import KeyHint
from tui.base.printable import one_line
from tui.base.row import HintRow, Line, ListRow, Piece, Tone, cursor, fitted
from tui.lists.base.list_overlay import ListOverlay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tui.base.row import Row
    from tui.lists.base.sources import FileChange, RewindPoint, RewindPoints

NOTHING = "No prompt was sent yet: there is nothing to go back to."

_LEAST_PROMPT = 18
_OUTCOME_CELLS = 11
_FILES_CELLS = len("100 files")
_KEPT_AS_IT_IS = "changed by someone else since: kept as it is"


OUTCOME_WORDS = {
    Outcome.COMPLETED: ("✓ done", Tone.GOOD),
    Outcome.CANCELLED: ("■ stopped", Tone.WARNING),
    Outcome.TIMEOUT: ("■ timed out", Tone.WARNING),
    Outcome.MAX_TURNS_REACHED: ("■ limit", Tone.WARNING),
    Outcome.MAX_BUDGET_REACHED: ("■ limit", Tone.WARNING),
    Outcome.ERROR: ("✗ failed", Tone.WARNING),
    None: ("? unknown", Tone.WARNING),
}
"""Glyph and word for how a turn went."""


class PromptRow(ListRow):
    """A prompt; `now` is Unix time."""

    point: RewindPoint
    now: float

    def line(self, width: int, *, selected: bool) -> Line:
        point = self.point
        words, tone = OUTCOME_WORDS[point.outcome]
        columns = (
            Piece(f"  {words:<{_OUTCOME_CELLS}}", tone),
            Piece(f"  {_files(len(point.files)):>{_FILES_CELLS}}", Tone.DETAIL),
            Piece(f"  {format_age(self.now - point.at, point.at):>{AGE_CELLS}}", Tone.DETAIL),
        )
        facts = columns[: count_fitting((cell_len(text) for text, _ in columns), width - 2 - _LEAST_PROMPT)]
        prompt = fit(one_line(point.prompt), width - 2 - sum(cell_len(text) for text, _ in facts))
        return fitted([cursor(selected), Piece(prompt, Tone.NAME), *facts], width)


class PutBackRow(ListRow):
    """The choice whether `count` files of this prompt are put back; `marked` if it was made."""

    count: int
    marked: bool

    def line(self, width: int, *, selected: bool) -> Line:
        if not self.count:
            return fitted([Piece("    No file can be put back:", Tone.DETAIL)], width)
        mark = "[x]" if self.marked else "[ ]"
        words = f" also put back {_files(self.count)} changed since (Space)"
        return fitted([Piece(f"    {mark}", Tone.MARK), Piece(words, Tone.NAME)], width)


class FileRow(ListRow):
    change: FileChange

    def line(self, width: int, *, selected: bool) -> Line:
        """The end of the path says more than its beginning."""
        indent = "      "
        room = width - len(indent)
        path = one_line(self.change.path)
        if not self.change.conflict:
            return fitted([Piece(indent + without_beginning(path, room), Tone.DETAIL)], width)
        why = next((text for text in (_KEPT_AS_IT_IS, "kept as it is") if len(text) + 12 <= room), "kept")
        path = without_beginning(path, room - len(why) - 4)
        return fitted([Piece(f"{indent}{path}  ", Tone.DETAIL), Piece(f"! {why}", Tone.WARNING)], width)


def puts_back(point: RewindPoint) -> int:
    """The number of files that nobody else has changed since."""
    return sum(not change.conflict for change in point.files)


def rewind_rows(points: Iterable[RewindPoint], selected: str, now: float, *, put_back: bool) -> list[ListRow]:
    """All prompts, and beneath the selected one its files; with `put_back` the choice is marked."""
    rows: list[ListRow] = []
    for point in points:
        key = str(point.turn)
        rows.append(PromptRow(point, now, key=key))
        if key == selected and point.files:
            rows.append(PutBackRow(puts_back(point), put_back, key=key))
            rows += [FileRow(change, key=key) for change in point.files]
    return rows


def _files(count: int) -> str:
    if not count:
        return ""
    return "1 file" if count == 1 else f"{count} files"


class RewindList(ListOverlay):
    """`now` gives Unix time in seconds."""

    TITLE = "Rewind: go back to before a prompt, in a copy of the session"

    class Picked(Message):
        """Go back to before this turn. The list stays until its owner closes it, or tells why it cannot."""

        def __init__(self, turn: int, *, put_files_back: bool) -> None:
            super().__init__()
            self.turn = turn
            self.put_files_back = put_files_back

    def __init__(self, points: RewindPoints, now: Callable[[], float]) -> None:
        super().__init__()
        self._source = points
        self._now = now
        self._points: tuple[RewindPoint, ...] | None = None
        self._put_back = ""
        """The key of the prompt whose files are to be put back; the choice does not carry over to another."""
        self._read_at = now()

    def on_mount(self) -> None:
        self._arrange()
        self.run_worker(self._read(), group="prompts")

    def key_hints(self) -> Sequence[KeyHint[str]]:
        pick = [KeyHint("enter", "Enter", "edit and send again")] if self.rows.keys else []
        return [*pick, KeyHint("space", "Space", "put files back too")] if self._can_put_back else pick

    def row_clicked(self, row: Row, *, again: bool) -> None:
        if isinstance(row, PutBackRow):
            self.act("space")
        else:
            super().row_clicked(row, again=again)

    def act(self, key: str) -> bool:
        match key:
            case "space":
                selected = self.rows.selected
                self._put_back = selected if self._can_put_back and self._put_back != selected else ""
            case "enter":
                self._pick()
            case _:
                return False
        self._arrange()
        return True

    def selection_moved(self) -> None:
        self._arrange()

    def _pick(self) -> None:
        point = self._selected
        if point is not None and not self._chosen:
            self._chosen = True
            put_back = self._put_back == self.rows.selected and puts_back(point) > 0
            self.post_message(self.Picked(point.turn, put_files_back=put_back))

    async def _read(self) -> None:
        try:
            self._points = await self._source.prompts()
        except CaesuraError as error:
            self._points = ()
            self.fail(str(error))
        self._read_at = self._now()
        self._arrange()
        self.rows.move_to_end(1)
        self._arrange()

    @property
    def _selected(self) -> RewindPoint | None:
        key = self.rows.selected
        return next((point for point in self._points or () if str(point.turn) == key), None)

    @property
    def _can_put_back(self) -> bool:
        return (point := self._selected) is not None and puts_back(point) > 0

    def _arrange(self) -> None:
        if self._put_back != self.rows.selected:
            self._put_back = ""
        rows = rewind_rows(
            self._points or (), self.rows.selected, self._read_at, put_back=bool(self._put_back)
        )
        self.rows.show(rows or [HintRow("Reading…" if self._points is None else NOTHING)])
        self.border_subtitle = f"{len(self.rows.keys)}"
        self.show_key_hints()
