"""The details of an unfolded card: arguments and result of its call, as blocks of bounded size.

However long the output of a tool is, only a few screens of it are shown, and the work is bounded too: omitted
lines are counted, not read.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, assert_never

from msgspec.structs import replace

from core.model.messages import read_arguments
from core.operations.events import ShownKind
from tui.base.printable import readable
from tui.transcript.markdown.blocks import PLAIN, Code, Prefix, Prose
from tui.transcript.markdown.highlight import DIFF
from tui.transcript.markdown.spans import Look, Part
from tui.transcript.markdown.stream import MarkdownStream

if TYPE_CHECKING:
    from core.operations.events import Shown
    from tui.transcript.markdown.blocks import Block

ARGUMENT_LINES = 24
HEAD_LINES = 10
TAIL_LINES = 30
"""Lines shown from the end of an output; more than from its beginning, since the end shows the outcome."""
DIFF_LINES = 120
MARKDOWN_CHARACTERS = 8_000
LINE_CHARACTERS = 240

_READ_OF_A_LINE = 8_000
_PARSED_CHARACTERS = 64_000
_ONE_LINE = 60
_MARGIN = (("  ", PLAIN),)
INDENT = Prefix(_MARGIN, _MARGIN)
_LABEL = Look(Part.INFO)
_MORE = Look(Part.INFO, italic=True)
_NOT_KEPT = re.compile(r"^\[… [\d,]+ bytes left out …\]$", re.MULTILINE)


def argument_blocks(arguments: str) -> list[Block]:
    """The arguments of a call as received, or formatted if they are valid JSON of a reasonable size."""
    text = _pretty(arguments)
    if text is None:
        return _output("arguments, as they came", arguments, "", ARGUMENT_LINES, 0)
    return _output("arguments", text, "json", ARGUMENT_LINES, 0) if text else []


def result_blocks(shown: Shown) -> list[Block]:
    """The part of a result that the user is shown."""
    text = shown.text.strip("\n")
    if not text.strip():
        nothing = "no changes" if shown.kind is ShownKind.DIFF else "no output"
        return [Prose(nothing, INDENT, _LABEL, markdown=False)]
    match shown.kind:
        case ShownKind.TEXT:
            return _output("output", text, "", HEAD_LINES, TAIL_LINES)
        case ShownKind.DIFF:
            return _output("changes", text, DIFF, DIFF_LINES, 0)
        case ShownKind.MARKDOWN:
            return _markdown(text)
        case _:
            assert_never(shown.kind)


def _pretty(arguments: str) -> str | None:
    """ "" if there are no arguments; None if they cannot be formatted."""
    if len(arguments) > _PARSED_CHARACTERS or (read := read_arguments(arguments)) is None:
        return None
    if not read:
        return ""
    try:
        line = json.dumps(read, ensure_ascii=False)
        return line if len(line) <= _ONE_LINE else json.dumps(read, ensure_ascii=False, indent=2)
    except RecursionError:
        return None


def _output(label: str, text: str, language: str, first: int, last: int) -> list[Block]:
    head, left_out, tail = _excerpt(text, first, last)
    blocks: list[Block] = [Prose(label, INDENT, _LABEL, markdown=False), _code(head, language)]
    if left_out:
        not_kept = _NOT_KEPT.search(text)
        more = f"… {left_out:,} more line{'' if left_out == 1 else 's'}"
        more += f", and of these {not_kept.group()}" if not_kept else ""
        blocks.append(Prose(more, INDENT, _MORE, markdown=False))
    if tail:
        blocks.append(_code(tail, language))
    return blocks


def _code(lines: list[str], language: str) -> Code:
    return Code("\n".join(map(_line, lines)), language, INDENT)


def _excerpt(text: str, first: int, last: int) -> tuple[list[str], int, list[str]]:
    """The first and the last lines of a long text, and between them the number of omitted lines."""
    total = text.count("\n") + 1
    if total <= first + last:
        return text.split("\n"), 0, []
    tail = text.rsplit("\n", last)[1:] if last else []
    return text.split("\n", first)[:first], total - first - last, tail


def _line(raw: str) -> str:
    """One line as displayed: a progress bar in its last state, a very long line cut."""
    cut = max(0, len(raw) - _READ_OF_A_LINE)
    if cut:
        # The visible part of a line with carriage returns is at its end.
        raw = raw[cut:] if "\r" in raw else raw[:_READ_OF_A_LINE]
    line = readable(raw).replace("\n", " ")
    cut += max(0, len(line) - LINE_CHARACTERS)
    return f"{line[:LINE_CHARACTERS]}… ({cut:,} more characters)" if cut else line


def _markdown(text: str) -> list[Block]:
    stream = MarkdownStream()
    blocks = stream.feed(readable(text[:MARKDOWN_CHARACTERS])) + stream.close()
    found: list[Block] = [
        replace(block, prefix=Prefix(_MARGIN + block.prefix.first, _MARGIN + block.prefix.rest))
        for block in blocks
    ]
    if (more := len(text) - MARKDOWN_CHARACTERS) > 0:
        found.append(Prose(f"… {more:,} more characters", INDENT, _MORE, markdown=False))
    return found
