"""What is alive, as rows of text: pure, so that a row can be judged without a screen.

Each operation says in words what it does, never by colour alone, and carries the button that stops it. Text
that others wrote goes through `tui.output`. Only the rows that are looked at are ever made.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, assert_never

from rich.cells import cell_len, set_cell_size

from core.model import Phase
from core.operations import OperationKind, OperationState
from core.values import dataclass
from tui.output import one_line
from tui.widgets.status_line import format_elapsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.operations import OperationView

ONE_LINE_FROM = 70
"""Columns from which an operation takes one row; below that it takes two."""

_STATE_CELLS = 8
_DEEPEST = 6
"""Sub-agents are indented up to here; deeper ones are still beneath their parent."""
_ARGUMENT_CHARACTERS = 300


class Tone(StrEnum):
    """What a piece of a row is, by which the theme colours it: `operation-list--<tone>`."""

    NAME = "name"
    DETAIL = "detail"
    RUNNING = "running"
    WAITING = "waiting"
    STOPPING = "stopping"
    BUTTON = "button"
    FORCE = "force"
    OUTPUT = "output"
    REFUSED = "refused"
    HINT = "hint"


class Button(Enum):
    """What the button of a row does, in the word that is displayed."""

    STOP = "[stop]"
    KILL = "[kill]"


class Piece(NamedTuple):
    text: str
    tone: Tone


class Line(NamedTuple):
    """One row of the panel. The button, if there is one, is its last piece."""

    pieces: tuple[Piece, ...]
    button: Button | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """An operation and how deep it stands beneath the sub-agents it belongs to."""

    view: OperationView
    depth: int


def in_tree_order(views: Iterable[OperationView]) -> tuple[Placed, ...]:
    """The oldest first, each with what belongs to it beneath. One whose parent has ended stands alone."""
    views = tuple(views)
    known = {view.call_id for view in views}
    children: dict[str | None, list[OperationView]] = {}
    for view in views:
        parent = view.parent_id if view.parent_id in known and view.parent_id != view.call_id else None
        children.setdefault(parent, []).append(view)
    placed: list[Placed] = []
    waiting = [Placed(view, 0) for view in reversed(children.pop(None, ()))]
    while waiting:
        one = waiting.pop()
        placed.append(one)
        beneath = children.pop(one.view.call_id, ())
        waiting += [Placed(view, min(one.depth + 1, _DEEPEST)) for view in reversed(beneath)]
    # Two that call each other their parent: there is no such thing, but nothing alive may be missing here.
    placed += [Placed(view, 0) for rest in children.values() for view in rest]
    return tuple(placed)


def name_of(view: OperationView) -> str:
    """The tool, and for what is no call the kind too: `shell`, `stream openai/gpt`, `background shell`."""
    title = argument(view.title)
    # A compaction is called what it is.
    return title if view.kind is OperationKind.CALL or title == view.kind else f"{view.kind} {title}".rstrip()


def button_of(view: OperationView) -> Button:
    return Button.KILL if view.state is OperationState.STOPPING else Button.STOP


def state_words(view: OperationView) -> tuple[str, str, Tone]:
    """Glyph, word and tone of what an operation does now."""
    match view.state:
        case OperationState.STOPPING:
            return ("■", "killing" if view.forced else "stopping", Tone.STOPPING)
        case OperationState.SCHEDULED if view.phase is Phase.WAITING_FOR_APPROVAL:
            return ("?", "asking", Tone.WAITING)
        case OperationState.SCHEDULED:
            return ("○", "queued", Tone.WAITING)
        case OperationState.RUNNING if view.phase is Phase.WAITING_FOR_APPROVAL:
            return ("?", "asking", Tone.WAITING)
        case OperationState.RUNNING if view.phase is Phase.BACK_OFF or view.kind is OperationKind.BACK_OFF:
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


def rows_each(width: int) -> int:
    """How many rows one operation takes, its output aside."""
    return 1 if width >= ONE_LINE_FROM else 2


def operation_line(placed: Placed, row: int, *, width: int, now: float, mark: str) -> Line:
    """Row `row` of an operation, exactly `width` cells wide; `mark` is two cells that begin its first row."""
    if rows_each(width) == 1:
        return _whole_line(placed, width=width, now=now, mark=mark)
    if row == 0:
        return _upper_line(placed, width=width, mark=mark)
    return _lower_line(placed, width=width, now=now)


def output_line(text: str, depth: int, width: int) -> Line:
    """A row of what an operation has written; `text` is readable already."""
    return Line((Piece(fit("    " + "  " * depth + "│ " + text, width), Tone.OUTPUT),))


def refused_line(pid: int, name: str, *, width: int, mark: str) -> Line:
    """A process that did not die though everything was done."""
    words = f"{mark}! alive    {pid} {argument(name)} refused to end"
    return _with_button([Piece(words, Tone.REFUSED)], Button.KILL, width)


def listing(placed: Sequence[Placed], now: float) -> str:
    """All of it as plain text, numbered from one, for `/running`."""
    rows = []
    for number, one in enumerate(placed, start=1):
        view = one.view
        facts = [state_words(view)[1], f"for {_age(view, now)}", *_facts(view, now)]
        what = " ".join(part for part in (name_of(view), argument(view.detail)) if part)
        rows.append(f"{number}. {'  ' * one.depth}{what} ({', '.join(facts)})")
    return "\n".join(rows)


@lru_cache(maxsize=1024)
def argument(text: str) -> str:
    """A text of the model or of a server as it may stand in a row."""
    return one_line(text, _ARGUMENT_CHARACTERS)


def fit(text: str, width: int) -> str:
    """`text` in exactly `width` cells: padded, or cut with an ellipsis."""
    if width <= 0:
        return ""
    if text.isascii():
        if len(text) <= width:
            return text.ljust(width)
        return text[: width - 1] + "…"
    if (size := cell_len(text)) <= width:
        return text + " " * (width - size)
    return set_cell_size(text, width - 1) + "…"


def _whole_line(placed: Placed, *, width: int, now: float, mark: str) -> Line:
    view = placed.view
    glyph, word, tone = state_words(view)
    button = button_of(view)
    facts = " · ".join((*_facts(view, now), _age(view, now)))
    head = f"{mark}{'  ' * placed.depth}{glyph} {word:<{_STATE_CELLS}} "
    room = max(0, width - cell_len(head) - cell_len(facts) - len(button.value) - 4)
    name = name_of(view)
    name = fit(name, min(cell_len(name), max(12, room // 2), room))
    detail = fit(argument(view.detail) or _phase_words(view), room - cell_len(name))
    pieces = [
        Piece(head, tone),
        Piece(name + " ", Tone.NAME),
        Piece(detail, Tone.DETAIL),
        Piece("  " + facts, Tone.DETAIL),
    ]
    return _with_button(pieces, button, width)


def _upper_line(placed: Placed, *, width: int, mark: str) -> Line:
    glyph, word, tone = state_words(placed.view)
    head = f"{mark}{'  ' * placed.depth}{glyph} {word:<{_STATE_CELLS}} "
    pieces = [Piece(head, tone), Piece(name_of(placed.view), Tone.NAME)]
    return _with_button(pieces, button_of(placed.view), width)


def _lower_line(placed: Placed, *, width: int, now: float) -> Line:
    view = placed.view
    facts = " · ".join((*_facts(view, now), _age(view, now)))
    indent = " " * (4 + 2 * placed.depth)
    detail = fit(indent + (argument(view.detail) or _phase_words(view)), width - len(facts) - 2)
    return Line((Piece(fit(f"{detail}  {facts}", width), Tone.DETAIL),))


def _with_button(pieces: list[Piece], button: Button, width: int) -> Line:
    """The pieces, cut or filled up so that the button ends at the last column."""
    room = width - len(button.value) - 1
    kept: list[Piece] = []
    for piece in pieces:
        size = cell_len(piece.text)
        if size > room:
            piece = Piece(fit(piece.text, room), piece.tone)
            size = max(0, room)
        kept.append(piece)
        room -= size
    tone = Tone.FORCE if button is Button.KILL else Tone.BUTTON
    return Line((*kept, Piece(" " * (max(0, room) + 1), Tone.DETAIL), Piece(button.value, tone)), button)


def _facts(view: OperationView, now: float) -> list[str]:
    facts = []
    if view.processes:
        facts.append(f"{view.processes} proc")
    if view.deadline_at is not None:
        facts.append(f"{format_elapsed(max(0.0, view.deadline_at - now)).strip()} left")
    return facts


def _age(view: OperationView, now: float) -> str:
    return format_elapsed(max(0.0, now - view.opened_at)).strip()


def _phase_words(view: OperationView) -> str:
    """What stands in the place of an argument where there is none."""
    return "" if view.kind is OperationKind.CALL else str(view.phase)
