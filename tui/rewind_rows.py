"""The prompts of a session as rows, to go back to one: each with its outcome, and what was changed since.

Pure, like `tui.session_rows`. The files of the selected prompt are listed beneath it, all of them, so that
nobody puts back what was not named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias, assert_never

from rich.cells import cell_len

from core.events import Outcome
from core.values import dataclass
from tui.list_rows import AGE_CELLS, HintRow, Line, Piece, Tone, age, fitted, without_beginning
from tui.operation_rows import fit
from tui.output import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tui.shelf import FileChange, RewindPoint

_LEAST_PROMPT = 18
_OUTCOME_CELLS = 11
_FILES_CELLS = len("100 files")
_KEPT_AS_IT_IS = "changed by someone else since: kept as it is"


class PromptRow(NamedTuple):
    point: RewindPoint

    @property
    def key(self) -> str:
        return str(self.point.turn)


class PutBackRow(NamedTuple):
    """The choice whether the files of this prompt are put back."""

    point: RewindPoint

    @property
    def key(self) -> str:
        return str(self.point.turn)


class FileRow(NamedTuple):
    turn: int
    change: FileChange

    @property
    def key(self) -> str:
        return str(self.turn)


RewindRow: TypeAlias = PromptRow | PutBackRow | FileRow | HintRow


@dataclass(frozen=True, slots=True)
class Looks:
    """How a row is shown. `now` is Unix time; `put_back` is whether files are to be put back."""

    width: int
    now: float
    put_back: bool = False
    selected: bool = False


def can_put_back(point: RewindPoint) -> bool:
    """Whether there is a file that nobody else has changed since."""
    return any(not change.conflict for change in point.files)


def make_rows(points: Iterable[RewindPoint], selected: str) -> list[RewindRow]:
    """All prompts, and beneath the selected one its files."""
    rows: list[RewindRow] = []
    for point in points:
        row = PromptRow(point)
        rows.append(row)
        if row.key == selected and point.files:
            rows.append(PutBackRow(point))
            rows += [FileRow(point.turn, change) for change in point.files]
    return rows


def row_line(row: RewindRow, looks: Looks) -> Line:
    """What is painted, exactly as wide as asked for."""
    match row:
        case PromptRow(point):
            return _prompt_line(point, looks)
        case PutBackRow(point):
            return _put_back_line(point, looks)
        case FileRow(_, change):
            return _file_line(change, looks)
        case HintRow(text):
            return fitted([Piece(f" {text}", Tone.HINT)], looks.width)
        case _:
            assert_never(row)


def outcome_words(outcome: Outcome | None) -> tuple[str, Tone]:
    """Glyph and word for how a turn went."""
    match outcome:
        case Outcome.COMPLETED:
            return "✓ done", Tone.GOOD
        case Outcome.CANCELLED:
            return "■ stopped", Tone.WARNING
        case Outcome.TIMEOUT:
            return "■ timed out", Tone.WARNING
        case Outcome.MAX_TURNS_REACHED | Outcome.MAX_BUDGET_REACHED:
            return "■ limit", Tone.WARNING
        case Outcome.ERROR:
            return "✗ failed", Tone.WARNING
        case None:
            return "? unknown", Tone.WARNING
        case _:
            assert_never(outcome)


def _prompt_line(point: RewindPoint, looks: Looks) -> Line:
    words, tone = outcome_words(point.outcome)
    columns = [
        ("outcome", Piece(f"  {words:<{_OUTCOME_CELLS}}", tone)),
        ("files", Piece(f"  {_files(len(point.files)):>{_FILES_CELLS}}", Tone.DETAIL)),
        ("age", Piece(f"  {age(looks.now - point.at, point.at):>{AGE_CELLS}}", Tone.DETAIL)),
    ]
    room = looks.width - 2 - _LEAST_PROMPT
    facts: list[Piece] = []
    for _, piece in columns:
        if (room := room - cell_len(piece.text)) < 0:
            break
        facts.append(piece)
    width = looks.width - 2 - sum(cell_len(piece.text) for piece in facts)
    mark = Piece("› " if looks.selected else "  ", Tone.MARK)
    return fitted([mark, Piece(fit(one_line(point.prompt), width), Tone.NAME), *facts], looks.width)


def _put_back_line(point: RewindPoint, looks: Looks) -> Line:
    count = sum(not change.conflict for change in point.files)
    if not count:
        return fitted([Piece("    No file can be put back:", Tone.DETAIL)], looks.width)
    mark = "[x]" if looks.put_back else "[ ]"
    words = f" also put back {_files(count)} changed since (Space)"
    return fitted([Piece(f"    {mark}", Tone.MARK), Piece(words, Tone.NAME)], looks.width)


def _file_line(change: FileChange, looks: Looks) -> Line:
    """The end of the path says more than its beginning."""
    indent = "      "
    room = looks.width - len(indent)
    path = one_line(change.path)
    if not change.conflict:
        return fitted([Piece(indent + without_beginning(path, room), Tone.DETAIL)], looks.width)
    why = next((text for text in (_KEPT_AS_IT_IS, "kept as it is") if len(text) + 12 <= room), "kept")
    path = without_beginning(path, room - len(why) - 4)
    return fitted([Piece(f"{indent}{path}  ", Tone.DETAIL), Piece(f"! {why}", Tone.WARNING)], looks.width)


def _files(count: int) -> str:
    if not count:
        return ""
    return "1 file" if count == 1 else f"{count} files"
