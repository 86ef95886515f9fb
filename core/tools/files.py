"""`read_file`: a part of a text file with line numbers, in bounded time and memory for any file.

It never reads a whole file, blocks on one that is not a regular file, or guesses at binary content.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from pydantic import BaseModel, Field

from core.engine.tool import Access, AccessKind, Shown, Tool, ToolContext, ToolError, ToolOutput, Workspace
from core.tools.regular_files import GRACE_S, GivenPath, in_thread, open_regular

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LINES_LIMIT = 2_000
OUTPUT_BYTES = 64 * 1024
LINE_BYTES = 2_000
"""What is shown of one line."""
SCAN_BYTES = 128 * 1024 * 1024
"""How far into a file lines are counted to find the first one asked for."""

_CHUNK_BYTES = 256 * 1024
_PROBE_BYTES = 8 * 1024


class ReadFileArguments(BaseModel):
    path: GivenPath = Field(min_length=1, description="The file; relative paths start at the workspace.")
    offset: int = Field(default=1, ge=1, description="Number of the first line wanted, from 1.")
    limit: int = Field(
        default=LINES_LIMIT, ge=1, le=LINES_LIMIT, description="How many lines at the most, up to 2000."
    )


class ReadFile(Tool[ReadFileArguments]):
    """Lines of a text file."""

    name = "read_file"
    description = (
        "Read a text file (UTF-8), or a part of a long one. Each line comes with its number and a tab in "
        "front, which are not part of the file: leave them out when you give text to edit_file. At most 2000 "
        "lines or 64 KiB at once; what is left out is said, with the offset to go on from."
    )
    arguments = ReadFileArguments
    grace_s = GRACE_S

    def title(self, arguments: ReadFileArguments, workspace: Workspace) -> str:
        name = workspace.name(workspace.path(arguments.path))
        return name if arguments.offset == 1 else f"{name}, from line {arguments.offset}"

    def access(self, arguments: ReadFileArguments, workspace: Workspace) -> Access:
        path = workspace.path(arguments.path)
        return Access(AccessKind.READ, workspace.name(path), (path,))

    def concurrent(self, arguments: ReadFileArguments) -> bool:
        return True

    def deadline_s(self, arguments: ReadFileArguments) -> float | None:
        return 30.0

    async def run(self, arguments: ReadFileArguments, context: ToolContext) -> ToolOutput:
        path = context.workspace.path(arguments.path)
        name = context.workspace.name(path)
        text = await in_thread(lambda: _read(path, name, arguments, context.token.check))
        return ToolOutput(text, Shown(text))


@dataclass(slots=True)
class _Excerpt:
    """The lines that were asked for, as far as there is room."""

    first: int
    lines: list[str] = field(default_factory=list)
    size: int = 0
    """Bytes of the lines so far."""
    damaged: bool = False
    windows: bool = False

    def add(self, raw: bytes, cut: int) -> None:
        """`cut` bytes of the line are left out."""
        self.windows = self.windows or raw.endswith(b"\r\n")
        raw = raw.rstrip(b"\r\n")
        if cut:
            # A character that the cut went through says nothing about the file.
            line = f"{codecs.utf_8_decode(raw, 'replace', False)[0]} [… {cut:,} bytes left out]"
        else:
            line = raw.decode("utf-8", "replace")
        self.damaged = self.damaged or "\ufffd" in line
        number = self.first + len(self.lines)
        self.lines.append(f"{number:>6}\t{line}")
        self.size += len(raw)

    def text(self, size: int, *, more: bool) -> str:
        """What the model reads; `size` is that of the whole file in bytes."""
        notes = []
        if more:
            last = self.first + len(self.lines) - 1
            notes.append(
                f"[… lines {self.first} to {last} of {size:,} bytes; it goes on at offset {last + 1}]"
            )
        if self.windows:
            notes.append("[its lines end with CR LF; edit_file keeps that]")
        if self.damaged:
            notes.append("[not all of it is UTF-8: \ufffd stands for what is not]")
        return "\n".join((*self.lines, *notes)) or "(the file is empty)"


def _read(path: Path, name: str, arguments: ReadFileArguments, check: Callable[[], None]) -> str:
    """Blocking; calls `check` between pieces, which raises when the call was stopped."""
    with open_regular(path, name) as file:
        size = file.seek(0, 2)
        file.seek(0)
        _demand_text(file.read(_PROBE_BYTES), name)
        file.seek(_start_of_line(file, arguments.offset, name, check))
        excerpt = _Excerpt(arguments.offset)
        scanned = 0
        while len(excerpt.lines) < arguments.limit and excerpt.size < OUTPUT_BYTES and scanned < SCAN_BYTES:
            check()
            raw = file.readline(LINE_BYTES)
            if not raw:
                break
            cut = 0 if raw.endswith(b"\n") else _skip_line(file, check)
            scanned += cut
            excerpt.add(raw, cut)
        if not excerpt.lines and arguments.offset > 1:
            raise ToolError(f"{name} has no line {arguments.offset}: it ends before. Use a smaller offset.")
        return excerpt.text(size, more=bool(file.read(1)))


def _demand_text(beginning: bytes, name: str) -> None:
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ToolError(f"{name} is UTF-16 and not UTF-8: convert a copy of it with iconv, then read that.")
    if b"\0" in beginning:
        raise ToolError(
            f"{name} is a binary file, not text. Look at it with a program that knows its format."
        )


def _start_of_line(file: BinaryIO, number: int, name: str, check: Callable[[], None]) -> int:
    """The position of a line, found by counting from the start. Raises `ToolError` if that is too far."""
    file.seek(0)
    missing, base = number - 1, 0
    while missing:
        check()
        chunk = file.read(_CHUNK_BYTES)
        found = chunk.count(b"\n")
        if not chunk:
            break
        if found >= missing:
            at = -1
            for _ in range(missing):
                at = chunk.index(b"\n", at + 1)
            return base + at + 1
        missing -= found
        base += len(chunk)
        if base >= SCAN_BYTES:
            raise ToolError(
                f"Line {number} of {name} is more than {SCAN_BYTES // 2**20} MiB into it: too far to count. "
                f"Use shell, such as: sed -n '{number},{number + 100}p;{number + 100}q' FILE"
            )
    return base


def _skip_line(file: BinaryIO, check: Callable[[], None]) -> int:
    """Read on behind the end of the line, `SCAN_BYTES` at the most; how many bytes that were."""
    skipped = 0
    while skipped < SCAN_BYTES:
        check()
        piece = file.readline(_CHUNK_BYTES)
        skipped += len(piece)
        if not piece or piece.endswith(b"\n"):
            break
    return skipped
