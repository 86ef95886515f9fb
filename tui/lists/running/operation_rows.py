"""What runs, as rows of text, with the button that stops each operation as the last piece of its row. Pure.

Each operation says in words what it does, never by color alone. Text that others wrote goes through
`tui.base.printable`. Only rows in sight become lines.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, assert_never

from rich.cells import cell_len

from core.base.values import Value
from core.model.provider import Phase
from core.operations.operation import OperationKind, OperationState
from tui.base.fit import fit
from tui.base.format import format_elapsed
from tui.base.printable import one_line
from tui.base.row import Line, ListRow, Piece, Tone, fitted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.operations.operation import OperationView

ONE_LINE_FROM = 70
"""Columns from which an operation takes one row; with fewer it takes two."""

_STATE_CELLS = 8
_NAME_CELLS = 12
"""So much of a name is shown in any case."""
_ARGUMENT_CELLS = 20
"""So much of an argument is shown before facts about its operation: it tells one command from the other."""
_DEEPEST = 6
"""The deepest indentation; sub-agents further down stand beneath their parent at the same depth."""
_ARGUMENT_CHARACTERS = 300


class Button(Enum):
    """What the button of a row does, as it is displayed."""

    STOP = "[stop]"
    KILL = "[kill]"


class TreeRow(Value):
    """An operation, and how many sub-agents deep it is."""

    view: OperationView
    depth: int


def in_tree_order(views: Iterable[OperationView]) -> tuple[TreeRow, ...]:
    """The oldest first, each with its children beneath. A child whose parent has ended stands alone."""
    views = tuple(views)
    known = {view.call_id for view in views}
    children: dict[str | None, list[OperationView]] = {}
    for view in views:
        parent = view.parent_id if view.parent_id in known and view.parent_id != view.call_id else None
        children.setdefault(parent, []).append(view)
    placed: list[TreeRow] = []
    waiting = [TreeRow(view, 0) for view in reversed(children.pop(None, ()))]
    while waiting:
        one = waiting.pop()
        placed.append(one)
        beneath = children.pop(one.view.call_id, ())
        waiting += [TreeRow(view, min(one.depth + 1, _DEEPEST)) for view in reversed(beneath)]
    # Two that name each other as parent should not exist, but nothing that runs may be missing here.
    placed += [TreeRow(view, 0) for rest in children.values() for view in rest]
    return tuple(placed)


def name_of(view: OperationView) -> str:
    """The tool of a call, else the kind too: `shell`, `stream openai/gpt`, `background shell`."""
    title = argument(view.title)
    # A compaction is called what it is.
    return title if view.kind is OperationKind.CALL or title == view.kind else f"{view.kind} {title}".rstrip()


def button_of(view: OperationView) -> Button:
    return Button.KILL if view.state is OperationState.STOPPING else Button.STOP


def state_words(view: OperationView) -> tuple[str, str, Tone]:
    """Glyph, word and tone for the state of an operation."""
    match view.state:
        case OperationState.STOPPING:
            return ("■", "killing" if view.forced else "stopping", Tone.WARNING)
        case OperationState.SCHEDULED | OperationState.RUNNING if view.phase is Phase.WAITING_FOR_APPROVAL:
            return ("?", "asking", Tone.WAITING)
        case OperationState.SCHEDULED:
            return ("○", "queued", Tone.WAITING)
        case OperationState.RUNNING if view.phase is Phase.BACK_OFF:
            return ("◌", "waiting", Tone.WAITING)
        case OperationState.RUNNING:
            return ("●", "running", Tone.RUNNING)
        case (
            OperationState.READY
            | OperationState.ERROR
            | OperationState.CANCELLED
            | OperationState.INTERNAL_ERROR
        ):
            return ("·", "ended", Tone.DETAIL)
        case _:
            assert_never(view.state)


def unconfirmed_words(view: OperationView) -> str:
    """Who was asked to stop and has not confirmed it, and what came from there since; else empty (S12)."""
    if not view.unconfirmed:
        return ""
    late = f"; it goes on: {view.late}" if view.late else ""
    return argument(f"asked to stop, not confirmed: {', '.join(view.unconfirmed)}{late}")


def indentation(depth: int) -> str:
    """The blanks before what stands beneath the row of an operation."""
    return " " * (4 + 2 * depth)


def rows_each(width: int) -> int:
    """How many rows one operation takes, without its output."""
    return 1 if width >= ONE_LINE_FROM else 2


class OperationRow(ListRow):
    """Row `part` of an operation. `now` is `time.monotonic()`; `unfolded` if its output is shown."""

    placed: TreeRow
    part: int
    now: float
    unfolded: bool

    def line(self, width: int, *, selected: bool) -> Line:
        view, now = self.placed.view, self.now
        told = [*_facts(view, now), _age(view, now)]
        # Where there is no argument, the phase says what is done.
        detail = argument(view.detail) or ("" if view.kind is OperationKind.CALL else str(view.phase))
        if self.part:
            detail = indentation(self.placed.depth) + detail
            facts = _fitting(told, width - 2 - min(cell_len(detail), _ARGUMENT_CELLS))
            return (Piece(fit(f"{fit(detail, width - len(facts) - 2)}  {facts}", width), Tone.DETAIL),)
        glyph, word, tone = state_words(view)
        mark = f"{_cursor(selected)}{'▾' if self.unfolded else '▸'} "
        head = Piece(f"{mark}{'  ' * self.placed.depth}{glyph} {word:<{_STATE_CELLS}} ", tone)
        name, button = name_of(view), button_of(view)
        if rows_each(width) > 1:
            return _with_button([head, Piece(name, Tone.NAME)], button, width)
        room = width - cell_len(head.text) - len(button.value) - 4
        named = min(cell_len(name), _NAME_CELLS)
        facts = _fitting(told, room - named - min(cell_len(detail), _ARGUMENT_CELLS))
        room = max(0, room - len(facts))
        name = fit(name, min(cell_len(name), max(_NAME_CELLS, room // 2), room))
        pieces = [
            head,
            Piece(name + " ", Tone.NAME),
            Piece(fit(detail, room - cell_len(name)), Tone.DETAIL),
            Piece("  " + facts, Tone.DETAIL),
        ]
        return _with_button(pieces, button, width)


class OutputRow(ListRow):
    """A row of output; `text` is printable already."""

    text: str
    depth: int

    def line(self, width: int, *, selected: bool) -> Line:
        return (Piece(fit("    " + "  " * self.depth + "│ " + self.text, width), Tone.DETAIL),)


class UnconfirmedRow(ListRow):
    """A row of the words that say who has not confirmed a stop."""

    text: str
    depth: int

    def line(self, width: int, *, selected: bool) -> Line:
        return (Piece(fit(indentation(self.depth) + self.text, width), Tone.WARNING),)


class RefusedRow(ListRow):
    """A process that did not end although everything was tried."""

    pid: int
    name: str

    def line(self, width: int, *, selected: bool) -> Line:
        words = f"{_cursor(selected)}  ! alive    {self.pid} {argument(self.name)} refused to end"
        return _with_button([Piece(words, Tone.ERROR)], Button.KILL, width)


def _cursor(selected: bool) -> str:
    return "›" if selected else " "


def listing(placed: Sequence[TreeRow], now: float) -> str:
    """All operations as plain text, numbered from one, for `/running`."""
    rows = []
    for number, one in enumerate(placed, start=1):
        view = one.view
        unconfirmed = filter(None, [unconfirmed_words(view)])
        facts = [state_words(view)[1], f"for {_age(view, now)}", *_facts(view, now), *unconfirmed]
        what = " ".join(part for part in (name_of(view), argument(view.detail)) if part)
        rows.append(f"{number}. {'  ' * one.depth}{what} ({', '.join(facts)})")
    return "\n".join(rows)


@lru_cache(maxsize=1024)
def argument(text: str) -> str:
    """A text of the model or of a server, printable and on one line."""
    return one_line(text, _ARGUMENT_CHARACTERS)


def _with_button(pieces: list[Piece], button: Button, width: int) -> Line:
    """The pieces, cut or filled up so that the button ends at the last column."""
    tone = Tone.FORCE if button is Button.KILL else Tone.WARNING
    room = max(0, width - len(button.value) - 1)
    return (*fitted(pieces, room), Piece(" ", Tone.DETAIL), Piece(button.value, tone))


def _facts(view: OperationView, now: float) -> list[str]:
    facts = []
    if view.processes:
        facts.append(f"{view.processes} proc")
    if view.deadline_at is not None:
        facts.append(f"{format_elapsed(max(0.0, view.deadline_at - now)).strip()} left")
    return facts


def _fitting(facts: Sequence[str], room: int) -> str:
    """As many of the last facts as there is room for, and the last one in any case."""
    texts = [" · ".join(facts[at:]) for at in range(len(facts))]
    return next((text for text in texts if len(text) <= room), texts[-1])


def _age(view: OperationView, now: float) -> str:
    return format_elapsed(max(0.0, now - view.opened_at)).strip()
