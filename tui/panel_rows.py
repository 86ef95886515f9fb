"""The rows of the panel: operations in the order of their tree, their output, and what refused to end.

Pure, like `tui.operation_rows`: the widget decides what is unfolded and selected, and what a click hits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, assert_never

from core.values import dataclass
from tui.operation_rows import (
    Line,
    Piece,
    Placed,
    Tone,
    fit,
    operation_line,
    output_line,
    refused_line,
    rows_each,
)
from tui.output import readable
from tui.wrap import wrap

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from core.events import Status
    from core.operations import OperationView

OUTPUT_LINES = 8
"""How much of its output an unfolded row shows at the most."""

EMPTY = (
    "Nothing is running. Replies, calls, sub-agents and background commands are listed here while they are "
    "alive, each with a button that stops it alone."
)


class Living(Protocol):
    """What the panel looks at; `core.session.Session` is one."""

    @property
    def status(self) -> Status: ...

    @property
    def survivors(self) -> tuple[tuple[int, str], ...]:
        """Process id and name of each process that refused to end."""
        ...

    def operations(self) -> tuple[OperationView, ...]: ...

    def tail(self, call_id: str, lines: int) -> str: ...


class OperationRow(NamedTuple):
    placed: Placed
    part: int

    @property
    def key(self) -> str:
        return self.placed.view.call_id


class OutputRow(NamedTuple):
    placed: Placed
    text: str

    @property
    def key(self) -> str:
        return self.placed.view.call_id


class RefusedRow(NamedTuple):
    pid: int
    name: str

    @property
    def key(self) -> str:
        # A blank, which no call id that is shown begins with, keeps it apart from them.
        return f" {self.pid}"


class HintRow(NamedTuple):
    text: str

    @property
    def key(self) -> str:
        return ""


Row: TypeAlias = OperationRow | OutputRow | RefusedRow | HintRow


@dataclass(frozen=True, slots=True)
class Face:
    """How a row is shown. `now` is `time.monotonic()`."""

    width: int
    now: float
    selected: bool = False
    unfolded: bool = False


def make_rows(
    placed: Iterable[Placed],
    unfolded: Mapping[str, tuple[str, ...]],
    survivors: Iterable[tuple[int, str]],
    width: int,
) -> list[Row]:
    """All rows from top to bottom; `unfolded` has the output of the operations that show it."""
    each = rows_each(width)
    rows: list[Row] = []
    for one in placed:
        rows += [OperationRow(one, part) for part in range(each)]
        rows += [OutputRow(one, text) for text in unfolded.get(one.view.call_id, ())]
    rows += [RefusedRow(pid, name) for pid, name in survivors]
    return rows or [HintRow(EMPTY[start:end]) for start, end in wrap(EMPTY, max(2, width - 2))]


def row_line(row: Row, face: Face) -> Line:
    """What is painted, exactly as wide as asked for."""
    selected = "›" if face.selected else " "
    match row:
        case OperationRow(placed, part):
            mark = f"{selected}{'▾' if face.unfolded else '▸'} "
            return operation_line(placed, part, width=face.width, now=face.now, mark=mark)
        case OutputRow(placed, text):
            return output_line(text, placed.depth, face.width)
        case RefusedRow(pid, name):
            return refused_line(pid, name, width=face.width, mark=f"{selected}  ")
        case HintRow(text):
            return Line((Piece(fit(f" {text}", face.width), Tone.HINT),))
        case _:
            assert_never(row)


def latest_output(living: Living, call_id: str, height: int) -> tuple[str, ...]:
    """The last lines that an operation has written, as they can be read: so many that its own row is in sight
    with them in a panel of this height."""
    most = max(1, min(OUTPUT_LINES, height - 2))
    lines = readable(living.tail(call_id, most)).rstrip("\n").split("\n")
    return tuple(lines[-most:]) if any(lines) else ("no output so far",)
