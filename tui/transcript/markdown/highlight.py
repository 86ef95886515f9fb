"""Syntax highlighting of a fence, piece by piece.

A fence may be endless, so it is highlighted in pieces of a few lines, each on its own and only when shown.
The only state passed between pieces is whether a comment or string is still open (`still_open`). Other states
of a lexer, such as the script inside an HTML page, start anew with each piece.

Pygments is imported by `load_lexer`, which takes tens of milliseconds and must run in a thread; until it has
run for a language, its code is shown without colors.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from tui.transcript.markdown.blocks import CODE
from tui.transcript.markdown.spans import Look, Part

if TYPE_CHECKING:
    from pygments.lexer import Lexer  # type: ignore[import-untyped]
    from pygments.token import _TokenType  # type: ignore[import-untyped]

    from tui.transcript.markdown.blocks import Code
    from tui.transcript.markdown.spans import Span, Spans

WARM_LANGUAGES = ("python", "bash", "json", "javascript", "typescript", "html", "yaml")
DIFF = "diff"
"""Colored by the first characters of its lines, without a lexer: available at once and for any length."""

_LONGEST_LINE = 400
_LANGUAGE = re.compile(r"[\w+#.-]{1,40}")
_lexers: dict[str, Lexer | None] = {}

_QUOTED = r"""|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'"""
_SYNTAXES = (
    (
        "c c++ cpp h hpp java c# csharp cs rust rs css scss kotlin kt swift scala php sql dart",
        {"/*": "*/"},
        re.compile(r"/\*|//[^\n]*" + _QUOTED),
    ),
    (
        "javascript js typescript ts jsx tsx go golang",
        {"/*": "*/", "`": "`"},
        re.compile(r"/\*|//[^\n]*|`" + _QUOTED),
    ),
    (
        "python py python3 pycon",
        {'"""': '"""', "'''": "'''"},
        re.compile(r"\"\"\"|'''|#[^\n]*" + _QUOTED),
    ),
    ("html xml svg vue markdown md", {"<!--": "-->"}, re.compile(r"<!--")),
)
"""Languages, the marks that open and close what may have many lines, and where to look for them."""

_SYNTAX = {name: (marks, scan) for names, marks, scan in _SYNTAXES for name in names.split()}


def language_of(info: str) -> str:
    """The language that a fence's info string names, or an empty string."""
    found = _LANGUAGE.search(info)
    return found.group().lower() if found else ""


def still_open(language: str, text: str, opened_by: str) -> str:
    """The mark of the comment or string open at the end of `text` (or ""), given the one at its start."""
    syntax = _SYNTAX.get(language)
    if syntax is None:
        return ""
    marks, scan = syntax
    position = 0
    while True:
        if opened_by:
            end = text.find(marks[opened_by], position)
            if end < 0:
                return opened_by
            position = end + len(marks[opened_by])
            opened_by = ""
        found = scan.search(text, position)
        if found is None:
            return ""
        position = found.end()
        if found.group() in marks:
            opened_by = found.group()


def is_loaded(language: str) -> bool:
    return not language or language == DIFF or language in _lexers


def load_lexer(language: str) -> None:
    """Load the lexer for `language`; an unknown language stays plain. Slow: call it in a thread."""
    from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]
    from pygments.util import ClassNotFound  # type: ignore[import-untyped]

    try:
        lexer = get_lexer_by_name(language, stripnl=False, startinline=True)
    except ClassNotFound:
        _lexers[language] = None
        return
    list(lexer.get_tokens("x = 1\n"))  # compiles its rules
    _lexers[language] = lexer


def highlight(code: Code) -> list[Spans]:
    """The lines of `code`, colored if its language is loaded and its lines are not too long."""
    lines = code.source.split("\n")
    if code.language == DIFF:
        return [_diff_line(line, after) for line, after in pairwise([*lines, ""])]
    lexer = _lexers.get(code.language)
    if lexer is None or max(map(len, lines)) > _LONGEST_LINE:
        return [((line, CODE),) if line else () for line in lines]
    begin, end = code.opened_by, ""
    if left_open := still_open(code.language, code.source, begin):
        end = _SYNTAX[code.language][0][left_open]
    text = f"{begin}\n{code.source}\n{end}" if begin else f"{code.source}\n{end}"
    coloured = _lines(lexer, text)[1 if begin else 0 :]
    return coloured[: len(lines)] if len(coloured) >= len(lines) else [((line, CODE),) for line in lines]


def _diff_line(line: str, after: str) -> Spans:
    """Color a diff line; `after`, the next, tells a file name from a removed line that begins with dashes."""
    if line.startswith(("+++ ", "@@", "diff --git ")) or (line.startswith("--- ") and after[:4] == "+++ "):
        part = Part.CODE_NAME
    else:
        part = {"+": Part.CODE_INSERTED, "-": Part.CODE_DELETED}.get(line[:1], Part.CODE)
    return ((line, Look(part)),) if line else ()


def _lines(lexer: Lexer, text: str) -> list[Spans]:
    lines: list[Spans] = []
    line: list[Span] = []
    for kind, value in lexer.get_tokens(text):
        look = _look(kind)
        head, *more = value.split("\n")
        if head and line and (line[-1][1] == look or head.isspace()):
            line[-1] = (line[-1][0] + head, line[-1][1])
        elif head:
            line.append((head, look))
        for part in more:
            lines.append(tuple(line))
            line = [(part, look)] if part else []
    lines.append(tuple(line))
    return lines


@lru_cache(maxsize=256)
def _look(kind: _TokenType) -> Look:
    """The look of the closest ancestor of `kind` that has one."""
    from pygments import token as t  # type: ignore[import-untyped]

    parts: dict[_TokenType, Part] = {
        t.Comment: Part.CODE_COMMENT,
        t.Keyword: Part.CODE_KEYWORD,
        t.Operator.Word: Part.CODE_KEYWORD,
        t.Keyword.Type: Part.CODE_TYPE,
        t.String: Part.CODE_STRING,
        t.Number: Part.CODE_NUMBER,
        t.Keyword.Constant: Part.CODE_NUMBER,
        t.Name.Function: Part.CODE_NAME,
        t.Name.Decorator: Part.CODE_NAME,
        t.Name.Tag: Part.CODE_KEYWORD,
        t.Name.Attribute: Part.CODE_NAME,
        t.Name.Class: Part.CODE_TYPE,
        t.Name.Builtin: Part.CODE_TYPE,
        t.Generic.Inserted: Part.CODE_INSERTED,
        t.Generic.Deleted: Part.CODE_DELETED,
        t.Generic.Heading: Part.CODE_NAME,
        t.Generic.Subheading: Part.CODE_NAME,
    }
    place: _TokenType | None = kind
    while place is not None:
        if place in parts:
            return Look(parts[place])
        place = place.parent
    return CODE
